"""Owns what is no request: a head that takes too long, is too large or cannot be read. uvicorn limits none."""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mindsql.server.http import errors
from mindsql.server.limits import CONNECTIONS

HEAD_SECONDS = 10.0
HEAD_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """One connection of a client."""

    _timer: TimerHandle | None = None
    _head = 0
    _address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        if not CONNECTIONS.enter(address):
            transport.abort()
            return
        self._address = address
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._end()
        if self._address is not None:
            CONNECTIONS.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the head is complete."""
        if self._timer is not None:
            self._head += len(data)
        super().data_received(data)
        # A whole request in one piece has ended its head by now.
        if self._timer is not None and self._head > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the head of the request is larger than {HEAD_BYTES} bytes", "send less in headers")

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read."""
        self._refuse(400, "this is no HTTP request", "write it as RFC 9112 says, or use an HTTP client")

    def on_message_begin(self) -> None:
        """A request begins, the first or a later one of its connection."""
        super().on_message_begin()
        if self._timer is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """The head is there; the body has a clock of its own."""
        self._end()
        super().on_headers_complete()

    def _refuse(self, status: int, message: str, hint: str) -> None:
        if len(self.url) >= HEAD_BYTES:  # the parser takes no longer one
            status, message = 414, f"the URL is longer than {HEAD_BYTES - 1} bytes"
            hint = "send rows as the body of a POST"
        content = bytes(errors.plain(status, message, hint).body)
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii") + content)
        self.transport.close()

    def _begin(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
