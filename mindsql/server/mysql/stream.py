"""Owns the bytes between a client and us: packets in, within limits; packets out, with TLS when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from mysql_mimic.stream import MysqlStream

from mindsql.server.mysql.errors import MySQLError

_LOGIN_BYTES = 64 * 1024
_MOST_PACKET = 0xFFFFFF


class Gone(Exception):
    """The client is no longer there."""


class Reader(asyncio.StreamReader):
    """What comes from a client. It knows at once when the client goes away, even while nobody reads.

    Attributes:
        on_gone: Called when it goes.
        unread: Bytes that came and nobody has read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_gone: Callable[[], None] = lambda: None
        self.unread = 0

    def feed_data(self, data: Any) -> None:
        """Called by the transport."""
        self.unread += len(data)
        super().feed_data(data)

    def feed_eof(self) -> None:
        """Called by the transport."""
        super().feed_eof()
        self.on_gone()

    def set_exception(self, exc: BaseException) -> None:
        """Called by the transport."""
        super().set_exception(exc)  # type: ignore[arg-type]
        self.on_gone()

    async def exactly(self, count: int) -> bytes:
        """So many bytes. Raises Gone."""
        try:
            data = await self.readexactly(count)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Gone from error
        self.unread -= count
        return data


class Stream:
    """Packets to and from one client. mysql-mimic's stream writes them; reading needs limits that it has not.

    Attributes:
        limit: The most bytes of a command.
        encrypted: Whether TLS has begun.
    """

    def __init__(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.limit = _LOGIN_BYTES
        self.encrypted = False
        self._out = MysqlStream(reader, writer)

    @property
    def address(self) -> str:
        """Where the client is."""
        peer = self.writer.get_extra_info("peername")
        return str(peer[0]) if peer else "local"

    async def read(self) -> bytes:
        """The next command. Raises Gone, MySQLError (1153, 1156)."""
        parts: list[bytes] = []
        size = 0
        while True:
            header = await self.reader.exactly(4)
            length = int.from_bytes(header[:3], "little")
            if header[3] != next(self._out.seq):
                raise MySQLError("packets are out of order", 1156, "08S01")
            size += length
            if size > self.limit:
                raise MySQLError(f"a statement has more than {self.limit} bytes", 1153, "08S01")
            parts.append(await self.reader.exactly(length))
            if length < _MOST_PACKET:
                return b"".join(parts)

    def restart(self) -> None:
        """Number packets from 0 again, as each command does."""
        self._out.reset_seq()

    async def send(self, *packets: bytes) -> None:
        """Send packets now. Raises Gone."""
        with _gone():
            for packet in packets:
                await self._out.write(packet, drain=False)
            await self._out.drain()

    def put(self, packets: Sequence[bytes]) -> None:
        """Keep packets, none of 16 MB, for the next `flush`. May be called from a worker."""
        self._out.write_many(packets)

    def put_rows(self, rows: Sequence[Sequence[Any]], columns: Sequence[Any]) -> None:
        """Keep rows in text form, none of 16 MB, for the next `flush`. May be called from a worker."""
        self._out.write_text_rows(rows, columns)

    async def flush(self) -> None:
        """Send what is kept, and wait while the client is slow. Raises Gone."""
        with _gone():
            await self._out.drain()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS.

        A client does not wait before it begins with TLS: what of it was read already is handed to the TLS layer,
        and so cannot be taken for what came encrypted.

        Raises:
            Gone: It failed.
        """
        plain = self.writer.transport
        assert isinstance(plain, asyncio.Transport)
        # What comes from here on stays with the system: the loop may have noticed it already, and read it next.
        plain.pause_reading()
        early = await self.reader.exactly(self.reader.unread) if self.reader.unread else b""
        loop = asyncio.get_running_loop()
        protocol = plain.get_protocol()
        upgrade = asyncio.ensure_future(
            loop.start_tls(plain, protocol, context, server_side=True, ssl_handshake_timeout=10)
        )
        await asyncio.sleep(0)
        if early:
            loop.call_soon(_feed, plain.get_protocol(), early)
        try:
            transport = await upgrade
        except (OSError, asyncio.CancelledError) as error:
            raise Gone from error
        assert transport is not None
        # asyncio has no public way to go on with the same reader and writer.
        self.writer._transport = transport  # type: ignore[attr-defined]
        self.reader._transport = transport  # type: ignore[attr-defined]
        self.encrypted = True

    def close(self) -> None:
        """Close the connection when what is written has been sent."""
        self.writer.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.writer.transport.abort()


def _feed(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    assert isinstance(protocol, asyncio.BufferedProtocol)
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        part = data[: len(buffer)]
        buffer[: len(part)] = part
        protocol.buffer_updated(len(part))
        data = data[len(part) :]


@contextlib.contextmanager
def _gone() -> Any:
    try:
        yield
    except OSError as error:
        raise Gone from error
