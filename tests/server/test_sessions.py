"""Sessions beside each other: trainings in the background, writers and readers, limits, restarts."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import mindsql
from tests.server.conftest import Serve, Served

ROWS = "SELECT i % 97 AS a, i % 89 AS b, i % 83 AS c, (i * 7919 % 1000)::DOUBLE AS y FROM range({}) r(i)"
SLOW = f"FROM ({ROWS.format(20000)}) PREDICT y USING estimator = 'RandomForestRegressor', n_estimators = 4000"
QUICK = f"FROM ({ROWS.format(100)}) PREDICT y USING estimator = 'LinearRegression'"


def until(check: Callable[[], bool]) -> None:
    """Wait until something is so; a minute is patience, not a measure."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.05)


def status(server: Served, name: str, version: int = 1) -> tuple[object, ...]:
    """The status, the phase and the error of a version."""
    sql = "SELECT status, training_phase_name, error FROM models WHERE name = $1 AND version = $2"
    return server.rows(sql, [name, version])[0]


def test_a_training_in_the_background_survives_its_server(serve: Serve) -> None:
    server = serve()
    server.rows(f"CREATE MODEL m {QUICK}")
    answer = server.post(f"RETRAIN m {SLOW.replace('PREDICT y ', '')}, join_learn_process = false").json()
    row = dict(zip(answer["column_names"], answer["data"][0], strict=True))
    assert (row["status"], row["version"]) == ("generating", 2)
    until(lambda: status(server, "m", 2)[0] == "training")
    assert len(server.rows("SELECT y FROM m WHERE a = 1 AND b = 2 AND c = 3")) == 1  # the old version answers
    server.stop(signal.SIGKILL)
    server = serve()
    found = status(server, "m", 2)
    assert found[0] == "error" and "interrupted" in str(found[2])
    assert len(server.rows("SELECT y FROM m WHERE a = 1 AND b = 2 AND c = 3")) == 1
    assert server.stop() == 0


def test_the_background_can_be_the_rule(serve: Serve) -> None:
    server = serve("--background")
    assert server.post(f"CREATE MODEL quick {QUICK}").json()["data"][0][3] == "generating"
    until(lambda: status(server, "quick")[0] == "complete")
    assert (
        server.post(f"CREATE MODEL waited {QUICK}, join_learn_process = true").json()["data"][0][3]
        == "complete"
    )
    assert server.post("CREATE MODEL wrong FROM (SELECT 1 AS a) PREDICT y").status_code == 404
    server.post(f"CREATE MODEL slow {SLOW}")
    until(lambda: status(server, "slow")[0] == "training")
    assert server.rows("DROP MODEL slow") == []
    until(lambda: not server.rows("SELECT 1 FROM models WHERE name = 'slow'"))


def test_writers_do_not_block_readers(serve: Serve) -> None:
    server = serve()
    server.rows("CREATE TABLE t AS SELECT 1 AS a")
    name = server.request("POST", "/api/sql/sessions").json()["session"]
    kept = {"Mindsql-Session": name}
    server.post("BEGIN", headers=kept)
    server.post("INSERT INTO t VALUES (2)", headers=kept)
    assert server.rows("SELECT count(*) FROM t") == [(1,)]
    training = threading.Thread(target=server.post, args=(f"CREATE MODEL slow {SLOW.replace('4000', '30')}",))
    training.start()
    until(lambda: server.rows("SELECT 1 FROM models WHERE name = 'slow' AND status = 'training'") != [])
    assert server.rows("SELECT count(*) FROM t") == [(1,)]
    server.rows("CREATE TABLE beside AS SELECT 1 AS a")
    assert server.post("COMMIT", headers=kept).status_code == 200
    assert server.rows("SELECT count(*) FROM t") == [(2,)]
    training.join(60)
    assert status(server, "slow")[0] == "complete"


def test_memory_has_its_limit(serve: Serve) -> None:
    server = serve("--memory-limit", "60MB")
    answer = server.post("SELECT list(i::VARCHAR || repeat('x', 500)) FROM range(2000000) r(i)")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "MEMORY_LIMIT"), answer.text
    assert server.rows("SELECT 1") == [(1,)]


def test_there_are_only_so_many_sessions(serve: Serve) -> None:
    server = serve("--sessions", "3")
    names = [server.request("POST", "/api/sql/sessions").json()["session"] for _ in range(3)]
    refused = server.post("SELECT 1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "LIMIT")
    assert server.request("DELETE", f"/api/sql/sessions/{names[0]}").status_code == 204
    assert server.rows("SELECT 1") == [(1,)]


def test_idle_sessions_are_closed(serve: Serve) -> None:
    server = serve("--idle", "0.5")
    name = server.request("POST", "/api/sql/sessions").json()["session"]
    until(lambda: "mindsql_sessions 0.0" in server.request("GET", "/metrics").text)
    assert server.post("SELECT 1", headers={"Mindsql-Session": name}).status_code == 404


def test_a_stop_lets_a_training_in_the_background_finish(serve: Serve) -> None:
    server = serve()
    server.rows("CREATE TABLE t AS SELECT i AS x, hash(i) % 100 AS y FROM range(3000) r(i)")
    server.rows(
        "CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING task = 'regression', n_estimators = 200, "
        "estimator = 'RandomForestRegressor', join_learn_process = false"
    )
    server.rows("CREATE MODEL w FROM (SELECT * FROM t) PREDICT y USING join_learn_process = false")
    until(lambda: ("m", "training") in server.rows("SELECT name, status FROM mindsql.models"))
    assert server.stop() == 0
    with mindsql.connect(str(server.file)) as con:
        found = con.execute("SELECT name, status, error FROM mindsql.models ORDER BY name").fetchall()
    why = "the training was interrupted: the database was closed"
    assert found == [("m", "complete", None), ("w", "error", why)]


def test_a_stop_lets_what_runs_finish(serve: Serve) -> None:
    server = serve()
    answers: list[int] = []

    def ask() -> None:
        sql = "SELECT count(*) FROM range(30000000) a(i) WHERE hash(i) % 7 = 1 AND md5(i::VARCHAR) <> 'x'"
        answers.append(server.post(sql).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: "mindsql_running 1.0" in server.request("GET", "/metrics").text or not asking.is_alive())
    assert server.stop() == 0
    asking.join(60)
    assert answers == [200]
