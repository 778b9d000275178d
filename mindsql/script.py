"""Owns the running of a text of statements: answers to stdout, all else to stderr, Ctrl-C stops a statement.

One statement runs in a thread of its own, because the main thread must be free to take Ctrl-C: while DuckDB
executes a query, Python code in the same thread cannot run, so no signal would arrive.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from mindsql import formats
from mindsql.errors import Cancelled, InternalError, MindSQLError, render
from mindsql.progress import ProgressBar

if TYPE_CHECKING:
    from mindsql.connection import Connection
    from mindsql.result import Result
T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after Ctrl-C until the user is told that the statement has not stopped yet."""


class Interruptible(Protocol):
    """What can be told to stop."""

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""


class Abandoned(Cancelled):
    """The statement did not stop and was left running; its connection is lost."""


def interruptible(connection: Interruptible, execution: Callable[[threading.Event], T]) -> T:
    """Do `execution` in a thread, and stop it on Ctrl-C; a second Ctrl-C leaves it behind.

    While it works, SIGINT is a message and not an exception, which could come at any point of this very code.

    Args:
        connection: What to interrupt.
        work: Gets an event that is set once it should stop.

    Raises:
        Cancelled: The work was stopped.
        Abandoned: It did not stop, and runs on.
    """
    messages: SimpleQueue[str] = SimpleQueue()  # its `put` may be called from a signal handler
    stop = threading.Event()
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(execution(stop))
        except BaseException as error:  # it belongs to the waiting thread, which raises it
            errors.append(error)
        finally:
            messages.put("done")

    with _sigint(lambda: messages.put("stop")):
        threading.Thread(target=run, name="mindsql-statement", daemon=True).start()
        if messages.get() == "stop":
            stop.set()
            _await_stop(connection, messages)
    if stop.is_set() and not (errors and isinstance(errors[0], Cancelled)):
        if errors:
            raise Cancelled("the statement was stopped") from errors[0]
        raise Cancelled("the statement had just finished when it was stopped")
    if errors:
        raise errors[0]
    return answers[0]


@contextmanager
def _sigint(act: Callable[[], None]) -> Iterator[None]:
    """Have SIGINT call `act` for a while; outside the main thread, where no signals arrive, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _await_stop(connection: Interruptible, messages: SimpleQueue[str]) -> None:
    """Interrupt until the work is done: more than once, as between two queries nothing can be interrupted."""
    started, told = time.monotonic(), False
    while True:
        connection.interrupt()
        try:
            message = messages.get(timeout=0.1)
        except Empty:
            if not told and time.monotonic() - started > PATIENCE:
                notice("stopping; Ctrl-C again leaves the statement running and its connection behind")
                told = True
            continue
        if message == "done":
            return
        raise Abandoned("the statement did not stop and was left running")


def notice(text: str) -> None:
    """Tell the user something that is neither data nor an error."""
    print(text, file=sys.stderr, flush=True)


def diagnose(error: BaseException, name: str | None = None, text: str | None = None, start: int = 0) -> int:
    """Write an error to stderr and give the exit status that it stands for; nothing else writes errors.

    Args:
        error: What went wrong.
        name: The file that the statement is from; it makes the error begin with `file:line:column:`.
        text: The whole text that the statement is a part of.
        start: Where in `text` the statement begins.
    """
    found = error if isinstance(error, MindSQLError) else _unexpected(error)
    span, where = found.span, ""
    # A span can also point into another text, such as the query of a view.
    inside = text is not None and (found.text is None or text.startswith(found.text, start))
    if span is not None and inside:
        span = (span[0] + start, span[1] + start)
    if text is not None and name is not None:
        at = span[0] if span is not None and inside else start
        where = f"{name}:{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}: "
    message = f"{where}error [{found.code}]: {found.message}"
    notice(render(MindSQLError(message, hint=found.hint, span=span, text=text if inside else found.text)))
    if os.environ.get("MINDSQL_TRACEBACK"):
        import traceback

        notice("".join(traceback.format_exception(error)).rstrip())
    return found.exit_status


def _unexpected(error: BaseException) -> MindSQLError:
    if isinstance(error, OSError):
        return MindSQLError(str(error))
    hint = "this is a bug in MindSQL; MINDSQL_TRACEBACK=1 shows where it is"
    return InternalError(f"{type(error).__name__}: {error}", hint=hint)


def statements(text: str) -> list[tuple[str, int]]:
    """The statements of a text without their `;`, each with the offset that it starts at."""
    bare = text.strip().removesuffix(";").rstrip()
    if bare and not any(mark in bare for mark in (";", "--", "/*")):
        # One statement, as one sees without the grammar, whose import costs more than many a statement.
        return [(bare, text.index(bare))]
    from mindsql_grammar.splitter import split

    return [(piece.text, piece.start) for piece in split(text)]


@dataclass
class ScriptOptions:
    """How statements are run and shown."""

    format: str
    bail: bool = False
    echo: bool = False
    timer: bool = False
    chatty: bool = False
    """Say what statements without rows did, as a REPL does."""


class Runner:
    """Runs statements on a connection.

    Args:
        connection: Where they run; each statement gives it a progress bar of its own.
        settings: How; may be changed between statements.
        out: Where rows go.
        log: Takes what is neither rows nor errors: the echo, what a statement did, times.
    """

    def __init__(
        self,
        connection: Connection,
        settings: ScriptOptions,
        *,
        out: TextIO | None = None,
        log: Callable[[str], None] = notice,
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.out = out if out is not None else sys.stdout
        self.log = log

    def run(self, text: str, name: str | None = None) -> int:
        """Run all statements of a text.

        Args:
            text: Statements, divided by `;`.
            name: The file it is from.

        Returns:
            The exit status: 0, or that of the first statement that failed.
        """
        first = 0
        for sql, start in statements(text):
            status = self.run_one(sql, name, text, start)
            first = first or status
            if status and (self.settings.bail or status == Cancelled.exit_status):
                break
        return first

    def run_one(self, sql: str, name: str | None = None, text: str | None = None, start: int = 0) -> int:
        """Run one statement and show its answer; errors are shown, and become the exit status."""
        if self.settings.echo:
            self.log(sql + ";")
        begun = time.monotonic()
        bar = self.connection.progress = ProgressBar()
        try:
            interruptible(self.connection, lambda stop: self._answer(sql, stop, bar))
        except (BrokenPipeError, Abandoned):
            raise
        except Exception as error:  # the door is the last place where an error can be shown to the user
            bar.close()
            if isinstance(error, Cancelled) and sys.stderr.isatty():
                notice("")  # the terminal has written ^C
            return diagnose(error, name, text if text is not None else sql, start)
        finally:
            bar.close()
        if self.settings.timer:
            self.log(f"time: {time.monotonic() - begun:.3f} s")
        return 0

    def _answer(self, sql: str, stop: threading.Event, bar: ProgressBar) -> None:
        result = self.connection.execute(sql)
        try:
            self._show(result, stop, bar)
            for note in result.notes:
                self.log(f"note: {note}")
        finally:
            result.close()

    def _show(self, result: Result, stop: threading.Event, bar: ProgressBar) -> None:
        if result.kind != "rows":
            bar.mute()
            if self.settings.chatty:
                self.log(outcome(result))
            return
        watched = _Watched(result, stop)
        if not self.out.isatty():
            formats.write_for(watched, self.out, self.settings.format)
        elif self.settings.format in ("table", "box"):
            # Nothing is written before all is counted: the progress bar has the terminal until then.
            page = _Page()
            formats.write_for(watched, page, self.settings.format)
            bar.mute()
            self.out.write(page.getvalue())
        else:
            bar.mute()
            formats.write_for(watched, self.out, self.settings.format)
        self.out.flush()


def outcome(result: Result) -> str:
    """What a statement without rows did, in a few words."""
    message = getattr(result, "message", None)
    if message:
        return str(message)
    if result.kind == "count":
        return f"{result.rowcount:,} row{'' if result.rowcount == 1 else 's'}"
    return "done"


class _Page(io.StringIO):
    """A text to be shown on a terminal as a whole."""

    def isatty(self) -> bool:
        return True


class _Watched:
    """A result whose rows stop coming once the user wants to stop."""

    def __init__(self, result: Result, stop: threading.Event) -> None:
        self._result = result
        self._stop = stop
        self.columns: list[str] = result.columns
        self.types: list[str] = result.types

    def fetchmany(self, size: int = formats.CHUNK) -> list[Any]:
        self._check()
        rows: list[Any] = self._result.fetchmany(size)
        return rows

    def reader(self) -> Any:
        for batch in self._result.reader():
            self._check()
            yield batch

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled("the statement was stopped")


def default_format(*, tables: bool = False) -> str:
    """The format when none is asked for: box on a terminal (or if `tables`), csv for programs."""
    if not tables and not sys.stdout.isatty():
        return "csv"
    return "box" if (sys.stdout.encoding or "").lower().startswith("utf") else "table"


@contextmanager
def opened(
    path: str | None, *, read_only: bool = False, executor: str | None = None
) -> Iterator[Connection]:
    """A connection to a file, or to a database in memory, closed at the end."""
    import mindsql

    connection = mindsql.connect(path if path is not None else ":memory:", read_only=read_only, executor=executor)
    try:
        yield connection
    except Abandoned:
        # Closing would wait for the statement that was left running.
        raise
    except BaseException:
        connection.close()
        raise
    connection.close()
