"""Owns what is sent for a task: to hosted models and toolkits (`hf`), to text-embeddings-inference (`tei`), and to
servers that speak as OpenAI's does (`openai`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mindsql.errors import DataError, StatementError
from mindsql_engines.huggingface import answers
from mindsql_engines.huggingface.answers import Found
from mindsql_engines.huggingface.media import content_type
from mindsql_engines.huggingface.tasks import TASKS, Task
from mindsql_engines.remote.client import dumps
from mindsql_engines.remote.failures import RequestError

FORMATS = ("hf", "tei", "openai")
HOSTED = "https://router.huggingface.co/hf-inference"
TEI_TASKS = ("text-classification", "feature-extraction", "sentence-similarity", "rerank")
OPENAI_TASKS = (
    "text-generation", "chat-completion", "feature-extraction", "text-classification", "zero-shot-classification",
    "summarization", "translation", "question-answering", "rerank",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A model at a place.

    Attributes:
        task: The task's name.
        model: The model's name; None when the server has but one.
        base_url: The server; None for the hosted service.
        hosted: The URL of the hosted service.
        parameters: What is sent as parameters.
        labels: The labels a classifier may answer, if they are known.
        system: What a chat begins with.
    """

    task: str
    model: str | None = None
    base_url: str | None = None
    hosted: str = HOSTED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()
    system: str | None = None

    @property
    def how(self) -> Task:
        """The row of the table."""
        return TASKS[self.task]

    @property
    def root(self) -> str:
        """The server without the path of an endpoint."""
        root = (self.base_url or self.hosted.removesuffix("/hf-inference")).rstrip("/")
        return root.removesuffix("/chat/completions").removesuffix("/v1")


@dataclass(frozen=True)
class Asked:
    """A request for some rows, and how its answer is taken apart."""

    url: str
    body: bytes
    content_type: str
    read: Callable[[Any], list[Found]]


Row = tuple[Any, ...]


def build(kind: str, target: Target, rows: Sequence[Row]) -> Asked:
    """The request for rows in a format. Raises StatementError, DataError."""
    if kind == "tei":
        return _tei(target, rows)
    if kind == "openai":
        return _openai(target, rows)
    return _hf(target, rows)


def check(kind: str, task: str) -> None:
    """Refuse a task that a format does not know."""
    known = {"tei": TEI_TASKS, "openai": OPENAI_TASKS}.get(kind)
    if known is not None and task not in known:
        raise StatementError(
            f"a server of the format '{kind}' has no task {task}", hint="it has: " + ", ".join(known)
        )


def _json(url: str, payload: Any, read: Callable[[Any], list[Found]]) -> Asked:
    return Asked(url, dumps(payload), "application/json", read)


def _one(read: Callable[[Any], Found]) -> Callable[[Any], list[Found]]:
    return lambda answer: [read(answer)]


def _hf(target: Target, rows: Sequence[Row]) -> Asked:
    how, parameters = target.how, dict(target.parameters)
    if how.shape == "chat":
        return _chat(target, rows[0][0])
    url = target.base_url or f"{target.hosted}/models/{target.model}{how.route}"
    if how.shape == "embedding":
        texts = [row[0] for row in rows]
        payload = {"inputs": texts[0] if len(rows) == 1 else texts, **parameters}
        if len(rows) == 1:
            return _json(url, payload, _one(how.read))
        return _json(url, payload, lambda answer: [how.read(one) for one in answers.rows(answer, len(rows))])
    (row,) = rows
    if how.shape == "media":
        if not parameters:
            return Asked(url, row[0], content_type(row[0]), _one(how.read))
        encoded = base64.b64encode(row[0]).decode()
        return _json(url, {"inputs": encoded, "parameters": parameters}, _one(how.read))
    inputs: Any = row[0]
    if how.shape == "pair":
        inputs = {"question": row[0], "context": row[1]}
    elif how.shape == "table":
        inputs = {"query": row[0], "table": table_of(row[1])}
    elif how.shape == "similarity":
        inputs = {"source_sentence": row[0], "sentences": [row[1]]}
    elif how.shape == "rerank":
        inputs = {"text": row[1], "text_pair": row[0]}
    return _json(url, {"inputs": inputs, "parameters": parameters}, _one(how.read))


def _tei(target: Target, rows: Sequence[Row]) -> Asked:
    how, root, parameters = target.how, target.root, dict(target.parameters)
    count = len(rows)

    def many(answer: Any) -> list[Found]:
        return [how.read(one) for one in answers.rows(answer, count)]

    if target.task == "feature-extraction":
        return _json(f"{root}/embed", {"inputs": [row[0] for row in rows], **parameters}, many)
    if target.task == "text-classification":
        # A bare list of two texts would be a pair.
        return _json(f"{root}/predict", {"inputs": [[row[0]] for row in rows], **parameters}, many)
    (row,) = rows
    if target.task == "rerank":
        return _json(f"{root}/rerank", {"query": row[1], "texts": [row[0]], **parameters}, _one(how.read))
    inputs = {"source_sentence": row[0], "sentences": [row[1]]}
    return _json(f"{root}/similarity", {"inputs": inputs, **parameters}, _one(how.read))


def _openai(target: Target, rows: Sequence[Row]) -> Asked:
    how, root = target.how, target.root
    if target.task == "feature-extraction":
        payload = {"model": target.model or "dummy", "input": [row[0] for row in rows], **target.parameters}
        count = len(rows)
        return _json(
            f"{root}/v1/embeddings", payload, lambda a: [how.read(one) for one in answers.rows(a, count)]
        )
    (row,) = rows
    if target.task == "rerank":
        payload = {
            "model": target.model or "dummy",
            "query": row[1],
            "documents": [row[0]],
            **target.parameters,
        }
        return _json(f"{root}/v1/rerank", payload, _one(how.read))
    if target.task in ("text-generation", "chat-completion"):
        return _chat(target, row[0])
    if target.task in ("text-classification", "zero-shot-classification"):
        return _classified(target, row[0])
    languages = [str(target.parameters[key]) for key in ("src_lang", "tgt_lang") if key in target.parameters]
    order = {
        "summarization": "Summarize the text of the user. Answer with the summary alone.",
        "translation": "Translate the text of the user"
        + (f" from {languages[0]} to {languages[1]}" if len(languages) == 2 else "")
        + ". Answer with the translation alone.",
        "question-answering": "Answer the question by the context, in the words of the context alone.",
    }[target.task]
    asked = f"Context: {row[1]}\n\nQuestion: {row[0]}" if how.shape == "pair" else row[0]
    return _chat(target, asked, order, skip=("src_lang", "tgt_lang"))


def _classified(target: Target, text: str) -> Asked:
    labels = [str(label) for label in target.parameters.get("candidate_labels", target.labels)]
    if not labels:
        raise StatementError(
            "classifying by a chat model needs the labels there are",
            hint="USING labels = ['positive', 'negative']",
        )
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": labels}},
        "required": ["label"],
        "additionalProperties": False,
    }
    order = "Classify the text of the user. The labels are: " + ", ".join(labels) + ". Answer with JSON."
    asked = _chat(
        target,
        text,
        order,
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        ("candidate_labels", "multi_label", "hypothesis_template"),
    )

    def read(answer: Any) -> list[Found]:
        said = answers.text(answer).value
        try:
            label = json.loads(said)["label"]
        except (ValueError, TypeError, KeyError):
            label = said.strip()
        if label not in labels:
            raise RequestError(f"the model answers {label!r:.80}, which is none of the labels", status=200)
        return [Found(label, [{"label": label, "score": 1.0}])]

    return Asked(asked.url, asked.body, asked.content_type, read)


def _chat(
    target: Target,
    text: str,
    system: str | None = None,
    response_format: Mapping[str, Any] | None = None,
    skip: Sequence[str] = (),
) -> Asked:
    system = target.system or system
    messages = [{"role": "system", "content": system}] if system else []
    payload: dict[str, Any] = {
        "model": target.model or "dummy",
        "messages": [*messages, {"role": "user", "content": text}],
        **{key: value for key, value in target.parameters.items() if key not in skip},
        "stream": False,
    }
    if response_format is not None:
        payload["response_format"] = response_format
    return _json(f"{target.root}/v1/chat/completions", payload, _one(answers.text))


def table_of(cell: Any) -> dict[str, list[str]]:
    """A table for table-question-answering: columns of texts, out of JSON or a STRUCT. Raises DataError."""
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
        if isinstance(found, list):
            found = {
                key: [row.get(key) for row in found] for key in dict.fromkeys(k for row in found for k in row)
            }
        return {
            str(key): ["" if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
            for key, values in found.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"a cell is no table: {str(cell)[:80]!r}", hint='write it as {"column": ["value", …], …}'
        ) from error
