"""Owns the life of one running statement: what it opened, whether it was stopped, how far it is."""

from __future__ import annotations

import atexit
import ctypes
import importlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mindsql.database import DuckDBConnection
from mindsql.duckdb_errors import FAILED, ignored, translate_any
from mindsql.engine import Context, Network
from mindsql.errors import Cancelled, MindSQLError
from mindsql.progress import NullProgress, Progress, ProgressEvent

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pyarrow as pa

T = TypeVar("T")

_POLL_SECONDS = 0.05
_PROGRESS_SECONDS = 0.1


@dataclass
class ExecutionContext:
    """One running statement.

    Attributes:
        progress: Who is told how far it is.
        raws: The DuckDB connections at work for it, to interrupt.
        stopped: Whether the user wants it to end.
        network: Where engines may connect to for it.
        arrow: Whether the rows will be read as Arrow batches, and so need not pass through DuckDB's cursor.
        pause: The least seconds between two reports of progress.
        interrupt: Ends what runs for it elsewhere, as in a source of rows.
    """

    progress: Progress = field(default_factory=NullProgress)
    raws: list[DuckDBConnection] = field(default_factory=list)
    stopped: bool = False
    network: Network = field(default_factory=Network)
    arrow: bool = False
    pause: float = _PROGRESS_SECONDS
    interrupt: Callable[[], None] = lambda: None
    _closers: list[Callable[[], None]] = field(default_factory=list)
    _threads: set[int] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _contexts: list[Context] = field(default_factory=list)
    _told: float = 0.0

    def stop(self) -> None:
        """End it from another thread: DuckDB is interrupted, engine calls are abandoned."""
        again, self.stopped = self.stopped, True
        for raw in list(self.raws):
            with ignored():  # it may be closed by now
                raw.interrupt()
        self.interrupt()
        polling = set[int]().union(*(context.threads for context in self._contexts if context.polls))
        with self._guard:
            for thread in set[int]() if again else self._threads - polling:
                # Python code of an engine ends at its next step; code that never returns to Python is left behind.
                _raise_in(thread, Cancelled)

    def context(self, tell: Callable[[int, str], None] = lambda done, text: None) -> Context:
        """What its engines may know of it."""
        made = Context(self.network, tell=tell, stopped=lambda: self.stopped)
        self._contexts.append(made)
        return made

    def check(self) -> None:
        """Raise Cancelled if it was stopped."""
        if self.stopped:
            raise Cancelled("the statement was stopped")

    def on_close(self, closer: Callable[[], None]) -> None:
        """Have something done when the statement's answer is closed, the last first."""
        self._closers.append(closer)

    def batches(
        self, reader: pa.RecordBatchReader, failed: Callable[[BaseException], BaseException] = translate_any
    ) -> Iterator[pa.RecordBatch]:
        """The batches of a query's reader, which is let go of when it is read or the statement is closed.

        An open reader keeps its DuckDB connection busy, so nobody else may keep it: an error's traceback would, for as
        long as Python likes.

        Args:
            reader: As DuckDB gives it.
            failed: What to raise for what it raises.
        """
        held = [reader]
        self.on_close(held.clear)

        def read() -> Iterator[pa.RecordBatch]:
            while held:
                self.check()
                try:
                    batch = held[0].read_next_batch()
                except StopIteration:
                    held.clear()
                    return
                except FAILED as error:
                    cause = failed(error)
                    if cause is error:
                        raise
                    raise cause from error
                yield batch

        return read()

    def close(self) -> None:
        """Release what the statement opened."""
        while self._closers:
            with ignored():
                self._closers.pop()()
        self.raws.clear()
        self.progress.finish()

    def report(self, phase: str, done: float, total: float | None, unit: str, started: float) -> None:
        """Report progress, unless the last report is too fresh."""
        now = time.monotonic()
        if not self.stopped and now - self._told >= self.pause:
            self._told = now
            self.progress.update(ProgressEvent(phase, done, total, unit, started))

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run an engine's code in a thread of its own, so that it can be abandoned."""

        def run() -> T:
            me = threading.get_ident()
            self._threads.add(me)
            try:
                self.check()
                return call()
            finally:
                with self._guard:
                    self._threads.discard(me)
                    # A stop that came too late must not hit the next call of this thread. Without a stop there is
                    # nothing to take back, and CPython 3.11 would hang in a profiler after it.
                    if self.stopped:
                        _raise_in(me, None)

        return _POOL.submit(run)

    def wait(self, future: Future[T]) -> T:
        """The result of `submit`. Raises Cancelled as soon as the statement is stopped."""
        while True:
            try:
                return future.result(_POLL_SECONDS)
            except TimeoutError:
                if future.done():
                    raise
                self.check()
            except KeyboardInterrupt:
                self.stop()
                raise
            except Exception:  # whatever it is: what fails in a call that was stopped is the stop
                self.check()
                raise


def shielded(call: Callable[[], None]) -> None:
    """Tidy up in a thread of its own, where no Ctrl-C arrives, and wait for it. What fails is left: a transaction that
    an error has ended forgets its changes by itself."""

    def run() -> None:
        with ignored(), suppress(MindSQLError):
            call()

    future = _POOL.submit(run)
    pressed = False
    while True:
        try:
            future.result()
            break
        except KeyboardInterrupt:  # pressed again: what is to be tidied up still is
            pressed = True
    if pressed:
        raise KeyboardInterrupt


def apart(call: Callable[[], T]) -> T:
    """Run what a Ctrl-C must not tear in a thread of its own, as an import: half a library is of no use to anybody."""
    future = _POOL.submit(call)
    while True:  # a wait without a limit would not hear of a Ctrl-C everywhere
        with suppress(TimeoutError):
            return future.result(_POLL_SECONDS)
        if future.done():
            return future.result()


def import_apart(*modules: str) -> None:
    """Import modules, the last of which needs the others, where no Ctrl-C arrives: half a library stays broken for as
    long as the process lives."""
    if modules[-1] not in sys.modules:
        apart(lambda: [importlib.import_module(name) for name in modules])


def _imports(thread: int) -> bool:
    """Whether a thread is in the middle of an import."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have a thread raise at its next step of Python; None takes back what it has not raised yet."""
    if error is not None and _imports(thread):
        return  # it would leave half a library behind; nobody waits for the call any more
    wanted = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), wanted)


class _Pool:
    """Daemon threads that take calls. Unlike concurrent.futures' own, an abandoned call does not hold up the exit."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle: set[threading.Thread] = set()
        self._promised = 0

    def submit(self, call: Callable[[], T]) -> Future[T]:
        from concurrent.futures import Future

        future: Future[T] = Future()
        with self._lock:
            if len(self._idle) > self._promised:
                self._promised += 1
            else:
                threading.Thread(target=self._run, name="mindsql-engine", daemon=True).start()
        self._calls.put((future, call))
        return future

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            taken = self._calls.get()
            with self._lock:
                if me in self._idle:
                    self._idle.discard(me)
                    self._promised -= 1
            if taken is None:
                return
            future, call = taken
            try:
                future.set_result(call())
            except BaseException as error:  # whatever it is, it belongs to the one who waits
                future.set_exception(error)
            del taken, future, call
            with self._lock:
                self._idle.add(me)

    def close(self) -> None:
        """End the idle threads: at exit, a thread that still holds our modules makes DuckDB report leaks."""
        with self._lock:
            idle = list(self._idle)
            self._promised += len(idle)
        for _ in idle:
            self._calls.put(None)
        for thread in idle:
            thread.join(1.0)


_POOL = _Pool()
atexit.register(_POOL.close)
