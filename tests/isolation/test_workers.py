"""Engines in worker processes: what they do to themselves they do to nobody else, and nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hostile import Hostile

import mindsql
from mindsql.connection import Connection
from mindsql.errors import Cancelled, EngineError, EngineProcessError, MindSQLError, StatementError
from mindsql.isolation.proxy import isolated
from mindsql.testing import BoundCheck, Case, ToyEngine, parametrize_with_checks
from mindsql_engines.sklearn import SklearnEngine

if os.name != "posix":
    pytest.skip("workers need Linux or macOS", allow_module_level=True)

HERE = Path(__file__).parent


@parametrize_with_checks(
    [Case(isolated(ToyEngine), name="Toy"), Case(isolated(SklearnEngine, workers=2), name="sklearn")]
)
def test_contract(check: BoundCheck) -> None:
    """The suite that every engine passes."""
    check()


@pytest.fixture
def con(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection with an engine `h` in a worker; temporary folders are made in a folder of the test's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with mindsql.connect() as connection:
        connection.register_engine("hostile", Hostile)
        connection.execute("CREATE TABLE t AS SELECT i AS a, 2 * i AS y FROM range(20) r(i)")
        connection.execute("CREATE ML_ENGINE h FROM hostile USING isolated = true, memory_limit = '1GB'")
        yield connection
    eventually(lambda: not list(tmp_path.glob("mindsql-*")), "temporary folders are left behind")


def create(con: Connection, how: str = "nothing", where: str = "predict", name: str = "m") -> None:
    con.execute(
        f"CREATE OR REPLACE MODEL {name} FROM (SELECT * FROM t) PREDICT y "
        f"USING engine = 'h', how = '{how}', where = '{where}'"
    )


def pid(con: Connection, name: str = "m") -> int:
    """The process that answers."""
    (found,) = con.execute(f"SELECT y FROM {name} WHERE a = 1").fetchone() or ()
    return int(found)


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, longer than any machine needs."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def gone(process: int) -> bool:
    """Whether a process has ended, with all of its threads: the first to end makes it a zombie."""
    try:
        found = psutil.Process(process)
        tasks = Path(f"/proc/{process}/task")
        return found.status() == psutil.STATUS_ZOMBIE and (not tasks.exists() or len(list(tasks.iterdir())) <= 1)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


DEATHS = {
    "kill": (EngineProcessError, "the engine's process died: SIGKILL"),
    "segfault": (EngineProcessError, "the engine's process died: SIGSEGV"),
    "exit": (EngineError, "SystemExit: 3"),
    "exit_now": (EngineProcessError, "the engine's process died: it ended with the status 3"),
    "raise": (EngineError, "KeyError: \"'garbage'\""),
    "memory": (EngineProcessError, "the engine wanted more than its memory_limit of 1024 MB"),
    "fork_bomb": (EngineProcessError, "it started more than 64 processes"),
    "children": (EngineProcessError, "the engine's process died: SIGKILL"),
}


@pytest.mark.parametrize("where", ["create", "load", "predict"])
@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_dies_is_one_clear_error(con: Connection, how: str, where: str) -> None:
    cls, message = DEATHS[how]
    create(con, name="other")
    before = pid(con, "other")
    with pytest.raises(cls) as caught:
        create(con, how, where)
        con.execute("SELECT y FROM m WHERE a = 1").fetchall()
    assert type(caught.value) is cls and message in caught.value.message
    assert caught.value.message.startswith("[h/m] ") and (caught.value.hint or how == "fork_bomb")
    if where == "create":
        assert con.execute("SELECT status FROM information_schema.models WHERE name = 'm'").fetchall() == [("error",)]
    assert pid(con, "other") == before, "another model's worker goes on"
    create(con)
    assert pid(con) > 0


def test_a_fault_in_c_is_told_with_its_place(con: Connection) -> None:
    create(con, "segfault")
    with pytest.raises(EngineProcessError) as caught:
        pid(con)
    assert "in string_at; the next statement starts another one" in str(caught.value.hint)


@pytest.mark.parametrize("how", ["stdout", "stderr"])
def test_what_an_engine_writes_disturbs_nothing(con: Connection, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    create(con, how)
    assert con.execute("SELECT count(m.y) FROM t JOIN m").fetchall() == [(20,)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["hang", "hang_without_python"])
def test_a_stop_ends_the_call_and_the_worker(con: Connection, how: str) -> None:
    create(con, how)
    stopper = threading.Timer(0.5, con.interrupt)
    stopper.start()
    with pytest.raises(Cancelled):
        con.execute("SELECT y FROM m WHERE a = 1").fetchall()
    stopper.join()
    create(con)
    assert pid(con) > 0


def test_a_worker_stays_for_the_next_call_and_its_end_is_made_good(con: Connection) -> None:
    create(con)
    first = pid(con)
    assert pid(con) == first
    os.kill(first, signal.SIGKILL)
    eventually(lambda: gone(first), "a killed process is still there")
    assert pid(con) not in (first, os.getpid())


def test_what_is_loaded_is_shown_and_ends(con: Connection) -> None:
    create(con)
    create(con, name="n")
    of_m, of_n = pid(con), pid(con, "n")
    columns = "name, version, runs_in, pid, calls, memory > 1000000"
    assert con.execute(f"SELECT {columns} FROM information_schema.loaded_models ORDER BY name").fetchall() == [
        ("m", 1, "worker process", of_m, 1, True),
        ("n", 1, "worker process", of_n, 1, True),
    ]
    assert [row[:2] for row in con.execute("SHOW LOADED MODELS LIKE 'n'").fetchall()] == [("n", 1)]
    con.execute("RETRAIN m")
    assert [row[0] for row in con.execute("SHOW LOADED MODELS").fetchall()] == ["n"]
    con.execute("DROP MODEL n")
    assert con.execute("SHOW LOADED MODELS").fetchall() == []
    running = [process.pid for process in psutil.Process().children(recursive=True) if "worker.py" in str(process)]
    con.close()
    eventually(lambda: all(gone(one) for one in (of_m, of_n, *running)), "a worker outlives its database")


def test_a_model_in_this_process_is_shown_too(con: Connection) -> None:
    con.execute("CREATE MODEL s FROM (SELECT * FROM t) PREDICT y USING estimator = 'KNeighborsRegressor'")
    con.execute("SELECT y FROM s WHERE a = 3").fetchall()
    rows = con.execute("SELECT name, runs_in, pid FROM information_schema.loaded_models").fetchall()
    assert rows == [("s", "this process", os.getpid())]


def test_one_thread_loads_and_the_others_wait(con: Connection) -> None:
    create(con)
    found: list[int] = []

    def ask() -> None:
        with con.cursor() as own:
            found.append(int((own.execute("SELECT y FROM m WHERE a = 1").fetchone() or (0,))[0]))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1


def test_several_workers_for_one_model(con: Connection) -> None:
    con.execute("CREATE ML_ENGINE many FROM hostile USING isolated = true, workers = 3, idle_timeout = 3")
    con.execute("CREATE MODEL w FROM (SELECT * FROM t) PREDICT y USING engine = 'many', how = 'pause'")
    rows = "SELECT i AS a FROM range(200000) r(i)"
    found = con.execute(f"SELECT DISTINCT m.y FROM ({rows}) JOIN w AS m").fetchall()
    assert 1 < len(found) <= 3
    eventually(lambda: all(gone(int(one)) for (one,) in found), "a worker is not ended when it is idle")
    assert pid(con, "w") not in [one for (one,) in found]


def test_the_end_of_the_parent_is_the_end_of_its_workers(tmp_path: Path) -> None:
    script = f"""
        import sys, time
        sys.path.insert(0, {str(HERE)!r})
        from hostile import Hostile
        import mindsql
        con = mindsql.connect()
        con.register_engine("hostile", Hostile)
        con.execute("CREATE TABLE t AS SELECT i AS a, 2 * i AS y FROM range(20) r(i)")
        con.execute("CREATE ML_ENGINE h FROM hostile USING isolated = true")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'h', how = 'nothing'")
        print(con.execute("SELECT y FROM m WHERE a = 1").fetchone()[0], flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not gone(worker)
        parent.kill()
    eventually(lambda: gone(worker), "a worker outlives its parent")
    eventually(lambda: not list(tmp_path.glob("mindsql-worker-*")), "a worker's folder outlives its parent")


def test_a_registered_class_stays_in_this_process(con: Connection) -> None:
    con.execute("CREATE MODEL here FROM (SELECT * FROM t) PREDICT y USING engine = 'hostile', how = 'nothing'")
    assert pid(con, "here") == os.getpid()


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("isolated = false, workers = 2", "workers needs isolated = true"),
        ("memory_limit = 'much'", 'memory_limit = "much" is no size'),
        ("memory_limit = '1MB'", "is too little for a Python process"),
        ("workers = 0", 'the option "workers" must be at least 1'),
        ("python = '/nowhere/python'", "there is no Python at /nowhere/python"),
    ],
)
def test_wrong_options(con: Connection, using: str, message: str) -> None:
    with pytest.raises(MindSQLError) as caught:
        con.execute(f"CREATE ML_ENGINE wrong FROM hostile USING {using}")
    assert message in caught.value.message
    assert ("wrong",) not in con.execute("SELECT name FROM information_schema.ml_engines").fetchall()


def test_a_class_that_no_other_process_can_import_is_refused(con: Connection) -> None:
    class Inner(ToyEngine):
        pass

    con.register_engine("inner", Inner)
    with pytest.raises(EngineError) as caught:
        con.execute("CREATE ML_ENGINE i FROM inner USING isolated = true")
    assert "cannot be imported by another process" in caught.value.message


def test_the_engine_sees_its_own_options_only(con: Connection) -> None:
    con.execute("CREATE ML_ENGINE own FROM hostile USING isolated = true, idle_timeout = 5")
    query = "SELECT connection_data FROM information_schema.ml_engines WHERE name = 'own'"
    assert "isolated" in con.execute(query).fetchall()[0][0]
    with pytest.raises(StatementError):
        con.execute("CREATE ML_ENGINE own2 FROM hostile USING isolated = true, colour = 'red'")
