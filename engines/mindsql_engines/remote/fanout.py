"""Owns how many requests become one answer: bounded threads, results in order, failed batches split to the bad rows."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mindsql.errors import Cancelled, DataError, EngineError, MindSQLError
from mindsql_engines.remote.client import Client
from mindsql_engines.remote.failures import RequestError

T = TypeVar("T")
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Failed:
    """What a row has instead of an answer."""

    message: str


@dataclass
class _Part(Generic[T]):
    rows: range
    answers: list[T | Failed]
    error: BaseException | None = None


Send = Callable[[range, bool], Sequence[T]]
"""Asks for a range of rows and gives one answer for each; the flag tells whether to try again after a 500."""


def ask_all(client: Client, rows: int, batch_rows: int, send: Send[T]) -> list[T | Failed]:
    """Ask for all rows, in batches and at once.

    Args:
        client: The client that `send` uses; it is stopped when anything goes wrong.
        rows: How many.
        batch_rows: The most rows of one request.
        send: Asks for a range of them.

    Returns:
        One answer or `Failed` for each row, in order; `Failed` only with `on_error = 'null'`.

    Raises:
        MindSQLError: A request failed, and `on_error = 'fail'`.
        Cancelled: The statement was stopped.
    """
    if rows == 0:
        return []
    starts = iter(range(0, rows, batch_rows))
    results: queue.SimpleQueue[_Part[T]] = queue.SimpleQueue()
    lock = threading.Lock()

    def work() -> None:
        while not client.stopped:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            part: _Part[T] = _Part(range(start, min(rows, start + batch_rows)), [])
            try:
                part.answers = _solve(client, part.rows, send, True)
            except BaseException as error:  # it belongs to the one who waits
                part.error = error
            results.put(part)

    threads = min(client.settings.concurrency, -(-rows // batch_rows))
    answers: list[T | Failed] = [Failed("not asked")] * rows
    done = 0
    try:
        for number in range(threads):
            inside = (
                contextvars.copy_context().run
            )  # what the engine knows of its statement, its threads know too
            threading.Thread(
                target=inside, args=(work,), name=f"mindsql-request-{number}", daemon=True
            ).start()
        while done < rows:
            try:
                part = results.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                client.calls.expire()
                if client.stopped:
                    raise Cancelled("the statement was stopped") from None
                _tell(client, done)
                continue
            if part.error is not None:
                raise part.error
            answers[part.rows.start : part.rows.stop] = part.answers
            done += len(part.rows)
            _tell(client, done)
    except BaseException:
        client.stop()
        raise
    return answers


def ask_one(client: Client, send: Callable[[], T]) -> T:
    """Ask once, in a thread that can be cut off. Raises as `ask_all` does, whatever `on_error` says."""
    found: list[T] = []

    def once(rows: range, again: bool) -> Sequence[None]:
        try:
            found.append(send())
        except MindSQLError as error:
            failure.append(error)
        return [None]

    failure: list[MindSQLError] = []
    ask_all(client, 1, 1, once)
    if failure:
        raise failure[0]
    return found[0]


def _solve(client: Client, rows: range, send: Send[T], again: bool) -> list[T | Failed]:
    """The answers of a range; one that fails for its rows is halved until the bad ones are alone."""
    try:
        answers: list[T | Failed] = [*send(rows, again)]
        if len(answers) != len(rows):
            raise RequestError(
                f"the server was asked for {len(rows)} rows and answered {len(answers)}",
                status=200,
                hint="which answer belongs to which row cannot be known",
            )
        return answers
    except Cancelled:
        raise
    except MindSQLError as error:
        client.check_limit()
        if client.settings.on_error == "fail" or not isinstance(error, (EngineError, DataError)):
            raise
        splits = len(rows) > 1 and (not isinstance(error, RequestError) or error.rows or error.status == 200)
        if not splits:
            text = error.message + (f" ({error.hint})" if error.hint else "")
            return [Failed(text)] * len(rows)
        middle = len(rows) // 2
        return _solve(client, rows[:middle], send, False) + _solve(client, rows[middle:], send, False)


def _tell(client: Client, done: int) -> None:
    retries = client.context.counts.get("retries", 0)
    text = f"{len(client.calls)} requests in flight" + (f", {retries} retries" if retries else "")
    client.context.tell(done, text)
