"""SQL over HTTP: shapes, forms, errors, sessions, cancellation."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time

import pyarrow as pa
import pytest
import requests

from tests.server.conftest import Serve, Served


def test_a_question_is_answered_in_the_shape_of_mindsdb(served: Served) -> None:
    answer = served.post("SELECT rent FROM rent WHERE sqft = 500 AND place = 'good'")
    body = answer.json()
    assert (
        body["type"] == "table" and body["column_names"] == ["rent"] and body["context"] == {"db": "mindsql"}
    )
    assert round(body["data"][0][0]) == 1000


def test_what_gives_no_rows_is_ok(served: Served) -> None:
    assert served.post("CREATE TABLE IF NOT EXISTS notes (a INTEGER)").json()["type"] == "ok"
    assert served.post("INSERT INTO notes VALUES (1), (2)").json()["affected_rows"] == 2


@pytest.mark.parametrize(
    ("accept", "content"),
    [
        ("text/csv", b"a,b\n1,x\n2,\n"),
        ("application/x-ndjson", b'{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n'),
        ("application/json;q=0.1, text/csv", b"a,b\n1,x\n2,\n"),
    ],
)
def test_forms(served: Served, accept: str, content: bytes) -> None:
    answer = served.post("SELECT * FROM (VALUES (1, 'x'), (2, NULL)) v(a, b)", headers={"Accept": accept})
    assert answer.content == content


def test_a_form_nobody_knows(served: Served) -> None:
    answer = served.post("SELECT 1", headers={"Accept": "image/png"})
    assert answer.status_code == 406 and "text/csv" in answer.json()["error"]["hint"]


def test_arrow_is_a_stream_with_types(served: Served) -> None:
    answer = served.post(
        "SELECT i, DATE '2026-01-01' AS d FROM range(100000) r(i)",
        headers={"Accept": "application/vnd.apache.arrow.stream"},
    )
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert table.num_rows == 100000 and table.schema.field("d").type == pa.date32()


@pytest.mark.parametrize(
    ("sql", "status", "words"),
    [
        ("SELEC 1", 400, "SELEC"),
        ("SELECT * FROM nowhere", 404, "nowhere"),
        ("SELECT * FROM rent WHERE sqfoot = 1", 404, "sqfoot"),
        ("SELECT 'x'::INTEGER", 422, "x"),
        ("CREATE TABLE flats (a INTEGER)", 409, "flats"),
        ("SELECT CAST(CASE WHEN i > 9000 THEN 'x' ELSE '1' END AS INTEGER) FROM range(10000) r(i)", 422, "x"),
    ],
)
def test_errors(served: Served, sql: str, status: int, words: str) -> None:
    answer = served.post(sql)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


@pytest.mark.parametrize("media", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_the_body_is_json_whatever_type_it_claims(served: Served, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    answer = served.request("POST", "/api/sql/query", data='{"query": "SELECT 1"}', headers=headers)
    assert answer.status_code == 200 and answer.json()["data"] == [[1]], answer.text
    wrong = served.request("POST", "/api/sql/query", data="query=SELECT 1", headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["hint"]) == (400, 'send {"query": "SELECT 1"}')


def test_an_unknown_project_is_named_with_the_nearest(served: Served) -> None:
    asked = served.request("POST", "/api/sql/query", json={"query": "SELECT 1", "context": {"db": "mindsq"}})
    for answer in (asked, served.post("USE mindsq")):
        error = answer.json()["error"]
        assert (answer.status_code, error["message"]) == (404, 'unknown project or database "mindsq"')
        assert "mindsql" in error["hint"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (f"GET /models/rent?place={'x' * 70_000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: {'x' * 70_000}", 431),
        ("hello\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_an_error_like_any(served: Served, request_: str, status: int) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(request_.encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        error = json.loads(answer.read())["error"]
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert error["message"] and error["hint"]


def test_the_address_that_is_printed_leads_to_the_description(served: Served) -> None:
    assert served.request("GET", "/").url == f"{served.url}/docs"
    head = served.request("HEAD", "/health")
    assert (head.status_code, head.content) == (200, b"")


def test_where_the_file_lies_is_not_told(served: Served) -> None:
    assert ("shop", "data", "duckdb", '{"file":"shop.duckdb"}') in served.rows("SHOW DATABASES")


def test_a_lock_is_refused_and_not_logged(served: Served) -> None:
    answer = served.post("SELECT rent FROM rent WHERE sqft = 500 AND place = 'good' FOR UPDATE")
    assert (answer.status_code, "FOR UPDATE" in answer.json()["error"]["message"]) == (400, True)
    assert "Locking" not in (served.file.parent / "server.log").read_text()


def test_what_goes_wrong_late_breaks_the_answer_off(serve: Serve) -> None:
    server = serve("--max-rows", "100000")
    assert len(server.rows("FROM range(100000)")) == 100000
    assert server.post("FROM range(100001) LIMIT 3").status_code == 200
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        server.post("FROM range(100001)")


def test_parameters(served: Served) -> None:
    assert served.rows("SELECT $1 + 1", [41]) == [(42,)]
    assert served.rows("SELECT $a || 'b'", {"a": "a"}) == [("ab",)]


def test_a_session_keeps_what_was_said(served: Served) -> None:
    name = served.request("POST", "/api/sql/sessions").json()["session"]
    kept = {"Mindsql-Session": name}
    served.post("BEGIN", headers=kept)
    served.post("CREATE TABLE unseen AS SELECT 1 AS a", headers=kept)
    assert served.post("FROM unseen", headers=kept).json()["data"] == [[1]]
    assert served.post("FROM unseen").status_code == 404
    assert served.request("DELETE", f"/api/sql/sessions/{name}").status_code == 204
    assert served.post("SELECT 1", headers=kept).status_code == 404
    assert served.post("FROM unseen").status_code == 404  # rolled back


def test_state_does_not_pass_from_one_request_to_the_next(served: Served) -> None:
    served.post("CREATE TEMP TABLE mine AS SELECT 1 AS a")
    served.post("BEGIN")
    assert [served.post("FROM mine").status_code for _ in range(3)] == [404] * 3


def test_who_goes_away_is_not_worked_for(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    sql = b'{"query": "SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE i * j % 7 = 1"}'
    head = f"POST /api/sql/query HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"{head}Content-Length: {len(sql)}\r\n\r\n".encode() + sql)
        wait_for(served, "mindsql_running 1.0")
    wait_for(served, "mindsql_running 0.0")


def wait_for(served: Served, line: str) -> None:
    """Wait until the metrics hold a line; half a minute is patience, not a measure."""
    until = time.monotonic() + 30
    while line not in (text := served.request("GET", "/metrics").text):
        assert time.monotonic() < until, text
        time.sleep(0.05)


def test_a_statement_has_its_time(serve: Serve) -> None:
    server = serve("--timeout", "0.5")
    answer = server.post(
        "SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE i * j % 7 = 1"
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "TIME_LIMIT"), answer.text
    assert server.stop() == 0
