"""What text tests cannot say: engines that hang, broken files, full disks, killed processes, secrets, large tables."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mindsql
from mindsql.errors import Cancelled, CatalogError, EngineError, MindSQLError

from . import engines
from .runner import connected

TRAIN = "CREATE MODEL {0} FROM (SELECT 1 AS a, 'x' AS b, 2.0::DOUBLE AS y) PREDICT y USING engine = '{1}'"
HERE = Path(__file__).parent


@pytest.fixture
def connection() -> Iterator[mindsql.Connection]:
    with connected() as made:
        yield made


def python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in another process, with the engines of these tests at hand."""
    prelude = f"""
        import sys
        sys.path.insert(0, {str(HERE.parent)!r})
        from logic.runner import connected
        connection = connected(path={str(path)!r})
    """
    program = textwrap.dedent(prelude) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


# Engines that hang ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT y FROM h WHERE a = 1",
        "SELECT h.y FROM range(10) AS r(a) JOIN h ON h.b = 'x'",
        "SELECT sum(h.y) FROM range(10) AS r(a) JOIN h ON h.b = 'x' WHERE h.y > 1",
        "CREATE TABLE made AS SELECT h.y FROM range(10) AS r(a) JOIN h ON h.b = 'x' WHERE h.y > 1",
    ],
)
def test_a_hanging_engine_is_stopped_and_the_session_lives(connection: mindsql.Connection, sql: str) -> None:
    connection.execute(TRAIN.format("h", "hanging"))
    timer = threading.Timer(0.3, connection.interrupt)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        connection.execute(sql).fetchall()
    timer.join()
    assert time.monotonic() - begin < 5
    assert connection.execute("SELECT 42").fetchall() == [(42,)]
    tables = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'made'")
    assert tables.fetchall() == [(0,)]
    connection.execute(TRAIN.format("m", "linear"))
    assert connection.execute("SELECT y FROM m WHERE a = 1 AND b = 'x'").fetchall() == [(3.0,)]


def test_a_half_read_answer_does_not_stand_in_the_way(connection: mindsql.Connection) -> None:
    connection.execute(TRAIN.format("m", "linear"))
    for finish in ("", " WHERE m.y > 1", " ORDER BY m.y"):
        result = connection.execute(f"SELECT m.y FROM range(300000) AS r(a) JOIN m ON m.b = 'x'{finish}")
        assert len(result.fetchmany(5)) == 5
    assert connection.execute("SELECT y FROM m WHERE a = 1 AND b = 'x'").fetchall() == [(3.0,)]


# Files ------------------------------------------------------------------------------------------------------


def test_a_corrupt_artifact_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with connected(path=str(path)) as first:
        first.execute(TRAIN.format("m", "linear"))
        first.execute("UPDATE mindsql._artifacts SET content = 'broken'::BLOB")
    with connected(path=str(path)) as second:
        with pytest.raises(CatalogError, match="digest") as caught:
            second.execute("SELECT y FROM m WHERE a = 1")
        assert caught.value.hint is not None
        second.execute("DELETE FROM mindsql._artifacts")
    with connected(path=str(path)) as third, pytest.raises(CatalogError, match="missing"):
        third.execute("SELECT y FROM m WHERE a = 1")


def test_a_read_only_file_answers_and_refuses_changes(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with connected(path=str(path)) as first:
        first.execute(TRAIN.format("m", "linear"))
        first.execute("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    before = path.read_bytes()
    reader = mindsql.connect(str(path), read_only=True)
    reader.register_engine("linear", engines.Linear)
    with reader:
        assert reader.execute("SELECT m.y FROM t JOIN m").fetchall() == [(3.0,)]
        for sql in (
            TRAIN.format("n", "linear"),
            "RETRAIN m",
            "DROP MODEL m",
            "SET active m.1",
            "CREATE VIEW v AS SELECT y FROM m WHERE a = 1",
            "CREATE ML_ENGINE e FROM linear",
            "CREATE PROJECT p",
            "INSERT INTO t SELECT 2, 'x' FROM t JOIN m WHERE m.y > 1",
            "CREATE TABLE made AS SELECT m.y FROM t JOIN m",
        ):
            with pytest.raises(MindSQLError, match="read-only"):
                reader.execute(sql)
        assert reader.execute("SELECT m.y FROM t JOIN m").fetchall() == [(3.0,)]
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_model(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with connected(path=str(path)) as first:
        first.execute(TRAIN.format("m", "linear"))
    done = python(
        f"""
        import resource, signal
        from mindsql.errors import MindSQLError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size}, {path.stat().st_size}))
        try:
            connection.execute("CREATE TABLE big AS SELECT m.y, repeat('x', 1000) || r.a AS pad "
                               "FROM range(300000) AS r(a) JOIN m ON m.b = 'x' WHERE m.y > 1")
            connection.execute("CHECKPOINT")
        except MindSQLError as error:
            print(error.code)
        """,
        path,
    )
    assert done.stdout.strip() == "CATALOG", done.stderr
    with connected(path=str(path)) as again:
        assert again.execute("SELECT y FROM m WHERE a = 1 AND b = 'x'").fetchall() == [(3.0,)]


def test_a_killed_training_leaves_the_old_version_and_a_note(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    done = python(
        f"""
        import os, signal
        from logic import engines

        class Deadly(engines.Linear):
            def create(self, target, df=None, args=None):
                os.kill(os.getpid(), signal.SIGKILL)

        connection.register_engine("deadly", Deadly)
        connection.execute({TRAIN.format("m", "linear")!r})
        connection.execute("RETRAIN m USING engine = 'deadly'")
        """,
        path,
    )
    assert done.returncode == -9, done.stderr
    with connected(path=str(path)) as again:
        assert again.execute("SELECT y FROM m WHERE a = 1 AND b = 'x'").fetchall() == [(3.0,)]
        found = again.execute("SELECT version, status, error FROM mindsql.models ORDER BY version").fetchall()
        assert [row[:2] for row in found] == [(1, "complete"), (2, "error")]
        assert "interrupted" in found[1][2]


# Secrets ----------------------------------------------------------------------------------------------------


def test_secrets_are_in_no_error(connection: mindsql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "hush-from-env")

    class Telltale(engines.Linear):
        def create_engine(self, connection_args: dict[str, object]) -> None:
            raise ValueError(f"cannot log in with {connection_args['api_key']}")

    connection.register_engine("telltale", Telltale)
    for sql in (
        "CREATE ML_ENGINE e FROM telltale USING api_key = 'hush-literal'",
        "CREATE ML_ENGINE e FROM telltale USING api_key = env('TOY_KEY')",
        "CREATE ML_ENGINE e FROM linear USING api_key = 'hush-literal', nope = 1",
        "CREATE ML_ENGINE e FROM linear USING api_key = 'hush-literal' nope",
        TRAIN.format("m", "linear") + ", api_key = 'hush-literal', nope = 1",
        TRAIN.format("m", "untrainable") + ", api_key = 'hush-literal'",
    ):
        with pytest.raises(MindSQLError) as caught:
            connection.execute(sql)
        assert "hush" not in str(caught.value), sql
    rows = connection.execute("SELECT * FROM information_schema.models").fetchall()
    assert "hush" not in repr(rows)


# Size -------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    path = tmp_path / "big.duckdb"
    code = """
        import resource
        connection.execute("SET memory_limit = '500MB'; SET threads = 2")
        connection.execute({train!r})
        connection.execute("SELECT count(m.y) FROM range(100000) AS r(a) JOIN m ON m.b = 'x'").fetchall()
        for rows in (1000000, 5000000):
            result = connection.execute(
                f"SELECT sum(m.y), count(*) FROM range({{rows}}) AS r(a) JOIN m ON m.b = 'x' WHERE m.y > 10"
            )
            found = result.fetchall()
            assert found[0][1] == rows - 9, found
            seen = 0
            for batch in connection.execute(
                f"SELECT r.a, m.y FROM range({{rows}}) AS r(a) JOIN m ON m.b = 'x'"
            ).reader():
                seen += batch.num_rows
            assert seen == rows
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """.format(train=TRAIN.format("m", "linear"))
    done = python(code, path)
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large < small * 1.25, f"{small} kB for a million rows, {large} kB for five"


def test_an_engine_error_in_the_middle_of_a_stream(connection: mindsql.Connection) -> None:
    class Late(engines.Linear):
        def answer(self, df, target, args):  # type: ignore[no-untyped-def]
            if df["a"].max() > 200000:
                raise ValueError("too far")
            return super().answer(df, target, args)

    connection.register_engine("late", Late)
    connection.execute(TRAIN.format("m", "late"))
    for finish in ("", " WHERE m.y > 1", " ORDER BY m.y"):
        with pytest.raises(EngineError, match="too far"):
            connection.execute(
                f"SELECT m.y FROM range(300000) AS r(a) JOIN m ON m.b = 'x'{finish}"
            ).fetchall()
    with pytest.raises(EngineError, match="too far"):
        connection.execute("CREATE TABLE made AS SELECT m.y FROM range(300000) AS r(a) JOIN m ON m.b = 'x'")
    with pytest.raises(MindSQLError, match="does not exist"):
        connection.execute("SELECT * FROM made")


def test_threads_have_their_own_cursors(connection: mindsql.Connection) -> None:
    connection.execute(TRAIN.format("m", "linear"))
    failures: list[BaseException] = []

    def execution(number: int) -> None:
        try:
            with connection.cursor() as cursor:
                for _ in range(10):
                    found = cursor.execute("SELECT y FROM m WHERE a = ? AND b = 'x'", [number]).fetchall()
                    assert found == [(number + 2.0,)]
                    sql = f"SELECT max(m.y) FROM range({number}) AS r(a) JOIN m ON m.b = 'x'"
                    assert cursor.execute(sql).fetchall() == [(number + 1.0,)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=execution, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
