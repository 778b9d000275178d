"""Owns how rows leave over HTTP: the form that was asked for, streamed, and stopped when the client goes away."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from mindsql.batches import Batches
from mindsql.errors import TooLargeError
from mindsql.formats.objects import jsonl_parts, rows_parts
from mindsql.formats.stream import csv_parts
from mindsql.result import Result
from mindsql.server.service import RemoteSession, Service

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
_BATCH_ROWS = 16384
_MOST_NOTES = 4000
_FIRST_BYTES = 256 * 1024
_ALIASES = {"application/ndjson": NDJSON, "application/jsonl": NDJSON, "application/jsonlines": NDJSON}


class Json(Response):
    """A small JSON answer."""

    media_type = JSON

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, dict(headers or {}))

    def render(self, content: Any) -> bytes:
        """The content as JSON; what JSON has no form for, as text."""
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)


NOTES = "MindSQL-Notes"
"""The header of what is worth knowing about an answer, beside `notes` in JSON."""


def noted(response: Response, notes: Sequence[str]) -> Response:
    """A response with notes in its header."""
    if notes:
        text = "; ".join(notes).encode("ascii", "backslashreplace").decode()
        response.headers[NOTES] = " ".join(text.split())[:_MOST_NOTES]
    return response


def form(accept: str | None) -> str | None:
    """The media type to answer in, by an Accept header; None when none of ours is asked for."""
    wishes = []
    for place, part in enumerate((accept or "*/*").split(",")):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            wishes.append((-float(quality), place, name.lower()))
        except ValueError:
            continue
    for rank, _, wish in sorted(wishes):
        name = _ALIASES.get(wish, wish)
        if rank and name in (JSON, ARROW, CSV, NDJSON):
            return name
        if rank and name in ("*/*", "application/*", "text/html"):
            return JSON
        if rank and name == "text/*":
            return CSV
    return None


def parts(
    result: Result, media: str, most: int | None, tail: Mapping[str, Any], count: Callable[[int], None]
) -> Iterator[bytes]:
    """The bytes of a result, some thousand rows at a time.

    Args:
        result: Its rows are taken to the end.
        media: `JSON` gives MindsDB's `{"type": "table", "column_names", "data", …}`.
        most: The rows there may be, None for any number.
        tail: Further keys of the JSON form.
        count: Is told of rows as they leave.

    Raises:
        TooLargeError: There are more rows.
    """
    counted = _Counted(result, most, count)
    if media == ARROW:
        return _arrow(counted)
    if media == CSV:
        return (text.encode() for text in csv_parts(counted))
    if media == NDJSON:
        return (text.encode() for text in jsonl_parts(counted))
    return _table(counted, tail)


def list_of_objects(lines: Iterator[bytes]) -> Iterator[bytes]:
    """NDJSON as one JSON list."""
    between = b"["
    for part in lines:
        # A line feed within a text is written as \\n, so each one here ends an object.
        yield between + part.rstrip(b"\n").replace(b"\n", b",\n")
        between = b",\n"
    yield b"[]" if between == b"[" else b"]"


def _table(result: _Counted, tail: Mapping[str, Any]) -> Iterator[bytes]:
    head = orjson.dumps({"type": "table", "column_names": result.columns, "column_types": result.types})
    yield head[:-1] + b',"data":['
    between = b""
    for text in rows_parts(result):
        yield between + text.encode()
        between = b",\n"
    yield b"]," + orjson.dumps(dict(tail))[1:] if tail else b"]}"


def _arrow(result: _Counted) -> Iterator[bytes]:
    import pyarrow as pa

    batches = result.reader()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


class _Counted:
    """A result whose rows are counted as they leave, and that ends in an error after `most`."""

    def __init__(self, result: Result, most: int | None, count: Callable[[int], None]) -> None:
        self._result = result
        self._most = most
        self._count = count
        self._rows = 0
        self.columns = result.columns
        self.types = result.types

    def fetchmany(self, size: int = 2048) -> list[Any]:
        rows = self._result.fetchmany(size)
        self._leave(len(rows))
        return rows

    def reader(self) -> Batches:
        reader = self._result.reader(_BATCH_ROWS)
        return Batches(reader.schema, map(self._left, reader))

    def _left(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._leave(batch.num_rows)
        return batch

    def _leave(self, rows: int) -> None:
        self._rows += rows
        if self._most is not None and self._rows > self._most:
            raise TooLargeError(
                f"the result has more than {self._most} rows", hint="ask for fewer, with LIMIT or a filter"
            )
        self._count(rows)


# With an eye on the client ----------------------------------------------------------------------------------


async def attended(service: Service, session: RemoteSession, receive: Receive, call: Callable[[], T]) -> T:
    """Run something of a session in a worker; when the client goes away meanwhile it is interrupted.

    Raises:
        ClientDisconnect: The client went away.
    """
    future = service.submit(call)
    answer = asyncio.wrap_future(future)
    watch = asyncio.ensure_future(_gone(receive))
    either: set[asyncio.Future[Any]] = {answer, watch}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        watch.cancel()
        if not future.done():
            await service.halt(session, future)
            await asyncio.wait({answer})
            if not answer.cancelled():
                answer.exception()  # nobody is left to be told


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def begin(parts: Iterator[bytes]) -> tuple[bytes, bool]:
    """The first bytes of an answer, and whether they are all: a small one shows its faults before it is sent."""
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size >= _FIRST_BYTES:
            return b"".join(taken), False
    return b"".join(taken), True


class Streamed(Response):
    """Bytes that come from a session's result; the session's statement ends with them.

    The first part is made before the status is sent, so that whatever is wrong until then is an ordinary error. What
    goes wrong later breaks the connection off: no client can take the part for the whole.
    """

    def __init__(
        self,
        service: Service,
        session: RemoteSession,
        parts: Iterator[bytes],
        first: bytes,
        media_type: str,
        end: Callable[[], None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, 200, dict(headers or {}), media_type)
        del self.headers["content-length"]
        self._service = service
        self._session = session
        self._parts = parts
        self._first = first
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            part: bytes | None = self._first
            while part is not None:
                await send(_body(part, True))
                part = await attended(self._service, self._session, receive, lambda: next(self._parts, None))
            await send(_body(b"", False))
        except ClientDisconnect:
            pass
        finally:
            await self._service.run(self._end)


def _body(content: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
