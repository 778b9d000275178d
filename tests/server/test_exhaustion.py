"""What would take the server down: statements that nothing stops, bodies that are too large, too slow or too many."""

from __future__ import annotations

import json
import signal
import socket
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import requests

from mindsql.errors import TimeLimitError
from mindsql.server.limits import Connections
from mindsql.server.workers import Workers
from tests.server.conftest import Serve, Served

ENDLESS = "SELECT jaro_similarity(repeat('a', 4000000), repeat('ab', 4000000))"
"""One call of a function, which DuckDB does not interrupt."""


def test_a_worker_that_hangs_is_replaced() -> None:
    workers, hanging, end = Workers(1), threading.Event(), threading.Event()
    threads: list[int] = []

    def hang() -> None:
        threads.append(threading.get_ident())
        hanging.set()
        end.wait()

    stuck = workers.submit(hang)
    behind = workers.submit(lambda: "done")
    assert hanging.wait(30)
    assert workers.give_up(threads[0], TimeLimitError("too long"))
    with pytest.raises(TimeLimitError):
        stuck.result(30)
    assert behind.result(30) == "done"
    assert not workers.give_up(threads[0], TimeLimitError("again"))
    end.set()
    assert workers.close(30)
    with pytest.raises(RuntimeError):
        workers.submit(lambda: None)


def test_closing_cancels_what_waits_and_says_what_hangs() -> None:
    workers, hanging, end = Workers(1), threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        end.wait()

    workers.submit(hang)
    behind = workers.submit(lambda: "never")
    assert hanging.wait(30)
    assert not workers.close(0)
    with pytest.raises(CancelledError):
        behind.result(30)
    end.set()


def test_many_calls_use_all_workers() -> None:
    workers, barrier = Workers(8), threading.Barrier(8, timeout=30)
    calls = [workers.submit(barrier.wait) for _ in range(8)]
    assert sorted(call.result(30) for call in calls) == list(range(8))
    assert workers.close(30)


def test_statements_that_nothing_stops(serve: Serve) -> None:
    """They are given up, others are answered, and the end comes when it was to come."""
    server = serve("--timeout", "1", "--grace", "1", "--workers", "2", "--no-mysql")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: requests.post(
            server.url + "/api/sql/query", json={"query": ENDLESS}, timeout=300), range(3)))  # fmt: skip
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["error"]["code"] for answer in answers} == {"TIME_LIMIT"}
    assert server.rows("SELECT 42") == [(42,)]
    assert server.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/login", b'{"password": "' + b"x" * 5000 + b'"}', 413),
        ("/api/sql/query", b" " * (17 << 20), 413),
        ("/api/sql/query", json.dumps({"query": "SELECT 1", "params": [1] * 300_000}).encode(), 413),
        ("/api/sql/query", b'{"query": "SELECT 1", "params": ' + b"[" * 300_000, 413),
        ("/api/sql/query", json.dumps({"query": "SELECT length('" + "a,[{" * 100_000 + "')"}).encode(), 200),
        ("/api/sql/query", json.dumps({"query": ";" * 1_000_000}).encode(), 200),
        ("/api/sql/query", json.dumps({"query": "SELECT 1;" * 20_000}).encode(), 413),
        ("/api/sql/query", json.dumps({"query": "SELECT '" + ";" * 20_000 + "'"}).encode(), 200),
    ],
)
def test_a_body_has_a_size_by_what_it_is_for(served: Served, path: str, body: bytes, status: int) -> None:
    assert served.request("POST", path, data=body).status_code == status


def test_one_token_does_not_take_all_sessions(serve: Serve) -> None:
    server = serve("--sessions", "8", "--no-mysql")
    secrets = {}
    for name, role in (("root", "admin"), ("ann", "read"), ("bob", "read")):
        answer = server.request("POST", "/tokens", json={"name": name, "role": role})
        secrets[name] = answer.json()["secret"]
        server.token = secrets["root"]

    def opened(name: str) -> int:
        headers = {"Authorization": f"Bearer {secrets[name]}"}
        return server.request("POST", "/api/sql/sessions", headers=headers).status_code

    assert [opened("ann") for _ in range(4)] == [201, 201, 429, 429]
    assert [opened("bob") for _ in range(3)] == [201, 201, 429]
    assert server.rows("SELECT 1") == [(1,)]
    # What a revoked token holds is free at once.
    assert server.request("DELETE", "/tokens/ann").status_code == 204
    assert [opened("root") for _ in range(6)] == [201] * 6


def test_connections_of_one_address_leave_room_for_others() -> None:
    connections = Connections(6)
    assert [connections.enter("a") for _ in range(4)] == [True, True, True, False]
    assert [connections.enter(other) for other in "bcde"] == [True, True, True, False]
    connections.leave("a")
    assert connections.enter("e")


def test_who_opens_too_many_connections_keeps_nobody_out(served: Served) -> None:
    held = [socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) for _ in range(50)]
    try:
        assert served.rows("SELECT 1") == [(1,)]
    finally:
        for each in held:
            each.close()
