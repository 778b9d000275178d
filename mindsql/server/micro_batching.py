"""Owns the gathering of one-row questions: those that come while a model answers are taken together by its next call.

A question that meets no other goes to the model at once. One that comes while the model answers waits until that call
is done, or for `GATHER_SECONDS` if the engine takes another call beside it.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.events import TimerHandle
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mindsql.errors import Cancelled, MindSQLError
from mindsql.server.principal import LOCAL
from mindsql.snapshot import Version

if TYPE_CHECKING:
    from mindsql.server.service import RemoteSession, Service

Row: TypeAlias = tuple[Any, ...]

GATHER_SECONDS = 0.002
_MOST_ROWS = 1024


@dataclass
class _Line:
    """Questions to one version, with cells of the same types.

    Attributes:
        waiting: Rows that no call has taken yet, with what is to become of them.
        running: Calls that have not come back.
        limit: How many calls the engine may be at work with.
    """

    version: Version
    waiting: list[tuple[Row, asyncio.Future[Any]]] = field(default_factory=list)
    running: int = 0
    limit: int = 1
    timer: TimerHandle | None = None


class MicroBatcher:
    """Asks models for many one-row questions at once. It lives in the event loop; the calls run in workers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lines: dict[tuple[Any, ...], _Line] = {}

    async def ask(self, version: Version, row: Row) -> Any:
        """The answer to one row.

        Args:
            version: Who is asked.
            row: A value for each of its inputs: int, float, str, bool or None.

        Raises:
            MindSQLError: What a SELECT of that row raises.
        """
        # Cells of other types might be changed by standing in one column.
        key = (version.id, *map(type, row))
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(version)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        line.waiting.append((row, answer))
        if not line.running:
            self._send(key, line)
        elif line.timer is None:
            line.timer = loop.call_later(GATHER_SECONDS, self._due, key, line)
        return await answer

    def _due(self, key: tuple[Any, ...], line: _Line) -> None:
        line.timer = None
        if line.waiting and line.running < line.limit:
            self._send(key, line)

    def _send(self, key: tuple[Any, ...], line: _Line) -> None:
        taken, line.waiting = line.waiting[:_MOST_ROWS], line.waiting[_MOST_ROWS:]
        line.running += 1
        call = self._service.submit(lambda: self._answers(line, [row for row, _ in taken]))
        loop = asyncio.get_running_loop()

        def done(call: Future[list[Any]]) -> None:
            line.running -= 1
            if line.waiting:
                self._send(key, line)
            elif not line.running:
                self._lines.pop(key, None)
            failed = asyncio.CancelledError() if call.cancelled() else call.exception()
            answers = call.result() if failed is None else [failed] * len(taken)
            for (_, future), answer in zip(taken, answers, strict=True):
                if future.done():
                    continue  # who asked has gone away
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

        call.add_done_callback(lambda call: loop.call_soon_threadsafe(done, call))

    # In a worker ------------------------------------------------------------------------------------------------

    def _answers(self, line: _Line, rows: Sequence[Row]) -> list[Any]:
        """For each row its answer, or its error."""
        session = self._service.open(LOCAL, "http")
        try:
            allowed = session.connection.capabilities(line.version)
            line.limit = (allowed.max_concurrency or os.cpu_count() or 1) if allowed.thread_safe else 1
            if not allowed.row_wise:
                return [self._alone(session, line.version, row) for row in rows]
            try:
                return _ask(session, line.version, rows)
            except Cancelled:
                raise  # it took too long: so would each
            except Exception:  # one of the rows is at fault, in whatever way; only that one's question fails
                if len(rows) == 1:
                    raise
                return [self._alone(session, line.version, row) for row in rows]
        finally:
            session.close()

    def _alone(self, session: RemoteSession, version: Version, row: Row) -> Any:
        try:
            return _ask(session, version, [row])[0]
        except Exception as error:  # it is raised where this row was asked for
            return error


def _ask(session: RemoteSession, version: Version, rows: Sequence[Row]) -> list[Any]:
    import pyarrow as pa

    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, names=version.inputs.names)
    session.begin(f"SELECT {version.outputs.names[0]} FROM {version.model}.{version.number}")
    try:
        answers: list[Any] = session.connection.ask(version, batch).to_pylist()
        return answers
    except MindSQLError as error:
        raise session.cause(error) from error
    finally:
        session.end()
