"""The engine `openai`: what is sent, and what becomes of what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from servers.answers import sums
from servers.scripted import Answer, Request, Server

from mindsql.connection import Connection
from mindsql.errors import EngineError, StatementError


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(sums) as made:
        yield made


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"finish_reason": "stop", "message": {"content": content}, **more}]}


def test_a_template_is_filled_from_each_row(con: Connection, server: Server) -> None:
    con.execute(f"""CREATE ML_ENGINE ai FROM openai USING base_url = '{server.url}/v1', api_key = 'k3y'""")
    con.execute("""CREATE MODEL tone PREDICT answer USING engine = 'ai', model_name = 'm', temperature = 0,
        system = 'Be short.', prompt_template = 'Is {{review}} by {{ stars }} good?'""")
    rows = "(VALUES ('fine', 5), ('bad', 1), (NULL, 2), ('fine', 5)) AS r(review, stars)"
    found = con.execute(f"SELECT r.review, m.answer FROM {rows} JOIN tone AS m ORDER BY ALL").fetchall()
    assert found == [("bad", "IS BAD BY 1 GOOD?"), ("fine", "IS FINE BY 5 GOOD?"), ("fine", "IS FINE BY 5 GOOD?"),
                     (None, None)]  # fmt: skip
    assert len(server.requests) == 2, "equal rows are asked once, and a NULL is not asked"
    sent = server.requests[0]
    assert sent.headers["Authorization"] == "Bearer k3y" and sent.path == "/v1/chat/completions"
    assert sent.json()["messages"][0] == {"role": "system", "content": "Be short."}
    assert (sent.json()["model"], sent.json()["temperature"]) == ("m", 0)
    assert con.execute("SELECT answer FROM tone WHERE review = 'x' AND stars = 3").fetchall() == [("IS X BY 3 GOOD?",)]


def test_a_schema_makes_typed_columns(con: Connection) -> None:
    content = {"tone": "good", "stars": 4, "share": 0.5, "sure": True, "day": "2024-02-29", "tags": ["a"]}
    with Server(lambda request: chat(json.dumps(content))) as server:
        con.execute(f"""CREATE MODEL m PREDICT tone USING engine = 'openai', model_name = 'm',
            base_url = '{server.url}/v1/', prompt_template = '{{{{t}}}}', json_schema = {{"tone": ["good", "bad"],
            "stars": "INTEGER", "share": "DOUBLE", "sure": "BOOLEAN", "day": "DATE", "tags": "array"}}""")
        result = con.execute("SELECT * EXCLUDE (t, tone_explain, tone_error) FROM m WHERE t = 'x'")
        assert [str(item[1]) for item in result.description] == [
            "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "JSON"]  # fmt: skip
        assert [str(value) for value in result.fetchone() or ()] == [
            "good", "4", "0.5", "True", "2024-02-29", '["a"]']  # fmt: skip
        asked = server.requests[0].json()["response_format"]["json_schema"]["schema"]
        assert asked["properties"]["tone"] == {"type": "string", "enum": ["good", "bad"]}
        assert asked["required"] == list(content)


def test_embeddings_go_in_batches(con: Connection, server: Server) -> None:
    con.execute(f"""CREATE MODEL v PREDICT vector USING engine = 'openai', model = 'm', mode = 'embedding',
        base_url = '{server.url}/v1', input_column = 't', batch_rows = 50""")
    rows = "SELECT repeat('a', i::INT) AS t FROM range(1, 121) r(i)"
    found = con.execute(f"SELECT sum(m.vector[1]) FROM ({rows}) JOIN v AS m")
    assert found.fetchall() == [(sum(range(1, 121)),)]
    assert sorted(len(request.json()["input"]) for request in server.requests) == [20, 50, 50]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"choices": []}, "the answer holds no text"),
        (chat("no JSON at all"), "the answer is no JSON object"),
        (chat(json.dumps({"stars": "many"})), 'the server answers \'many\' for "stars", which is no BIGINT'),
        ({"choices": [{"message": {"refusal": "I will not"}}]}, "the model refuses: I will not"),
        (Answer({"error": {"message": "no such model"}}, status=404), "no such model"),
        (Answer({"error": {"message": "wrong key"}}, status=401), "wrong key"),
    ],
)
def test_a_wrong_answer_is_said(con: Connection, answer: Any, message: str) -> None:
    with Server(lambda request: answer) as server:
        using = f"""engine = 'openai', model_name = 'm', base_url = '{server.url}/v1', retries = 0,
            prompt_template = '{{{{t}}}}', json_schema = {{"stars": "integer"}}"""
        con.execute(f"CREATE MODEL m PREDICT y USING {using}")
        with pytest.raises(EngineError) as caught:
            con.execute("SELECT y FROM m WHERE t = 'x'").fetchall()
        assert message in caught.value.message
        kept = con.execute("SELECT stars, y_error FROM m WHERE t = 'x' USING on_error = 'null'").fetchall()
        assert kept[0][0] is None and message in kept[0][1]


def test_a_fenced_object_is_read(con: Connection) -> None:
    def answer(request: Request) -> Any:
        return chat('```json\n{"stars": 3}\n```')

    with Server(answer) as server:
        con.execute(f"""CREATE MODEL m PREDICT y USING engine = 'openai', model_name = 'm', question_column = 'q',
            context_column = 'c', base_url = '{server.url}/v1', json_struct = {{"stars": "how many stars"}}""")
        assert con.execute("SELECT stars FROM m WHERE q = 'x' AND c = 'z'").fetchall() == [("3",)]
        assert server.requests[0].json()["messages"][0]["content"] == "Context: z\nQuestion: x\nAnswer:"


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("prompt_template = 'no place'", "prompt_template names no column"),
        ("question_column = 'y'", '"y" is both the target and an input column'),
        ("temperature = 1", "neither prompt_template nor question_column"),
        ("question_column = 'q', prompt_template = '{{q}}'", "both prompt_template and question_column"),
        ("question_column = 'q', json_schema = {\"a\": \"VARHCAR\"}", "'VARHCAR' is no type of \"a\""),
        ("question_column = 'q', mode = 'embedding', json_schema = {\"a\": \"VARCHAR\"}", "an embedding has no"),
        ("question_column = 'q', base_url = 'nowhere'", "base_url"),
    ],
)
def test_wrong_options(con: Connection, using: str, message: str) -> None:
    with pytest.raises(StatementError) as caught:
        con.execute(f"CREATE MODEL m PREDICT y USING engine = 'openai', model_name = 'm', {using}")
    assert message in caught.value.message
    assert con.execute("SHOW MODELS").fetchall() == []
