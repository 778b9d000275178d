"""A stop leaves nothing behind: no model in training, no dead transaction, no open result, no half-made library."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import mindsql
from mindsql.errors import Cancelled

# A stop may hit a destructor or a callback of a library, which only warn.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def connection() -> Iterator[mindsql.Connection]:
    with mindsql.connect() as found:
        found.execute("CREATE TABLE t AS SELECT i % 97 AS a, i * 2.0 AS y, i % 3 AS g FROM range(20000) r(i)")
        found.execute(
            "CREATE MODEL linear FROM (FROM t LIMIT 500) PREDICT y USING estimator = 'LinearRegression'"
        )
        found.execute(
            "CREATE MODEL forest FROM (FROM t LIMIT 500) PREDICT y"
            " USING estimator = 'RandomForestRegressor', n_estimators = 3"
        )
        yield found


@contextmanager
def stopped(connection: mindsql.Connection, after: float, again: float | None = None) -> Iterator[None]:
    """Stop what runs after some seconds, and then every `again` seconds, until the block ends."""
    ended = threading.Event()

    def stop() -> None:
        ended.wait(after)
        connection.interrupt()
        while again is not None and not ended.wait(again):
            connection.interrupt()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


QUERIES = [
    "SELECT t.a, f.y FROM t JOIN forest AS f ORDER BY f.y LIMIT 5",
    "SELECT count(*), avg(f.y) FROM t JOIN forest AS f",
    "SELECT max(l.y) FROM t JOIN linear AS l",
    "WITH q AS (SELECT t.a, f.y FROM t JOIN forest AS f) SELECT count(*) FROM q AS a JOIN q AS b USING (a)",
    "CREATE OR REPLACE TABLE kept AS SELECT t.a, f.y FROM t JOIN forest AS f",
    "SELECT sum(a) FROM t",
]


def test_three_hundred_stopped_queries(connection: mindsql.Connection) -> None:
    choose = random.Random(7)
    stops = 0
    for _ in range(300):
        with stopped(connection, choose.random() * 0.012):
            try:
                connection.execute(choose.choice(QUERIES)).fetchall()
            except Cancelled:
                stops += 1
        assert connection.execute("SELECT 42").fetchall() == [(42,)]
        assert connection.execute("SELECT y FROM linear WHERE a = 1").fetchall()
    assert stops > 10


@pytest.mark.parametrize("again", [None, 0.02])
def test_stopped_trainings(connection: mindsql.Connection, again: float | None) -> None:
    stops = 0
    for number in range(25):
        with stopped(connection, number / 100, again):
            try:
                connection.execute(
                    "CREATE MODEL m FROM (FROM t LIMIT 2000) PREDICT y"
                    " USING estimator = 'RandomForestRegressor', n_estimators = 60"
                )
            except Cancelled:
                stops += 1
        assert not connection.execute("SELECT name FROM mindsql.models WHERE status = 'training'").fetchall()
        # The name is free again, or the model is there.
        connection.execute("DROP MODEL IF EXISTS m")
        with stopped(connection, number / 100, again):
            try:
                connection.execute("RETRAIN forest USING n_estimators = 60")
            except Cancelled:
                stops += 1
        versions = connection.execute("SELECT status FROM mindsql.models_versions WHERE name = 'forest'")
        assert {status for (status,) in versions.fetchall()} == {"complete"}
    assert stops > 10


def test_ctrl_c_pressed_again_and_again() -> None:
    """In a process of its own, where a Ctrl-C hits whatever the main thread does."""
    script = textwrap.dedent(
        """
        import os, signal, threading
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import mindsql
        c = mindsql.connect()
        c.execute("CREATE TABLE t AS SELECT i % 97 AS a, i * 2.0 AS y FROM range(3000) r(i)")
        ended = threading.Event()

        def press(after):
            ended.wait(after)
            while not ended.wait(0.1):
                os.kill(os.getpid(), signal.SIGINT)

        def calmly(call):
            while True:
                try:
                    return call()
                except KeyboardInterrupt:
                    continue

        for number in range(20):
            ended.clear()
            thread = threading.Thread(target=press, args=[number / 40])
            thread.start()
            try:
                c.execute("CREATE MODEL m FROM t PREDICT y".replace("FROM t", "FROM (FROM t)")
                          + " USING estimator = 'RandomForestRegressor', n_estimators = 60")
            except (KeyboardInterrupt, mindsql.errors.Cancelled):
                pass
            calmly(ended.set)
            calmly(thread.join)
            found = calmly(lambda: c.execute("SELECT name FROM mindsql.models WHERE status = 'training'").fetchall())
            assert not found, found
            calmly(lambda: c.execute("DROP MODEL IF EXISTS m"))
        assert c.execute("SELECT 42").fetchall() == [(42,)]
        print("done")
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "done", done.stderr[-2000:]
