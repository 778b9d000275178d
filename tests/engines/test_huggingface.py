"""Hugging Face Inference: requests compared with huggingface_hub's own client, and what CREATE and SELECT promise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers.questions import LABELS, PNG, ask, create
from servers.scripted import Answer, Request, Server

from mindsql.connection import Connection
from mindsql.errors import EngineError, StatementError
from mindsql_engines.huggingface import tasks

ANSWERS: dict[str, Any] = {
    "text-classification": [LABELS],
    "zero-shot-classification": LABELS,
    "token-classification": [{"entity_group": "PER", "score": 0.9, "word": "Bo", "start": 0, "end": 2}],
    "question-answering": {"answer": "good", "score": 0.5, "start": 0, "end": 2},
    "table-question-answering": {"answer": "good", "cells": ["1"], "coordinates": [[0, 0]], "aggregator": "NONE"},
    "fill-mask": [{"sequence": "good", "score": 0.9, "token": 1, "token_str": "x"}],
    "summarization": [{"summary_text": "good"}],
    "translation": [{"translation_text": "good"}],
    "text-generation": [{"generated_text": "good"}],
    "chat-completion": {
        "id": "1", "created": 1, "model": "m", "object": "chat.completion", "system_fingerprint": "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "good"}}],
        "usage": {"completion_tokens": 1, "prompt_tokens": 1, "total_tokens": 2},
    },
    "feature-extraction": [[0.5, 1.0]],
    "sentence-similarity": [0.25],
    "rerank": [{"index": 0, "score": 0.25}],
    "image-classification": LABELS,
    "object-detection": [{"label": "cat", "score": 0.9, "box": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}}],
    "image-to-text": [{"generated_text": "good"}],
    "automatic-speech-recognition": {"text": "good"},
    "audio-classification": LABELS,
    "zero-shot-image-classification": LABELS,
}  # fmt: skip
TABLE = {"a": ["1", "2"]}

# The oracle ---------------------------------------------------------------------------------------------------

Call = Callable[[Any], Any]
CASES: list[tuple[str, str, Call]] = [
    ("text-classification", "", lambda c: c.text_classification("t")),
    ("text-classification", ", parameters = {'top_k': 2}", lambda c: c.text_classification("t", top_k=2)),
    ("zero-shot-classification", ", candidate_labels = ['a', 'b']",
     lambda c: c.zero_shot_classification("t", ["a", "b"])),
    ("zero-shot-classification", ", candidate_labels = ['a', 'b'], multi_label = true, hypothesis_template = 'x {}'",
     lambda c: c.zero_shot_classification("t", ["a", "b"], multi_label=True, hypothesis_template="x {}")),
    ("token-classification", ", parameters = {'aggregation_strategy': 'simple'}",
     lambda c: c.token_classification("t", aggregation_strategy="simple")),
    ("question-answering", "", lambda c: c.question_answering(question="q", context="c")),
    ("table-question-answering", "", lambda c: c.table_question_answering(TABLE, "q")),
    ("fill-mask", "", lambda c: c.fill_mask("t")),
    ("summarization", ", parameters = {'generate_parameters': {'max_new_tokens': 3}}",
     lambda c: c.summarization("t", generate_parameters={"max_new_tokens": 3})),
    ("translation", ", model_name = 't5', lang_input = 'en', lang_output = 'fr'",
     lambda c: c.translation("t", src_lang="en", tgt_lang="fr")),
    ("text-generation", ", parameters = {'max_new_tokens': 3}", lambda c: c.text_generation("t", max_new_tokens=3)),
    ("chat-completion", ", parameters = {'max_tokens': 3}",
     lambda c: c.chat_completion([{"role": "user", "content": "t"}], max_tokens=3)),
    ("feature-extraction", ", parameters = {'normalize': true}", lambda c: c.feature_extraction("t", normalize=True)),
    ("sentence-similarity", "", lambda c: c.sentence_similarity("t", ["u"])),
    ("image-classification", "", lambda c: c.image_classification(PNG)),
    ("image-classification", ", parameters = {'top_k': 2}", lambda c: c.image_classification(PNG, top_k=2)),
    ("object-detection", ", parameters = {'threshold': 0.5}", lambda c: c.object_detection(PNG, threshold=0.5)),
    ("image-to-text", "", lambda c: c.image_to_text(PNG)),
    ("automatic-speech-recognition", "", lambda c: c.automatic_speech_recognition(PNG)),
    ("audio-classification", "", lambda c: c.audio_classification(PNG)),
    ("zero-shot-image-classification", ", candidate_labels = ['a', 'b']",
     lambda c: c.zero_shot_image_classification(PNG, ["a", "b"])),
]  # fmt: skip


def body_of(request: Request) -> Any:
    return json.loads(request.body) if request.body[:1] in (b"{", b"[") else request.body


@pytest.mark.parametrize(
    ("task", "more", "call"), CASES, ids=[f"{task}{bool(more):d}" for task, more, _ in CASES]
)
def test_requests_are_those_of_huggingface_hub(con: Connection, task: str, more: str, call: Call) -> None:
    from huggingface_hub import InferenceClient

    with Server(lambda request: ANSWERS[task]) as server:
        call(InferenceClient(base_url=server.url, api_key="k3y"))
        theirs = server.requests.pop()
        create(con, task, server, f"{more}, api_format = 'hf', api_key = 'k3y'")
        assert ask(con, task)[0][0] is not None
        (ours,) = server.requests
        assert (ours.method, ours.path) == (theirs.method, theirs.path)
        assert body_of(ours) == body_of(theirs)
        assert {k.lower(): v for k, v in ours.headers.items()}["authorization"] == "Bearer k3y"
        kind = "image/png" if isinstance(body_of(ours), bytes) else "application/json"
        assert ours.headers["Content-Type"] == kind


def test_every_task_is_compared_but_rerank() -> None:
    assert set(tasks.TASKS) - {task for task, _, _ in CASES} == {"rerank"}


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_answers(con: Connection, task: str) -> None:
    with Server(lambda request: ANSWERS[task]) as server:
        labels = ", candidate_labels = ['a', 'b']" if tasks.TASKS[task].needs else ""
        create(con, task, server, labels + ", api_format = 'hf'")
        ((value, explain, error),) = ask(con, task, "m.y, m.y_explain, m.y_error")
        expected = {"DOUBLE": 0.25, "DOUBLE[]": [0.5, 1.0], "VARCHAR": "good"}.get(tasks.TASKS[task].type)
        if expected is None:
            assert json.loads(value) in ([{"entity": "PER", "word": "Bo"}], ["cat"])
        else:
            assert value == expected
        assert json.loads(explain) and error is None


# The hosted service -------------------------------------------------------------------------------------------


def test_the_statements_of_the_page_run_as_written(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(lambda request: [LABELS]) as server:
        monkeypatch.setenv("HF_INFERENCE_BASE_URL", server.url + "/hf-inference")
        con.execute("""
-- Create Huggingface engine
CREATE ML_ENGINE hf_api_engine
FROM huggingface_api
USING
  api_key = 'hf_...';

-- Create a model for text classification
CREATE MODEL mindsdb.hf_sentiment_classifier
PREDICT sentiment
USING
  task = 'text-classification',
  column = 'text',
  engine = 'hf_api_engine';
""")
        found = con.execute("""
-- Predict sentiment using model
SELECT text, sentiment
FROM mindsdb.hf_sentiment_classifier
WHERE text = 'I like you. I love you.';
""").fetchall()
        assert found == [("I like you. I love you.", "good")]
        (request,) = server.requests
        model = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
        assert request.path == f"/hf-inference/models/{model}"
        assert request.headers["Authorization"] == "Bearer hf_..."
        shown = str(con.execute("DESCRIBE hf_sentiment_classifier").fetchall())
        assert model in shown and "hf_..." not in shown
        assert model in str(con.execute("DESCRIBE hf_sentiment_classifier.model").fetchall())
        assert len(con.execute("DESCRIBE hf_sentiment_classifier.tasks").fetchall()) == len(tasks.TASKS)


@pytest.mark.parametrize(
    ("task", "more", "path"),
    [
        (
            "feature-extraction",
            "",
            "/models/sentence-transformers/all-MiniLM-L6-v2/pipeline/feature-extraction",
        ),
        ("translation", ", lang_input = 'en', lang_output = 'fr'", "/models/Helsinki-NLP/opus-mt-en-fr"),
        ("text-generation", ", model = 'a/b'", "/models/a/b"),
        ("chat-completion", ", model_name = 'a/b', system = 'Be brief.'", "/v1/chat/completions"),
    ],
)
def test_hosted_urls(
    con: Connection, monkeypatch: pytest.MonkeyPatch, task: str, more: str, path: str
) -> None:
    with Server(lambda request: ANSWERS[task]) as server:
        monkeypatch.setenv("HF_INFERENCE_BASE_URL", server.url)
        monkeypatch.setenv("HF_TOKEN", "s3cret")
        create(con, task, None, more)
        ask(con, task)
        assert server.requests[0].path == path
        assert "Authorization" not in server.requests[0].headers
        if task == "chat-completion":
            assert [m["role"] for m in server.requests[0].json()["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("column = 't'", 'needs the option "task"'),
        ("task = 'text-clasification', column = 't'", 'the option "task" cannot be'),
        ("task = 'text-classification'", "needs input_column"),
        ("task = 'text-classification', column = 't', context_column = 'u'", "has no context_column"),
        ("task = 'zero-shot-classification', column = 't'", "needs candidate_labels"),
        ("task = 'text-generation', column = 't'", "no default model"),
        ("task = 'text-classification', column = 't', api_format = 'tei'", "needs a server"),
        (
            "task = 'fill-mask', column = 't', api_format = 'tei', base_url = 'http://127.0.0.1:1'",
            "has no task fill-mask",
        ),
        ("task = 'text-classification', column = 'y'", "both the target and an input"),
        ("task = 'text-classification', column = 't', lang_input = 'en'", "has no lang_input"),
        ("task = 'text-classification', column = 't', colum = 'u'", 'unknown option .*"colum"'),
    ],
)
def test_options_are_checked(con: Connection, using: str, message: str) -> None:
    with pytest.raises(StatementError, match=message):
        con.execute("CREATE MODEL m PREDICT y USING engine = 'huggingface_api', " + using)


def test_null_is_not_sent_and_labels_are_renamed(con: Connection) -> None:
    with Server(lambda request: [[{"label": "LABEL_1", "score": 1}]]) as server:
        create(con, "text-classification", server, ", labels = ['no', 'yes'], api_format = 'hf'")
        rows = "SELECT unnest(['a', NULL, '', 'a']) AS t"
        assert ask(con, "text-classification", "m.y", rows) == [("yes",), (None,), ("yes",), ("yes",)]
        assert sorted(r.json()["inputs"] for r in server.requests) == ["", "a"]


def test_a_row_that_fails_is_null(con: Connection) -> None:
    def script(request: Request) -> Any:
        if request.json()["inputs"] == "b":
            return Answer({"error": ["too long", "by far"]}, status=422)
        return [LABELS]

    with Server(script) as server:
        create(con, "text-classification", server, ", on_error = 'null', api_format = 'hf'")
        rows = ask(con, "text-classification", "m.y, m.y_error", "SELECT unnest(['a', 'b', 'c']) AS t")
        assert [y for y, _ in rows] == ["good", None, "good"] and "too long; by far" in rows[1][1]


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (
            Answer({"error": "You have exceeded your monthly credits"}, status=402),
            "monthly credits",
            "billing",
        ),
        (Answer({"error": "gated repo"}, status=403), "403 Forbidden: gated repo", "licence"),
        (Answer({"error": "gone"}, status=410), "410 Gone", "base_url"),
        (Answer({"error": "wrong kind", "error_type": "backend"}, status=424), "wrong kind", "another kind"),
        (Answer(b"<html><body>Welcome</body></html>"), "no JSON: Welcome", "URL"),
        (Answer({"error": "no labels here"}), "holds no labels", ""),
    ],
)
def test_what_is_wrong_is_told(con: Connection, answer: Answer, message: str, hint: str) -> None:
    with Server(lambda request: answer) as server:
        create(con, "text-classification", server, ", api_format = 'hf'")
        with pytest.raises(EngineError, match=message) as report:
            ask(con, "text-classification")
        assert hint in str(report.value.hint) and len(server.requests) == 1


# Servers of one's own -----------------------------------------------------------------------------------------


def tei(request: Request) -> Any:
    """text-embeddings-inference, with batches of three."""
    if request.path == "/info":
        return {"model_id": "m", "model_type": {"classifier": {}}, "max_client_batch_size": 3}
    found = request.json()
    if request.path == "/predict":
        assert len(found["inputs"]) <= 3 and all(isinstance(one, list) for one in found["inputs"])
        return [[{"label": text[0][0], "score": 1.0}] for text in found["inputs"]]
    if request.path == "/embed":
        return [[float(len(text))] for text in found["inputs"]]
    if request.path == "/rerank":
        return [{"index": 0, "score": float(len(found["query"]) + len(found["texts"][0]))}]
    if request.path == "/similarity":
        return [1.0 if found["inputs"]["source_sentence"] == found["inputs"]["sentences"][0] else 0.0]
    return Answer({"error": "what?"}, status=404)


def openai(request: Request) -> Any:
    """vLLM, llama.cpp, Ollama, …"""
    if request.path == "/v1/models":
        return {"object": "list", "data": [{"id": "m"}]}
    if request.path == "/v1/embeddings":
        texts = request.json()["input"]
        data = [{"index": i, "embedding": [float(len(text))]} for i, text in enumerate(texts)]
        return {"data": data[::-1]}
    if request.path == "/v1/rerank":
        return {"results": [{"index": 0, "relevance_score": 0.5}]}
    if request.path == "/v1/chat/completions":
        schema = request.json().get("response_format")
        text = request.json()["messages"][-1]["content"]
        said = (
            json.dumps({"label": schema["json_schema"]["schema"]["properties"]["label"]["enum"][0]})
            if schema
            else text
        )
        return {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
    return Answer({"error": {"message": "what?"}}, status=404)


TEXTS = "SELECT unnest(['a', 'bb', 'ccc', 'dddd']) AS t, 'a' AS u"


@pytest.mark.parametrize("said", ["", ", api_format = 'tei'"])
def test_text_embeddings_inference(con: Connection, said: str) -> None:
    for task, expected in (
        ("text-classification", ["a", "b", "c", "d"]),
        ("feature-extraction", [[1.0], [2.0], [3.0], [4.0]]),
        ("rerank", [2.0, 3.0, 4.0, 5.0]),
        ("sentence-similarity", [1.0, 0.0, 0.0, 0.0]),
    ):
        with Server(tei) as server:
            create(con, task, server, said)
            assert [y for (y,) in ask(con, task, "m.y", TEXTS)] == expected
            posts = [r for r in server.requests if r.method == "POST"]
            assert len(posts) == (2 if task in ("text-classification", "feature-extraction") else 4)


@pytest.mark.parametrize(("said", "path"), [("", ""), ("", "/v1"), (", api_format = 'openai'", "/v1")])
def test_servers_that_speak_as_openai(con: Connection, said: str, path: str) -> None:
    for task, more, expected in (
        ("chat-completion", "", ["a", "bb", "ccc", "dddd"]),
        ("summarization", "", ["a", "bb", "ccc", "dddd"]),
        ("feature-extraction", "", [[1.0], [2.0], [3.0], [4.0]]),
        ("rerank", "", [0.5] * 4),
        ("text-classification", ", labels = ['x', 'y']", ["x"] * 4),
        ("zero-shot-classification", ", candidate_labels = ['x', 'y']", ["x"] * 4),
    ):
        with Server(openai) as server:
            server.url += path
            create(con, task, server, said + more)
            assert [y for (y,) in ask(con, task, "m.y", TEXTS)] == expected


def test_text_generation_inference_is_asked_as_hosted_models(con: Connection) -> None:
    def tgi(request: Request) -> Any:
        if request.path == "/info":
            return {"model_id": "m", "max_input_tokens": 100, "max_client_batch_size": 4}
        return [{"generated_text": request.json()["inputs"] + "!"}]

    with Server(tgi) as server:
        create(con, "text-generation", server)
        assert ask(con, "text-generation") == [("t!",)]


def test_the_readme_shows_the_table(root: Path) -> None:
    assert tasks.markdown() in (root / "engines" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^- .*`cache = true`", (root / "engines" / "README.md").read_text(), re.MULTILINE)
