"""Training in the background: what the one who asks sees at once, and all others see later."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mindsql
from mindsql.settings import Settings

SECONDS = 30.0
"""More than any of this takes: a wait that ends this way is a failure."""

LATER = "USING engine = 'gated', join_learn_process = false"


class Gated(mindsql.Engine):
    """Answers the mean of the target; its training waits at a gate, after telling how far it is."""

    entered, gate = threading.Event(), threading.Event()
    options = (mindsql.Option("fail", "boolean", default=False),)

    def create(self, target: str, df: Any = None, args: Any = None) -> None:
        self.model_storage.training_state_set(2, 3, "fitting")
        self.entered.set()
        while not self.gate.wait(0.01):
            pass
        if args["using"]["fail"]:
            raise ValueError("it cannot be")
        self.model_storage.json_set("mean", float(df[target].mean()))

    def predict(self, df: Any, args: Any = None) -> pd.DataFrame:
        return pd.DataFrame({args["target"]: [self.model_storage.json_get("mean")] * len(df)})


@pytest.fixture
def con() -> Iterator[mindsql.Connection]:
    Gated.entered.clear(), Gated.gate.clear()
    with mindsql.connect(settings=Settings(background=True)) as connection:
        connection.register_engine("gated", Gated)
        connection.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
        yield connection


def models(con: mindsql.Connection) -> list[tuple[Any, ...]]:
    return con.execute("SELECT name, version, status, error FROM mindsql.models ORDER BY ALL").fetchall()


def the_last(con: mindsql.Connection) -> mindsql.jobs.Job:
    return con.jobs.wait(con.jobs.list()[-1].id, SECONDS)


def test_a_model_comes_to_be_while_others_look_on(con: mindsql.Connection) -> None:
    row = con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}").fetchone()
    assert row is not None and row[:4] == ("m", "mindsql", 1, "generating")
    (job,) = con.jobs.list()
    assert (job.kind, job.project, job.model, job.version) == ("CREATE MODEL", "mindsql", "m", 1)
    assert Gated.entered.wait(SECONDS)
    with con.cursor() as other:
        phases = "SELECT status, current_training_phase, total_training_phases, training_phase_name FROM mindsql.models"
        assert other.execute(phases).fetchall() == [("training", 2, 3, "fitting")]
        with pytest.raises(mindsql.CatalogError, match="not ready yet: its status is training"):
            other.execute("SELECT y FROM m WHERE x = 1")
        Gated.gate.set()
        assert con.jobs.wait(job.id, SECONDS).status == "complete"
        # The same text: what a system table says is not kept with its plan.
        assert other.execute(phases).fetchall() == [("complete", None, None, None)]
        assert other.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]


def test_the_old_version_answers_until_the_new_one_is_complete(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'gated'")
    Gated.gate.clear(), Gated.entered.clear()
    con.execute("RETRAIN m FROM (SELECT x, y + 1 AS y FROM t) USING join_learn_process = false")
    assert Gated.entered.wait(SECONDS)
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]
    Gated.gate.set()
    assert the_last(con).kind == "RETRAIN"
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(10.0,)]


def test_a_failed_training_is_told_in_models(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}, fail = true")
    job = the_last(con)
    assert (job.status, models(con)[0][:3]) == ("error", ("m", 1, "error"))
    assert (
        job.error is not None and job.error == models(con)[0][3] and "ValueError: it cannot be" in job.error
    )
    con.execute("CREATE TABLE u AS SELECT 1 AS x, 'a' AS y LIMIT 0")
    con.execute(f"CREATE MODEL none FROM (SELECT * FROM u) PREDICT y {LATER}")
    assert "gives no rows" in str(the_last(con).error)
    con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")  # instead of the failed one
    assert the_last(con).status == "complete" and models(con)[0] == ("m", 1, "complete", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"CREATE MODEL m FROM (SELECT * FROM nowhere) PREDICT y {LATER}", "nowhere"),
        (f"CREATE MODEL m FROM (SELECT x, z FROM t) PREDICT y {LATER}", '"z" not found'),
        (f"CREATE MODEL m FROM (SELECT x FROM t) PREDICT y {LATER}", 'unknown column to predict: "y"'),
        (f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}, nope = 1", "nope"),
        (f"CREATE MODEL m PREDICT y {LATER}", "needs rows to train on"),
        (f"CREATE MODEL t FROM (SELECT * FROM t) PREDICT y {LATER}", "would hide the model"),
        (f"RETRAIN nothing {LATER}", "nothing"),
    ],
)
def test_what_can_be_checked_is_checked_at_once(con: mindsql.Connection, text: str, message: str) -> None:
    with pytest.raises(mindsql.MindSQLError, match=message):
        con.execute(text)
    assert con.jobs.list() == [] and models(con) == []


def test_who_may_train_in_the_background(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("BEGIN")
    with pytest.raises(mindsql.StatementError, match="a transaction cannot wait"):
        con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")
    con.execute("ROLLBACK")
    con._session.settings = Settings()
    with pytest.raises(mindsql.StatementError, match="needs the server"):
        con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")
    con._session.settings = Settings(background="always")
    for name, using, jobs in (("a", "", 1), ("b", ", join_learn_process = true", 1)):
        con.execute(f"CREATE MODEL {name} FROM (SELECT * FROM t) PREDICT y USING engine = 'gated'{using}")
        assert len(con.jobs.list()) == jobs


def test_rows_that_only_one_connection_sees(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("CREATE TEMP TABLE mine AS SELECT 1 AS x, 5.0::DOUBLE AS y")
    con.register("Framed", pd.DataFrame({"x": [1], "y": [6.0]}))
    local = pd.DataFrame({"x": [1], "y": [7.0]})
    for name, mean in (("mine", 5.0), ("framed", 6.0), ("local", 7.0)):
        con.execute(f"CREATE MODEL m_{name} FROM (SELECT * FROM {name}) PREDICT y {LATER}")
        assert the_last(con).error is None
        assert con.execute(f"SELECT y FROM m_{name} WHERE x = 1").fetchall() == [(mean,)]
    assert len(local) == 1


def test_parameters_and_settings_go_along(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("CREATE SCHEMA s")
    con.execute("CREATE TABLE s.v AS SELECT 1 AS x, 3.0::DOUBLE AS y")
    con.execute("SET search_path = 's'")
    con.execute(f"CREATE MODEL m FROM (SELECT x, y * $k AS y FROM v) PREDICT y {LATER}", {"k": 2})
    assert the_last(con).error is None
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(6.0,)]


def test_drop_model_stops_its_training(con: mindsql.Connection) -> None:
    con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")
    con.execute(f"CREATE MODEL w FROM (SELECT * FROM t) PREDICT y {LATER}")
    assert Gated.entered.wait(SECONDS)
    con.execute("BEGIN")
    with pytest.raises(mindsql.CatalogError, match="being trained in the background"):
        con.execute("DROP MODEL m")
    con.execute("ROLLBACK")
    con.execute("DROP MODEL w")  # still waits for its turn
    con.execute("DROP MODEL m")
    for job in con.jobs.list():
        assert con.jobs.wait(job.id, SECONDS).error == f'"{job.model}" was dropped while it was trained'
    assert models(con) == []
    assert con.execute("SELECT count(*) FROM mindsql._artifacts").fetchall() == [(0,)]


def test_a_stopped_training_is_an_error_and_the_next_takes_its_turn(con: mindsql.Connection) -> None:
    con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")
    con.execute(f"CREATE MODEL n FROM (SELECT * FROM t) PREDICT y {LATER}")
    first, second = con.jobs.list()
    assert Gated.entered.wait(SECONDS) and second.started is None
    con.jobs.cancel(first.id)
    con.jobs.wait(first.id, SECONDS)
    Gated.gate.set()
    assert con.jobs.wait(second.id, SECONDS).status == "complete"
    assert models(con) == [
        ("m", 1, "error", "the training was stopped"),
        ("n", 1, "complete", None),
    ]


def test_a_transaction_in_the_way_delays_a_training_only(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'gated'")
    con.execute("RETRAIN m")
    Gated.gate.clear(), Gated.entered.clear()
    con.execute("RETRAIN m USING join_learn_process = false")
    assert Gated.entered.wait(SECONDS)
    with con.cursor() as other:
        other.execute("BEGIN")
        other.execute("SET active m.1")
        Gated.gate.set()
        job = con.jobs.wait(con.jobs.list()[0].id, 0.5)  # it has run into the transaction by then, or will
        assert not job.ended
        other.execute("COMMIT")
    assert the_last(con).status == "complete"
    assert con.execute("SELECT version FROM mindsql.models WHERE active").fetchall() == [(3,)]


def test_a_long_query_is_stopped_too(con: mindsql.Connection) -> None:
    Gated.gate.set()
    con.execute("CREATE TABLE big AS FROM range(999999) r(i)")
    con.execute("CREATE VIEW long AS SELECT a.i AS x, sum(b.i) AS y FROM big AS a, big AS b GROUP BY 1")
    con.execute(f"CREATE MODEL m FROM (SELECT * FROM long) PREDICT y {LATER}")
    (job,) = con.jobs.list()
    end = time.monotonic() + SECONDS
    while job.phase != "reading rows" and time.monotonic() < end:
        time.sleep(0.01)
    con.jobs.cancel(job.id)
    assert con.jobs.wait(job.id, SECONDS).error == "the training was stopped"
    assert models(con) == [("m", 1, "error", "the training was stopped")]


def test_closing_the_database_interrupts_its_trainings(tmp_path: Path) -> None:
    Gated.entered.clear(), Gated.gate.clear()
    path = str(tmp_path / "shop.duckdb")
    with mindsql.connect(path, settings=Settings(background=True)) as con:
        con.register_engine("gated", Gated)
        con.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
        con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {LATER}")
        assert Gated.entered.wait(SECONDS)
    Gated.gate.set()
    with mindsql.connect(path) as con:
        assert models(con) == [("m", 1, "error", "the training was interrupted: the database was closed")]


def test_a_killed_process_leaves_no_training_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "shop.duckdb")
    program = f"""
import os, signal, mindsql
from mindsql.settings import Settings
from test_background import Gated, LATER, SECONDS
con = mindsql.connect({path!r}, settings=Settings(background=True))
con.register_engine("gated", Gated)
con.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
con.execute(f"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y {{LATER}}")
con.execute(f"CREATE MODEL w FROM (SELECT * FROM t) PREDICT y {{LATER}}")
assert Gated.entered.wait(SECONDS)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=False)
    assert done.returncode == -9
    with mindsql.connect(path) as con:
        why = "the training was interrupted: the process that ran it ended"
        assert models(con) == [("m", 1, "error", why), ("w", 1, "error", why)]
        assert con.execute("SELECT count(*) FROM mindsql._artifacts").fetchall() == [(0,)]
