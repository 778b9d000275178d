"""Running statements: Ctrl-C as a message, and where an error is said to be."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from mindsql.errors import Cancelled, EngineError, StatementError
from mindsql.script import Abandoned, diagnose, interruptible, statements


class Deaf:
    """Does not stop when it is told to; the user presses Ctrl-C again."""

    def interrupt(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class Obedient:
    def __init__(self) -> None:
        self.told = threading.Event()

    def interrupt(self) -> None:
        self.told.set()


def test_answers_and_errors_come_out_of_the_thread() -> None:
    assert interruptible(Obedient(), lambda stop: 42) == 42
    with pytest.raises(EngineError, match="broken"):
        interruptible(Obedient(), lambda stop: (_ for _ in ()).throw(EngineError("broken")))


def test_ctrl_c_interrupts_and_waits() -> None:
    connection = Obedient()
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests were started in the background

    def execution(stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert connection.told.wait(30) and stop.is_set()
        raise Cancelled("stopped by the connection")

    with pytest.raises(Cancelled, match="stopped by the connection"):
        interruptible(connection, execution)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_leaves_the_statement_behind() -> None:
    release = threading.Event()

    def execution(stop: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(30)

    with pytest.raises(Abandoned):
        interruptible(Deaf(), execution)
    release.set()


def test_statements_are_found_with_their_places() -> None:
    assert statements("  SELECT 1 ; \n") == [("SELECT 1", 2)]
    assert statements("SELECT ';';\nSELECT 2") == [("SELECT ';'", 0), ("SELECT 2", 12)]
    assert statements("-- nothing") == statements("") == []


SCRIPT = "SELECT 1;\n  SELECT x FROM\n  y;"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            StatementError("no y", hint="try z", span=(16, 17), text="SELECT x FROM\n  y"),
            "f.sql:3:3: error [STATEMENT]: no y\n"
            "line 3, column 3:   y;\n                    ^\nhint: try z\n",
        ),
        (EngineError("no place"), "f.sql:2:3: error [ENGINE]: no place\n"),
        (
            StatementError("in a view", span=(7, 8), text="SELECT z"),
            "f.sql:2:3: error [STATEMENT]: in a view\n"
            "line 1, column 8: SELECT z\n                         ^\n",
        ),
        (
            KeyError("k"),
            "f.sql:2:3: error [INTERNAL]: KeyError: 'k'\n"
            "hint: this is a bug in MindSQL; MINDSQL_TRACEBACK=1 shows where it is\n",
        ),
    ],
)
def test_where_an_error_is_said_to_be(
    error: Exception, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINDSQL_TRACEBACK", raising=False)
    diagnose(error, "f.sql", SCRIPT, 12)
    assert capsys.readouterr().err == shown
