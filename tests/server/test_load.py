"""The server under load, in small: `python -m tests.benchmarks.server` does the same for minutes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
import uvicorn

import mindsql
from mindsql.server.serve import _Http
from tests.server.conftest import Serve, Served
from tests.server.loads import Holdings, Writers, idle, many, statement, vanish

ARROW = "application/vnd.apache.arrow.stream"


def gauge(served: Served, name: str) -> float:
    found = re.search(rf"^mindsql_{name} (\S+)", served.request("GET", "/metrics").text, re.M)
    assert found is not None
    return float(found[1])


def eventually(condition: Callable[[], bool]) -> None:
    """Fail unless it becomes true."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def cursors(served: Served) -> int:
    count: int = served.rows("SELECT count FROM duckdb_connection_count()")[0][0]
    return count


def test_small_answers_are_not_held_back() -> None:
    async def nodelay() -> int:
        http = _Http(uvicorn.Config(lambda: None, host="127.0.0.1", port=0, log_config=None))
        http.bind()
        found = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(
                writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            )
            writer.close()

        async with await asyncio.start_server(connected, sock=http.sockets[0]):
            _, writer = await asyncio.open_connection("127.0.0.1", http.port)
            option: int = await found
            writer.close()
            await writer.wait_closed()
        return option

    assert asyncio.run(nodelay())


def test_many_requests_leave_nothing_behind(served: Served) -> None:
    questions = [
        statement(served.url, f"SELECT rent FROM rent WHERE sqft = {300 + i} AND place = 'good'")
        for i in range(200)
    ] + [statement(served.url, "SELECT count(*) FROM flats") for _ in range(200)]
    assert many(served.url, questions, 32).statuses == {200: 400}
    before, open_before = Holdings.of(served.process.pid), cursors(served)
    assert many(served.url, questions, 32).statuses == {200: 400}
    after = Holdings.of(served.process.pid)
    assert after.threads <= before.threads + 4
    assert after.megabytes < before.megabytes + 40
    assert cursors(served) <= open_before + 2
    assert gauge(served, "sessions") == 0


def test_idle_connections_hinder_nobody(served: Served) -> None:
    before = Holdings.of(served.process.pid)
    clients = idle(served.url, 100)
    assert served.rows("SELECT 1") == [(1,)]
    assert Holdings.of(served.process.pid).threads <= before.threads + 2
    for client in clients:
        client.close()
    eventually(lambda: Holdings.of(served.process.pid).files <= before.files + 2)


@pytest.mark.parametrize(
    ("sql", "accept"),
    [
        (
            "SELECT count(*) FROM range(100000000) a(i), range(1000) b(j) WHERE (i * j) % 7 = 1",
            "application/json",
        ),
        ("SELECT i, i * 2 AS j FROM range(3000000) r(i)", ARROW),
        (
            "SELECT m.rent FROM (SELECT i AS sqft, 'good' AS place FROM range(300000) r(i)) JOIN rent m",
            "text/csv",
        ),
    ],
)
def test_nothing_is_left_of_clients_that_vanish(served: Served, sql: str, accept: str) -> None:
    before = cursors(served)
    vanish(served.url, lambda _: statement(served.url, sql, accept=accept), 40)
    eventually(lambda: gauge(served, "running") == gauge(served, "sessions") == gauge(served, "queue") == 0)
    assert cursors(served) <= before + 16  # workers keep a connection for the next, with its plans
    assert served.rows("SELECT rent FROM rent WHERE sqft = 400 AND place = 'good'")


def test_state_is_told_while_all_workers_are_busy(serve: Serve) -> None:
    served = serve("--workers", "1")
    endless = statement(
        served.url, "SELECT count(*) FROM range(100000000) a(i), range(100000) b(j) WHERE i % 7 = j"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])))
            )
            client.sendall(endless)
        eventually(lambda: gauge(served, "queue") == 1)
        assert served.request("GET", "/health").status_code == 200
    eventually(lambda: gauge(served, "queue") == gauge(served, "running") == 0)


def test_a_million_rows_stream(serve: Serve) -> None:
    served = serve()
    served.rows("SELECT 1")
    before = Holdings.of(served.process.pid).megabytes
    most = before
    sql = "SELECT i, i * 2.5::DOUBLE AS x, 'row ' || i AS s FROM range(4000000) r(i)"
    size = 0
    body, headers = {"query": sql}, {"Accept": ARROW}
    with served.request("POST", "/api/sql/query", json=body, headers=headers, stream=True) as answer:
        for part in answer.iter_content(1 << 20):
            size += len(part)
            most = max(most, Holdings.of(served.process.pid).megabytes)
    assert size > 120_000_000
    assert most < before + 110  # pyarrow itself takes some forty


def test_a_graceful_stop_finishes_what_runs(serve: Serve) -> None:
    served = serve()
    statuses: list[int] = []
    sql = "SELECT count(*) FROM range(20000) a(i), range(5000) b(j) WHERE (i * j) % 7 = 1"
    client = threading.Thread(target=lambda: statuses.append(served.post(sql).status_code))
    client.start()
    eventually(lambda: gauge(served, "running") == 1)
    assert Holdings.of(served.process.pid).children == 0
    assert served.stop(signal.SIGTERM) == 0
    client.join()
    assert statuses == [200]


def test_what_was_answered_survives_a_kill(serve: Serve) -> None:
    rows: set[int] = set()
    models: set[str] = set()
    for number in range(2):
        served = serve("--no-mysql")
        if number == 0:
            served.rows("CREATE TABLE written (n BIGINT)")
            served.rows("CREATE TABLE flats AS SELECT i AS sqft, i * 2.0::DOUBLE AS rent FROM range(50) r(i)")
        assert rows <= {row for (row,) in served.rows("SELECT n FROM written")}
        writers = Writers(served.url, number)
        eventually(partial(writers.have, rows=5, models=1 if number == 0 else 0))
        served.stop(signal.SIGKILL)
        writers.join()
        rows.update(writers.rows)
        models.update(writers.models)
    with mindsql.connect(str(served.file)) as con:
        assert rows <= {row for (row,) in con.execute("SELECT n FROM written").fetchall()}
        for name in models:
            assert con.execute(f"SELECT rent > 0 FROM {name} WHERE sqft = 10").fetchall() == [(True,)]


def test_metrics_count_what_happens(served: Served) -> None:
    def counts() -> tuple[float, ...]:
        engine = '{model="mindsql.rent"}'
        return tuple(
            gauge(served, re.escape(name))
            for name in (
                'rows_total{door="http"}',
                f"predictions_total{engine}",
                f"engine_seconds_count{engine}",
            )
        )

    served.rows("SELECT rent FROM rent WHERE sqft = 400 AND place = 'good'")
    for ask, more in (
        (lambda: served.rows("SELECT 1 FROM range(5000)"), (5000, 0, 0)),
        (lambda: served.post("SELECT 1 AS a FROM range(3000)", headers={"Accept": ARROW}), (3000, 0, 0)),
        (lambda: served.rows("SELECT rent FROM rent WHERE sqft = 401 AND place = 'good'"), (1, 1, 1)),
        (lambda: served.request("GET", "/models/rent?sqft=1&place=poor"), (1, 1, 1)),
        (
            lambda: served.request("POST", "/models/rent?_format=csv", json={"sqft": 1, "place": "poor"}),
            (1, 1, 1),
        ),
    ):
        before = counts()
        ask()
        assert tuple(after - b for after, b in zip(counts(), before, strict=True)) == more


def test_rows_are_limited_in_every_form(serve: Serve) -> None:
    served = serve("--max-rows", "10", "--no-mysql")
    for accept in ("application/json", "text/csv", "application/x-ndjson", ARROW):
        for column in ("i", "INTERVAL 1 month"):  # some types pass through Arrow in every form
            for rows, status in ((10, 200), (11, 413)):
                answer = served.post(
                    f"SELECT {column} AS c FROM range({rows}) r(i)", headers={"Accept": accept}
                )
                assert (accept, answer.status_code) == (accept, status)


def test_a_session_that_is_closed_stops_at_any_moment(served: Served) -> None:
    sql = "SELECT count(*) FROM range(100000000) a(i), range(1000) b(j) WHERE (i * j) % 7 = 1"
    for pause in (0, 0.001, 0.003, 0.01, 0.03, 0.1):
        name = served.request("POST", "/api/sql/sessions").json()["session"]
        statuses: list[int] = []
        ask = partial(served.post, sql, headers={"Mindsql-Session": name})
        client = threading.Thread(target=lambda ask=ask, found=statuses: found.append(ask().status_code))  # type: ignore[misc]
        client.start()
        time.sleep(pause)
        assert served.request("DELETE", f"/api/sql/sessions/{name}").status_code == 204
        client.join()
        assert statuses in ([499], [404])  # stopped, or come too late
