"""Owns what a long statement tells about how far it is: the event, the listener, the bar on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SHOW_AFTER = 0.5
"""Seconds a statement must have been at work before the bar appears."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """How far one phase of a statement is.

    Args:
        phase: What is being done, in a word or two: `fitting`, `predicting`.
        done: How much of it is done, in `unit`.
        total: How much there is to do, if that is known.
        unit: What is counted: `rows`, `steps`, `folds`.
        started: `time.monotonic()` when the phase began.
    """

    phase: str
    done: float
    total: float | None = None
    unit: str = "rows"
    started: float = field(default_factory=time.monotonic)


class Progress(Protocol):
    """A listener. Both methods may be called from any thread, and must return at once."""

    def update(self, event: ProgressEvent) -> None:
        """Called now and then (at most some ten times a second) while a statement works."""

    def finish(self) -> None:
        """Called at the end of the statement, whether it went well or not; may come twice."""


class NullProgress:
    """Listens to nothing."""

    def update(self, event: ProgressEvent) -> None:
        """Does nothing."""

    def finish(self) -> None:
        """Does nothing."""


class ProgressBar:
    """A bar with count and rate, on a terminal only; it vanishes when the statement ends.

    It appears once the statement has been at work for `SHOW_AFTER` seconds, even if the engine is mute.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._latest: ProgressEvent | None = None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._muted = False
        self._closed = False

    def update(self, event: ProgressEvent) -> None:
        """Show the event, now or when it is time to."""
        if not self._target().isatty():
            return
        with self._lock:
            if self._muted or self._closed:
                return
            self._latest = event
            if self._bar is not None:
                self._draw(event)
            elif time.monotonic() - event.started >= SHOW_AFTER:
                self._show()
            elif self._timer is None:
                self._timer = threading.Timer(SHOW_AFTER, self._due)
                self._timer.daemon = True
                self._timer.start()

    def finish(self) -> None:
        """Take the bar away; the next statement starts afresh."""
        with self._lock:
            self._clear()
            self._muted = False

    def close(self) -> None:
        """Take the bar away for good: whoever still works, left behind by Ctrl-C, draws nothing any more."""
        with self._lock:
            self._clear()
            self._closed = True

    def mute(self) -> None:
        """Take the bar away until `finish`: rows are about to be written to the same terminal."""
        with self._lock:
            self._clear()
            self._muted = True

    def _target(self) -> TextIO:
        return self._stream if self._stream is not None else sys.stderr

    def _due(self) -> None:
        with self._lock:
            # `finish` may have come between the timer's firing and the lock.
            if self._timer is not None and self._bar is None:
                self._show()

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._task = None
        self._latest = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        if self._latest is None:
            return
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=Console(file=self._target()),
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._task = None
        self._bar.start()
        self._draw(self._latest)

    def _draw(self, event: ProgressEvent) -> None:
        assert self._bar is not None
        if self._task is None:
            self._task = self._bar.add_task(event.phase, total=event.total, count=describe(event))
        self._bar.update(
            self._task,
            description=event.phase,
            total=event.total,
            completed=event.done,
            count=describe(event),
        )


def describe(event: ProgressEvent) -> str:
    """`12,000 / 50,000 rows, 8,000 rows/s`."""
    if not event.done and event.total is None:
        return ""
    text = f"{event.done:,.0f}"
    if event.total is not None:
        text += f" / {event.total:,.0f}"
    text += f" {event.unit}"
    seconds = time.monotonic() - event.started
    if event.done > 0 and seconds > 0 and event.unit == "rows":
        text += f", {event.done / seconds:,.0f} rows/s"
    return text
