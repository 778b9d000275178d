"""Owns the worker processes as their parent sees them: how one is started, asked and ended, and which ones wait."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindsql.engine import context, row_number
from mindsql.errors import Cancelled, EngineError, EngineMissingError, EngineProcessError
from mindsql.isolation import channel
from mindsql.isolation.channel import Message

_POLL_SECONDS = 0.05
_CHECK_SECONDS = 1.0
_MOST_PROCESSES = 64
"""Processes that one worker may have started: more is a mistake that would take the machine along."""
_KEPT_BYTES = 1 << 14
_START_SECONDS = 600.0
"""A large library may take minutes to import on a busy machine."""
_FAULT = re.compile(r'Fatal Python error: .*?File "([^"]*)", line (\d+) in (\S+)', re.S)
"""What Python itself writes of a fault in C code: the innermost place of its own."""
_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is.

    Attributes:
        module, name: Where its engine class is.
        folder: Where the module is, if the class is the one that it has, whatever its name.
        packages: Top-level package → its folder: what the worker imports from the parent's.
        python: The interpreter.
        path: Further folders to import from: those of the parent, when the interpreter is the parent's, too.
        memory_limit: Bytes of data that it may take, 0 for any.
        idle_timeout: Seconds without a call after which it is ended.
        variables: The names of further environment variables that it is given.
    """

    module: str
    name: str
    packages: Mapping[str, str]
    python: str = sys.executable
    path: tuple[str, ...] = ()
    memory_limit: int = 0
    idle_timeout: float = 900.0
    folder: str = ""
    variables: tuple[str, ...] = ()


class Worker:
    """A process with one engine in it.

    Attributes:
        pid: Its process id.
        used: `time.monotonic()` at the end of its last call.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        """Start it. Raises EngineError when it cannot be started, EngineMissingError when its library is missing."""
        import socket
        from multiprocessing.connection import Connection

        if os.name != "posix":
            raise EngineError(
                "an engine in a process of its own needs Linux or macOS", hint="USING isolated = false"
            )
        self.spec = spec
        self.used = time.monotonic()
        self._folder = tempfile.mkdtemp(prefix="mindsql-worker-")
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        handed = {name: os.environ[name] for name in (*_HANDED_ON, *spec.variables) if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [
                    spec.python,
                    *("-I", "-X", "faulthandler", str(Path(__file__).with_name("worker.py"))),
                    *(str(theirs.fileno()), str(read), self._folder),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**handed, "TMPDIR": self._folder},
                cwd=self._folder,
                pass_fds=(theirs.fileno(), read),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(write)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(f"the engine's process cannot be started: {spec.python}: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(read)
        self.pid = self._process.pid
        self._connection = Connection(ours.detach())
        self._stderr = bytearray()
        # The thread knows nothing of this object, whose end it would hold up.
        self._reader = threading.Thread(
            target=_drain, args=(self._process.stderr, self._stderr), name="mindsql-worker-stderr", daemon=True
        )
        self._reader.start()
        # The end of this object ends the process, however it comes about.
        self._end = weakref.finalize(self, _end, self._process, self._connection, write, self._folder)
        start = {
            "module": spec.module,
            "class": spec.name,
            "folder": spec.folder,
            "packages": dict(spec.packages),
            "path": list(spec.path),
            "memory_limit": spec.memory_limit,
        }
        try:
            self._connection.send_bytes(json.dumps(start).encode())
            self._answer(_START_SECONDS)
        except ImportError as error:
            self.end()
            raise EngineMissingError(
                f"the engine cannot be imported in its process: {error}",
                hint=f"pip install {error.name}" if error.name else None,
            ) from error
        except (EOFError, OSError) as error:
            raise self._death() from error
        except BaseException:
            self.end()
            raise

    @property
    def alive(self) -> bool:
        """Whether it may still be asked."""
        return self._end.alive and self._process.poll() is None

    def call(
        self,
        name: str,
        head: Mapping[str, Any],
        bodies: Sequence[Any] = (),
        training: Callable[[float, float, str], None] | None = None,
    ) -> Message:
        """Ask it, and wait for the answer; the statement that this thread works for may end the wait, and the worker.

        Args:
            name: Which call.
            head, bodies: What is sent.
            training: Is told how far a training is.

        Raises:
            EngineError: It died; the next call needs another worker.
            Cancelled: The statement was stopped; likewise.
            Exception: What the engine raised.
        """
        statement = context()
        statement.polls = True
        asked = {
            **head,
            "call": name,
            "allowed_hosts": statement.network.allowed_hosts,
            "private_hosts": statement.network.private,
        }
        try:
            channel.send(self._connection, asked, bodies)
            message = self._answer(None, training)
        except (EOFError, OSError) as error:
            raise self._death() from error
        for what, count in (message.head.pop("counts", None) or {}).items():
            statement.counts[what] = statement.counts.get(what, 0) + count
        self.used = time.monotonic()
        return message

    def _answer(
        self, limit: float | None, training: Callable[[float, float, str], None] | None = None
    ) -> Message:
        """The answer to a call. Raises what the worker raised, EOFError when it is gone."""
        statement = context()
        start = checked = time.monotonic()
        while True:
            # Whatever ends the wait ends the worker: its answer would be taken for that of the next call.
            try:
                there = self._connection.poll(_POLL_SECONDS)
                if statement.stopped():
                    raise Cancelled("the statement was stopped")
                now = time.monotonic()
                if limit is not None and now - start > limit:
                    raise EngineProcessError(f"the engine's process was not ready within {limit:.0f} seconds")
                if now - checked > _CHECK_SECONDS:
                    checked = now
                    self._check_size()
                if not there:
                    if self._process.poll() is not None:
                        raise EOFError  # what it started may hold the connection open
                    continue
                message = channel.receive(self._connection)
                head = message.head
                if "row" in head:
                    channel.send(self._connection, {"answer": row_number(head["row"]) - 1})
                    continue
                if "done" in head:
                    statement.tell(head["done"], head["text"])
                    continue
                if "training" in head:
                    if training is not None:
                        training(*head["training"])
                    continue
            except (EOFError, OSError):
                raise
            except BaseException:
                self.end()
                raise
            if head.get("error") == "MemoryError" and self.spec.memory_limit:
                raise EngineProcessError(
                    f"the engine wanted more than its memory_limit of {self.spec.memory_limit >> 20} MB",
                    hint=f"CREATE ML_ENGINE … USING memory_limit = … sets it; it was at {head['place']}",
                )
            if "error" in head:
                raise channel.error_from_head(head)
            return message

    def _check_size(self) -> None:
        """Raise when it and what it started have become too many, or too large."""
        import psutil

        try:
            started = psutil.Process(self.pid).children(recursive=True)
            if len(started) > _MOST_PROCESSES:
                raise EngineProcessError(
                    f"the engine's process was ended: it started more than {_MOST_PROCESSES} processes"
                )
            limit = self.spec.memory_limit
            # Of what it started only its own memory: much of a fork's is the parent's.
            if limit and self.memory() + sum(process.memory_full_info().uss for process in started) > limit:
                raise EngineProcessError(
                    f"the engine's process was ended: it took more than its memory_limit of {limit >> 20} MB"
                )
        except psutil.Error:
            return  # it has ended by itself, which the connection will tell

    def memory(self) -> int:
        """Bytes of memory that it takes now."""
        return _memory(self.pid)

    def _death(self) -> EngineProcessError:
        """The worker is gone: why."""
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            code = 0
        self._reader.join(1.0)
        self.end()
        if code < 0:
            reason = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        else:
            reason = f"it ended with the status {code}"
        text = self._stderr.decode(errors="replace")
        said = [line for line in text.splitlines() if line.strip()]
        place = _FAULT.search(text)
        hint = "the next statement starts another one"
        if reason == "SIGKILL":
            hint = f"somebody killed it, or the system had no memory left; {hint}"
        return EngineProcessError(
            f"the engine's process died: {reason}",
            hint=f"in {Path(place[1]).name}:{place[2]} in {place[3]}; {hint}"
            if place is not None
            else f"{hint}; the last it wrote: {said[-1][:200]}"
            if said
            else hint,
        )

    def end(self) -> None:
        """End it now, with all that it started."""
        self._end()


def _drain(stream: Any, kept: bytearray) -> None:
    """Read what a process writes, as much as it likes; the end of it is kept."""
    with stream:
        while block := stream.read1(4096):
            kept += block
            del kept[:-_KEPT_BYTES]


def _memory(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen[bytes], connection: Any, lifeline: int, folder: str) -> None:
    with suppress(OSError):  # it may be gone already
        os.killpg(process.pid, signal.SIGKILL)
    os.close(lifeline)
    connection.close()
    with suppress(subprocess.TimeoutExpired):  # it may be in a system call that cannot be ended
        process.wait(5.0)
    shutil.rmtree(folder, ignore_errors=True)


class WorkerPool:
    """The workers of one engine: those that have no model now wait for the next one, since a library may take long to
    import."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._idle: list[Worker] = []
        self._lock = threading.RLock()  # the end of an object may come in the middle of anything
        self._closed = False
        self._watch: list[weakref.ref[Any]] = []
        self._reaper: threading.Thread | None = None

    def take(self) -> Worker:
        """A worker without a model: one that waits, or a new one. Raises EngineError."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
            if self._closed:
                raise EngineError("the database is closed")
        return Worker(self.spec)

    def give_back(self, worker: Worker) -> None:
        """A worker has no model any more."""
        with self._lock:
            if worker.alive and not self._closed and not self._idle:
                self._idle.append(worker)
                self._start_reaper()
                return
        worker.end()

    def watch(self, holder: Any) -> None:
        """Have a holder of workers asked now and then to end those that are idle: `end_idle(seconds)`, which says
        whether it has others left."""
        with self._lock:
            self._watch = [ref for ref in self._watch if ref() is not None and ref() is not holder]
            self._watch.append(weakref.ref(holder))
            self._start_reaper()

    def _start_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=_reap, args=(weakref.ref(self),), daemon=True)
            self._reaper.start()

    def reap(self) -> bool:
        """End what has been idle for long; whether there is anything left to look after."""
        limit = self.spec.idle_timeout
        with self._lock:
            old = [worker for worker in self._idle if time.monotonic() - worker.used > limit]
            self._idle = [worker for worker in self._idle if worker not in old]
            self._watch = [ref for ref in self._watch if ref() is not None]
            holders = [found for ref in self._watch if (found := ref()) is not None]
        for worker in old:
            worker.end()
        busy = [holder for holder in holders if holder.end_idle(limit)]
        with self._lock:
            if self._idle or busy:
                return True
            self._reaper = None
            return False

    def close(self) -> None:
        """End all workers, those with a model, too."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            holders = [found for ref in self._watch if (found := ref()) is not None]
        for worker in idle:
            worker.end()
        for holder in holders:
            holder.end_idle(-1.0)


def _reap(pool: weakref.ref[WorkerPool]) -> None:
    while True:
        found = pool()
        if found is None or not found.reap():
            return
        pause = min(5.0, max(0.2, found.spec.idle_timeout / 4))
        del found
        time.sleep(pause)
