"""Owns the trainings that nobody waits for: each in a thread of its own, a few at work at a time, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from mindsql.errors import Cancelled, CatalogError, MindSQLError, UnknownNameError
from mindsql.execution import ExecutionContext
from mindsql.progress import ProgressEvent

Status: TypeAlias = Literal["generating", "training", "complete", "error"]
"""As in `models`: waiting or reading rows, at work in the engine, and the two ends."""

_KEPT = 1000
_STOP_SECONDS = 0.05
_WAITING = 100
_NOTING_SECONDS = 5.0


@dataclass(eq=False)
class Job:
    """One training in the background. Others read it while it is at work.

    Attributes:
        id: The version's id in the catalog.
        kind: The statement: `CREATE MODEL`, `RETRAIN` or `FINETUNE`.
        project, model, version: What is trained; CREATE OR REPLACE numbers its version anew when it is complete.
        phase: What is being done, in a word or two; None when all is done.
        done, total: How much of it is done, and there is to do, as far as the engine tells.
        error: Why its status is `error`.
        started: When its turn came.
        finished: When it ended, well or not.
        execution: What to stop; it tells the job how far it is.
    """

    id: str
    kind: str
    project: str
    model: str
    version: int
    status: Status = "generating"
    phase: str | None = None
    done: float | None = None
    total: float | None = None
    error: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    execution: ExecutionContext = field(default_factory=ExecutionContext, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _why: str = ""

    def __post_init__(self) -> None:
        self.execution.progress = self
        self.execution.pause = 0.0  # a phase that is not told would be missing until the next

    @property
    def progress(self) -> float | None:
        """The part of the phase that is done, from 0 to 1, if that is known."""
        return min(1.0, self.done / self.total) if self.total and self.done is not None else None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self._ended.is_set()

    def update(self, event: ProgressEvent) -> None:
        """See `Progress`."""
        self.phase, self.done, self.total = event.phase, event.done, event.total

    def finish(self) -> None:
        """See `Progress`: the last phase stays."""

    def stop(self, why: str) -> None:
        """Ask it to end. It does so soon after, with the status `error`."""
        first, self._why = not self._why, self._why or why
        self.execution.stop()
        if first:
            threading.Thread(target=self._insist, name="mindsql-stop", daemon=True).start()

    def _insist(self) -> None:
        """Between two queries nothing can be interrupted, so it is said until it is heard."""
        while not self._ended.wait(_STOP_SECONDS):
            self.execution.stop()

    def reason(self, error: BaseException) -> str:
        """The text to keep of what ended it."""
        if isinstance(error, Cancelled):
            return self._why or error.message
        if isinstance(error, MindSQLError):
            return error.message + (f" ({error.hint})" if error.hint else "")
        return f"a bug in MindSQL: {type(error).__name__}: {error}"


class Jobs:
    """The background trainings of one database.

    Attributes:
        limit: How many may be at work at once; the others wait their turn.
    """

    def __init__(self, limit: int = 1) -> None:
        self.limit = limit
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._working = 0
        self._closed = False
        self._turn = threading.Condition()

    def start(self, job: Job, call: Callable[[Job], None]) -> None:
        """Have a job done when its turn comes.

        Args:
            job: The job.
            call: Does it. Also called when the job was stopped before its turn: it must then note that, and raise.

        Raises:
            CatalogError: The database is being closed, or too many jobs wait.
        """
        with self._turn:
            if self._closed:
                raise CatalogError("the database is being closed")
            if len(self._waiting) >= _WAITING:
                raise CatalogError(
                    f"{_WAITING} trainings are waiting for their turn", hint="try again when some have ended"
                )
            ended = [key for key, other in self._jobs.items() if other.ended]
            for key in ended[: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[key]
            self._jobs[job.id] = job
            self._waiting.append(job)
        # A daemon: an engine that cannot be stopped must not hold up the exit.
        threading.Thread(target=self._run, args=(job, call), name="mindsql-training", daemon=True).start()

    def _run(self, job: Job, call: Callable[[Job], None]) -> None:
        with self._turn:
            self._turn.wait_for(
                lambda: job.execution.stopped or (self._working < self.limit and self._waiting[0] is job)
            )
            self._waiting.remove(job)
            self._working += 1
            self._turn.notify_all()
        job.started = datetime.now()
        try:
            call(job)
            job.phase, job.done, job.total = None, 1.0, 1.0
            job.status = "complete"
        except BaseException as error:  # there is nobody to raise it to: it is kept for who asks
            job.error = job.reason(error)
            job.status = "error"
            if not isinstance(error, MindSQLError):
                import logging

                logging.getLogger("mindsql").exception("%s %s failed", job.kind, job.model)
        finally:
            job.finished = datetime.now()
            with self._turn:
                self._working -= 1
                job._ended.set()
                self._turn.notify_all()

    def get(self, id: str) -> Job:
        """The job of that id. Raises UnknownNameError; a finished job is forgotten when many came after it."""
        job = self._jobs.get(id)
        if job is None:
            raise UnknownNameError(f'there is no job "{id}"')
        return job

    def list(self) -> list[Job]:
        """All jobs, the oldest first."""
        with self._turn:
            return [*self._jobs.values()]

    def unfinished(self) -> dict[str, Job]:
        """The jobs that have not ended, by id."""
        with self._turn:
            return {key: job for key, job in self._jobs.items() if not job.ended}

    def cancel(self, id: str, why: str = "the training was stopped") -> Job:
        """Stop a job, waiting or at work; its version gets the status `error`. Raises UnknownNameError."""
        job = self.get(id)
        job.stop(why)
        with self._turn:
            self._turn.notify_all()
        return job

    def wait(self, id: str, seconds: float | None = None) -> Job:
        """Wait until a job has ended, at most so long. Returns it, ended or not. Raises UnknownNameError."""
        job = self.get(id)
        job._ended.wait(seconds)
        return job

    def close(self, grace: float = 0.0) -> None:
        """Take no more jobs, give those at work some seconds to finish, then stop all, and wait until that is noted."""
        with self._turn:
            self._closed = True
            waiting = [*self._waiting]
        why = "the training was interrupted: the database was closed"
        for job in waiting:
            self.cancel(job.id, why)
        end = time.monotonic() + grace
        for job in self.unfinished().values():
            job._ended.wait(max(0.0, end - time.monotonic()))
        for job in self.unfinished().values():
            self.cancel(job.id, why)
        end = time.monotonic() + _NOTING_SECONDS
        for job in self.unfinished().values():
            job._ended.wait(max(0.0, end - time.monotonic()))
