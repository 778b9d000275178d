"""The embedded door: what Python programs rely on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mindsql

SLOW = """
class Slow(mindsql.Engine):
    def create(self, target, df=None, args=None):
        self.model_storage.json_set("mean", float(df[target].mean()))
        time.sleep(args["using"].get("seconds", 0))
    def predict(self, df, args=None):
        return pd.DataFrame({args["target"]: [self.model_storage.json_get("mean")] * len(df)})
    options = (mindsql.Option("seconds", "float"),)
"""


class Mean(mindsql.Engine):
    """Answers the mean of the target, after as many seconds as it is told."""

    options = (mindsql.Option("seconds", "float"), mindsql.Option("key", "string", secret=True))
    predict_options = (mindsql.Option("seconds", "float"),)

    def create(self, target, df=None, args=None):
        time.sleep(args["using"].get("seconds", 0))
        self.model_storage.json_set("mean", float(df[target].mean()))

    def predict(self, df, args=None):
        time.sleep(args.get("predict_params", {}).get("seconds", 0))
        return pd.DataFrame({args["target"]: [self.model_storage.json_get("mean")] * len(df)})


@pytest.fixture
def con():
    with mindsql.connect() as connection:
        connection.register_engine("mean", Mean)
        connection.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
        yield connection


def train(con: mindsql.Connection, name: str = "m", using: str = "") -> None:
    con.execute(f"CREATE MODEL {name} FROM (SELECT * FROM t) PREDICT y USING engine = 'mean'{using}")


def test_results_in_every_form(con):
    train(con)
    text = "SELECT t.x, m.y FROM t JOIN m WHERE t.x < 3"
    rows = [(0, 9.0), (1, 9.0), (2, 9.0)]
    assert con.execute(text).fetchall() == rows
    assert con.execute(text).fetchone() == rows[0]
    assert con.execute(text).fetchmany(2) == rows[:2]
    assert list(con.execute(text)) == rows
    assert con.execute(text).df().to_dict("list") == {"x": [0, 1, 2], "y": [9.0, 9.0, 9.0]}
    assert con.execute(text).arrow().to_pylist() == [{"x": x, "y": y} for x, y in rows]
    assert con.execute(text).pl().equals(pl.DataFrame({"x": [0, 1, 2], "y": [9.0, 9.0, 9.0]}))
    assert pa.RecordBatchReader.from_stream(con.execute(text)).read_all().num_rows == 3
    result = con.execute(text)
    assert [item[:2] for item in result.description] == [("x", "BIGINT"), ("y", "DOUBLE")]
    assert result.fetchone() == rows[0] and result.fetchall() == rows[1:] and result.fetchone() is None


def test_a_result_ends_with_the_next_statement(con):
    result = con.execute("SELECT * FROM t")
    con.execute("SELECT 1")
    with pytest.raises(mindsql.InterfaceError, match="closed"):
        result.fetchall()


def test_pandas_read_sql(con):
    train(con)
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        frame = pd.read_sql("SELECT t.x, m.y FROM t JOIN m WHERE x = ?", con, params=[4])
    assert frame.to_dict("list") == {"x": [4], "y": [9.0]}


def test_local_frames_by_name(con):
    train(con)
    frame = pd.DataFrame({"x": [5, 6]})
    arrow = pa.table({"x": [7]})  # noqa: F841 - the statement below names it
    assert con.execute("SELECT f.x, m.y FROM frame AS f JOIN m").fetchall() == [(5, 9.0), (6, 9.0)]
    assert con.execute("SELECT count(*) FROM arrow JOIN m WHERE m.y > 1").fetchall() == [(1,)]
    frame = pd.DataFrame({"x": [1]})
    assert con.execute("SELECT * FROM frame").fetchall() == [(1,)]
    con.register("named", frame)
    assert con.execute("SELECT m.y FROM named JOIN m").fetchall() == [(9.0,)]
    with pytest.raises(mindsql.UnknownNameError, match="no_such_frame"):
        con.execute("SELECT * FROM no_such_frame")


def test_versions_of_concurrent_trainings_have_their_own_numbers(con):
    train(con)
    cursors = [con.cursor() for _ in range(4)]
    threads = [
        threading.Thread(target=cursor.execute, args=("RETRAIN m USING seconds = 0.1",)) for cursor in cursors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = "SELECT version, status FROM mindsql.models ORDER BY version"
    assert con.execute(versions).fetchall() == [(number, "complete") for number in range(1, 6)]
    con.execute("BEGIN")
    con.execute("RETRAIN m")
    with pytest.raises(mindsql.Error, match="another transaction"):
        cursors[0].execute("RETRAIN m")
    con.execute("COMMIT")
    assert con.execute(versions).fetchall() == [(number, "complete") for number in range(1, 7)]


def test_a_cursor_for_each_thread(con):
    train(con)
    found: list[object] = []

    def ask() -> None:
        with con.cursor() as own:
            found.append(own.execute("SELECT sum(m.y) FROM t JOIN m").fetchone())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(90.0,)] * 4


@pytest.mark.parametrize(
    "text",
    [
        "SELECT sum(sin(a.i * b.i)) FROM range(10000000) a(i), range(1000000) b(i)",
        "CREATE MODEL slow FROM (SELECT * FROM t) PREDICT y USING engine = 'mean', seconds = 60",
        "SELECT m.y FROM t JOIN m USING seconds = 60",
        "SELECT avg(m.y) FROM t JOIN m USING seconds = 60",
    ],
)
def test_interrupt_stops_at_once_and_changes_nothing(con, text):
    train(con)
    timer = threading.Timer(0.3, con.interrupt)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(mindsql.Cancelled):
        con.execute(text).fetchall()
    assert time.monotonic() - begin < 20  # not the minute that the engine sleeps
    assert con.execute("SELECT name, status FROM information_schema.models").fetchall() == [("m", "complete")]
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]


def test_rollback_undoes_what_was_done_to_models(con):
    train(con, "kept")
    con.execute("BEGIN")
    train(con, "gone")
    con.execute("RETRAIN kept")
    con.execute("INSERT INTO t VALUES (100, 1000)")
    assert con.execute("SELECT count(m.y) FROM t JOIN gone AS m").fetchall() == [(11,)]
    con.execute("ROLLBACK")
    assert con.execute("SELECT name, version FROM information_schema.models").fetchall() == [("kept", 1)]
    with pytest.raises(mindsql.UnknownNameError):
        con.execute("SELECT y FROM gone WHERE x = 1")
    con.execute("BEGIN; DROP MODEL kept; ROLLBACK")
    assert con.execute("SELECT y FROM kept WHERE x = 1").fetchall() == [(9.0,)]


def test_other_cursors_see_a_model_when_it_is_committed(con):
    other = con.cursor()
    con.execute("BEGIN")
    train(con)
    assert other.execute("SELECT name FROM information_schema.models").fetchall() == []
    con.execute("COMMIT")
    assert other.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]
    other.close()


def test_two_transactions_on_one_model(con):
    """Of two that make, train or drop a model of one name at once, one is told to try again; nothing is left behind."""
    con.execute("CREATE TABLE fives AS SELECT i % 5 AS a, i % 5 * 2.0 AS y FROM range(40) r(i)")
    create = "CREATE MODEL {} FROM (SELECT * FROM fives) PREDICT y USING estimator = 'LinearRegression'"
    con.execute(create.format("other"))
    with con.cursor() as one, con.cursor() as two:

        def at_once(first, second):
            for cursor, sql in ((one, first), (two, second)):
                cursor.execute("BEGIN")
                cursor.execute(sql)
            one.execute("COMMIT")
            two.execute("COMMIT")

        with pytest.raises(mindsql.CatalogError):
            at_once(create.format("m"), create.format("m"))
        two.execute("BEGIN")  # the failed COMMIT has ended the transaction
        two.execute("ROLLBACK")
        for first, second in (("RETRAIN m", "DROP MODEL m"), ("DROP MODEL m", "RETRAIN m")):
            with pytest.raises(mindsql.CatalogError, match="conflict"):
                at_once(first, second)
            one.execute("ROLLBACK")
            two.execute("ROLLBACK")
    assert [(model.name, len(model.versions)) for model in con.snapshot().models] == [("m", 1), ("other", 1)]


def test_a_conflict_says_what_was_changed(con):
    con.execute("CREATE SCHEMA kept; CREATE TABLE kept.a (i INTEGER); INSERT INTO kept.a VALUES (1)")
    replace = "CREATE OR REPLACE TABLE kept.a AS SELECT 2 AS i"
    for first, second, what in (
        (replace, replace, '"kept.a"'),
        ("UPDATE kept.a SET i = 3", "UPDATE kept.a SET i = 4", "the same rows"),
        ("INSERT INTO kept.a VALUES (3)", "DROP TABLE kept.a", '"a"'),
    ):
        with con.cursor() as one, con.cursor() as two:
            for cursor in (one, two):
                cursor.execute("BEGIN")
            with pytest.raises(mindsql.errors.ConflictError, match=f"has changed {what}"):
                one.execute(first)
                two.execute(second)
                two.execute("COMMIT")
                one.execute("COMMIT")


def test_a_failed_statement_in_a_transaction(con):
    train(con)
    con.execute("BEGIN")
    with pytest.raises(mindsql.StatementError):
        con.execute("SELECT nonsense FROM t JOIN m")
    con.execute("ROLLBACK")
    con.execute("BEGIN")
    with pytest.raises(mindsql.errors.UnknownNameError, match="nowhere"):
        con.execute("FROM nowhere")
    con.execute("ROLLBACK")
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]


def test_a_copy_of_the_file_is_a_backup(tmp_path: Path):
    path = tmp_path / "shop.duckdb"
    with mindsql.connect(str(path)) as con:
        con.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(200) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'LinearRegression'")
    (tmp_path / "copy.duckdb").write_bytes(path.read_bytes())
    with mindsql.connect(str(tmp_path / "copy.duckdb"), read_only=True) as con:
        assert round(con.execute("SELECT y FROM m WHERE x = 7").fetchone()[0], 6) == 14
        for text in ("RETRAIN m", "DROP MODEL m", "DELETE FROM t"):
            with pytest.raises(mindsql.CatalogError, match="read-only") as error:
                con.execute(text)
            assert error.value.hint == "open it without --read-only, or connect without read_only = True"


def test_a_killed_training_leaves_the_old_version_serving(tmp_path: Path):
    path = tmp_path / "shop.duckdb"
    program = f"""
import time, mindsql, pandas as pd
{SLOW}
con = mindsql.connect({str(path)!r})
con.register_engine("slow", Slow)
con.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'slow'")
print("training", flush=True)
con.execute("RETRAIN m USING seconds = 600")
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "training\n"
    time.sleep(1)
    process.kill()
    process.wait()
    process.stdout.close()
    with mindsql.connect(str(path)) as con:
        con.register_engine("slow", Mean)
        found = con.execute(
            "SELECT version, active, status, error FROM information_schema.models ORDER BY version"
        ).fetchall()
        assert found == [
            (1, True, "complete", None),
            (2, False, "error", "the training was interrupted: the process that ran it ended"),
        ]
        assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]


def test_a_model_of_other_libraries_says_which_it_needs(con):
    class Picky(Mean):
        def predictor(self, args=None):
            raise ValueError("this format is too old")

    train(con)
    con.execute('UPDATE mindsql._versions SET libraries = \'{"scikit-learn": "0.24.0"}\'')
    other = con.cursor()
    con.register_engine("mean", Picky)
    con._session.shared.snapshot = None
    with pytest.raises(mindsql.EngineError, match="cannot be loaded") as error:
        other.execute("SELECT y FROM m WHERE x = 1")
    assert "trained with scikit-learn 0.24.0" in error.value.hint and "RETRAIN m" in error.value.hint
    other.close()


def test_dropping_the_catalog_by_hand_leaves_nothing(con):
    train(con)
    other = con.cursor()
    assert len(other.execute("SHOW MODELS").fetchall()) == 1
    con.execute("DROP SCHEMA mindsql CASCADE")
    for connection in (con, other):
        assert connection.execute("SHOW MODELS").fetchall() == []
        with pytest.raises(mindsql.UnknownNameError):
            connection.execute("SELECT y FROM m WHERE x = 1")
    train(other)
    assert con.execute("SELECT y FROM m WHERE x = 1").fetchall() == [(9.0,)]
    other.close()


@pytest.mark.parametrize("text", ["", " ", ";", "-- nothing", "/* nothing */ ;"])
def test_a_text_without_a_statement_has_no_rows(con, text):
    result = con.execute(text)
    assert (result.fetchall(), result.description, con.description) == ([], None, None)
    with pytest.raises(mindsql.InterfaceError, match="gave no rows"):
        con.fetchone()


def test_two_processes_on_one_file(tmp_path: Path):
    path = tmp_path / "shop.duckdb"
    with mindsql.connect(str(path)):
        done = subprocess.run(
            [sys.executable, "-c", f"import mindsql; mindsql.connect({str(path)!r})"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "open in another process" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("hint: close the other one")


def test_secrets_are_stored_encrypted_and_shown_nowhere(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("MINDSQL_KEY", raising=False)
    monkeypatch.setenv("A_KEY", "from-the-environment")
    path = tmp_path / "shop.duckdb"
    with mindsql.connect(str(path)) as con:
        con.register_engine("mean", Mean)
        con.execute("CREATE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(10) r(i)")
        train(con, "a", ", key = 'hunter2-secret'")
        train(con, "b", ", key = env('A_KEY')")
        shown = ""
        for text in ("SHOW MODELS", "DESCRIBE a", "DESCRIBE b", "SELECT * FROM information_schema.models"):
            shown += str(con.execute(text).fetchall())
        with pytest.raises(mindsql.StatementError) as error:
            con.execute("RETRAIN a USING key = 5")
        shown += str(error.value)
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("shop.duckdb*"))
    for secret in ("hunter2-secret", "from-the-environment"):
        assert secret not in shown
        assert secret.encode() not in stored
    assert "env('A_KEY')" in shown.replace("\\", "")
    assert (tmp_path / "mindsql" / "key").stat().st_mode & 0o777 == 0o600


def test_dbapi_names():
    assert (mindsql.apilevel, mindsql.paramstyle) == ("2.0", "qmark")
    for name in ("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError",
                 "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError"):  # fmt: skip
        assert issubclass(getattr(mindsql, name), Exception)
    assert issubclass(mindsql.StatementError, mindsql.ProgrammingError)


def test_clusters_are_found_without_a_target(con):
    con.execute(
        "CREATE TABLE points AS SELECT i % 3 * 10 + i % 7 / 10.0 AS a, i % 3 * 5.0 AS b FROM range(90) r(i)"
    )
    con.execute(
        "CREATE MODEL c FROM (SELECT * FROM points) PREDICT cluster USING estimator = 'KMeans', n_clusters = 3"
    )
    found = con.execute("SELECT count(*) FROM points JOIN c AS m GROUP BY m.cluster").fetchall()
    assert found == [(30,), (30,), (30,)]


@pytest.mark.parametrize("rows", ["SELECT a, b, 'x' AS big", "SELECT a, 'u' AS b, big", "SELECT a, big"])
def test_finetune_takes_only_rows_like_the_old_ones(con, rows):
    con.execute("CREATE TABLE points AS SELECT i % 7 AS a, i % 3 AS b, i % 2 = 0 AS big FROM range(90) r(i)")
    con.execute("CREATE MODEL c FROM (SELECT * FROM points) PREDICT big USING estimator = 'SGDClassifier'")
    with pytest.raises(mindsql.StatementError, match="the new rows"):
        con.execute(f"FINETUNE c FROM ({rows} FROM points)")
    assert con.execute("SELECT version FROM information_schema.models").fetchall() == [(1,)]
    con.execute("FINETUNE c FROM (SELECT * FROM points LIMIT 30)")
    assert con.execute("SELECT version FROM information_schema.models WHERE active").fetchall() == [(2,)]


def test_copy_to_a_file(con, tmp_path: Path):
    train(con)
    path = tmp_path / "out.csv"
    con.execute(f"COPY (SELECT t.x, m.y FROM t JOIN m WHERE t.x < 2 ORDER BY t.x) TO '{path}' (HEADER)")
    assert path.read_text() == "x,y\n0,9.0\n1,9.0\n"


def test_scores_of_the_rows_of_the_training_say_so() -> None:
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i AS x, 2 * i AS y FROM range(60) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT x, y FROM t WHERE x < 40) PREDICT y USING estimator = 'Ridge'")
        (note,) = con.execute("EVALUATE m FROM (SELECT x,  y FROM t WHERE x < 40)").notes
        assert "rows of the training query" in note
        assert not con.execute("EVALUATE m FROM (SELECT x, y FROM t WHERE x >= 40)").notes


def test_a_profiler_sees_a_training_end(tmp_path: Path) -> None:
    """CPython 3.11 hangs in a profiler once an exception that was to be thrown into its thread has been taken back."""
    code = (
        "import cProfile, mindsql; con = mindsql.connect()\n"
        "con.execute('CREATE TABLE t AS SELECT i AS a, i * 2.0 AS y FROM range(50) r(i)')\n"
        "profile = cProfile.Profile(); profile.enable()\n"
        "con.execute(\"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'LinearRegression'\")\n"
        "con.execute('SELECT m.y FROM t JOIN m'); profile.disable(); print('done')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "done\n", done.stderr
