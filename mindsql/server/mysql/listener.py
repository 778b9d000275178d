"""Owns the door itself: it listens, numbers the connections, lists and kills them, and closes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
import time

from mindsql.server.limits import CONNECTIONS
from mindsql.server.mysql.auth import Keys
from mindsql.server.mysql.connection import Connection
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.login import Door
from mindsql.server.mysql.stream import Reader, Stream
from mindsql.server.principal import Role
from mindsql.server.service import RemoteSession, Service

log = logging.getLogger(__name__)

_BACKLOG = 512
_STRANGERS = 100
"""Connections beyond the sessions there may be: of clients that have not logged in."""


class Listener:
    """An open door.

    Attributes:
        port: Where it listens.
        connections: By number.
    """

    def __init__(self, service: Service, tls: ssl.SSLContext | None) -> None:
        self.port = 0
        self.connections: dict[int, Connection] = {}
        self._service = service
        self._door = Door(service, tls, Keys())
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address is taken."""
        self._server = await self._loop.create_server(self._protocol, host, port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = Reader()
        return _Protocol(reader, lambda _, writer: self._connected(reader, writer))

    def _connected(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(Stream(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream) -> None:
        if len(self.connections) >= self._service.options.sessions + _STRANGERS:
            stream.abort()
            return
        address = stream.address
        if not CONNECTIONS.enter(address):
            stream.abort()
            return
        number = next(self._numbers)
        connection = Connection(self._door, self, stream, number)
        self.connections[number] = connection
        try:
            await connection.run()
        except Exception:  # a bug ends the connection that met it, and no other
            log.exception("connection %s", number)
        finally:
            CONNECTIONS.leave(address)
            del self.connections[number]

    # For its conversations --------------------------------------------------------------------------------

    def kill(self, number: int, whole: bool, by: RemoteSession) -> None:
        """Stop a connection's statement, or the connection as a whole. Any thread may call.

        Raises:
            MySQLError: There is no such connection (1094), or it is somebody else's (1095).
        """
        connection = self.connections.get(number)
        if connection is None or connection.conversation is None:
            raise MySQLError(
                f"there is no connection {number}", 1094, "HY000", hint="SHOW PROCESSLIST lists them"
            )
        if by.principal != connection.session.principal and by.principal.role < Role.ADMIN:
            raise MySQLError(f"the connection {number} is somebody else's", 1095, "HY000")
        self._loop.call_soon_threadsafe(connection.leave if whole else connection.stop)

    def processes(self, by: RemoteSession) -> list[tuple[int, str, str, str, str, int, str, str | None]]:
        """The open connections that a client may see, as SHOW PROCESSLIST lists them. Any thread may call."""
        now = time.monotonic()
        return [
            (number, c.user, c.address, c.conversation.database, c.doing, int(now - c.since), "",
             c.statement)
            for number, c in list(self.connections.items())
            if c.conversation is not None
            and (by.principal.role >= Role.ADMIN or c.conversation.session.principal == by.principal)
        ]  # fmt: skip

    # Ending -----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Take no more clients, let statements that run end within the service's grace, and say goodbye."""
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections.values()):
            connection.finish()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._service.options.grace_seconds)
            for connection in list(self.connections.values()):
                connection.leave()
            if late:
                await asyncio.wait(late)


class _Protocol(asyncio.StreamReaderProtocol):
    """A client that says nothing more is gone; with TLS asyncio knows no other way."""

    def eof_received(self) -> bool:
        """Called by the transport."""
        super().eof_received()
        return False


async def start(service: Service, host: str, port: int, tls: ssl.SSLContext | None) -> Listener:
    """Open the door. Raises OSError when the address is taken."""
    listener = Listener(service, tls)
    await listener.open(host, port)
    return listener
