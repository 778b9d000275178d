"""Owns the greeting: what server and client can, TLS if it is wanted, and who the client is."""

from __future__ import annotations

import ssl
import struct
from dataclasses import dataclass, field
from io import SEEK_CUR, BytesIO
from typing import TYPE_CHECKING, NamedTuple

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet, Collation
from mysql_mimic.constants import DEFAULT_SERVER_CAPABILITIES
from mysql_mimic.types import Capabilities, read_str_len
from mysql_mimic.utils import nonce as make_nonce

from mindsql.server.mysql.auth import NATIVE, Attempt, Keys, authenticate
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.replies import FRESH
from mindsql.server.mysql.stream import Stream
from mindsql.server.mysql.variables import VERSION, character_set
from mindsql.server.principal import Principal

if TYPE_CHECKING:
    from mindsql.server.service import Service

CAPABILITIES = (
    DEFAULT_SERVER_CAPABILITIES
    | Capabilities.CLIENT_MULTI_STATEMENTS
    | Capabilities.CLIENT_MULTI_RESULTS
    | Capabilities.CLIENT_PS_MULTI_RESULTS
    | Capabilities.CLIENT_TRANSACTIONS
    | Capabilities.CLIENT_FOUND_ROWS
    | Capabilities.CLIENT_LONG_FLAG
)
"""What we can, beside TLS."""
_SSL_REQUEST = 32


@dataclass
class Login:
    """A client that was let in.

    Attributes:
        user: As whom it came.
        database: Which it wants to use, if any.
        charset: In which it writes.
        capabilities: What both sides can.
        attributes: What its driver tells of itself.
    """

    principal: Principal
    user: str
    database: str | None
    charset: str = "utf8mb4"
    capabilities: Capabilities = CAPABILITIES
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def escapes_blindly(self) -> bool:
        """Whether the driver may put a backslash before a quote whatever the server's status says.

        Node's drivers do. The newer one tells its name; the older one, as other old clients, tells nothing.
        """
        return not self.attributes or self.attributes.get("_client_name", "").startswith("Node-MySQL")


class Answer(NamedTuple):
    """What a client says to our greeting; `response` is its answer to the challenge, in the way of `plugin`."""

    capabilities: Capabilities
    charset: CharacterSet
    user: str
    response: bytes
    database: str | None
    plugin: str
    attributes: dict[str, str]


def read_answer(data: bytes, offered: Capabilities) -> Answer:
    """Read it. mysql-mimic's own reader looks for ever for the end of a text that has none.

    Raises:
        MySQLError: It is none (1043).
    """
    try:
        reader = BytesIO(data)
        flags, _, collation = struct.unpack("<IIB23x", reader.read(_SSL_REQUEST))
        can = offered & Capabilities(flags)
        if Capabilities.CLIENT_PROTOCOL_41 not in can:
            raise MySQLError("the client's protocol is too old", 1043, "08S01")
        charset = _charset(collation)
        user = charset.decode(_text(reader))
        if Capabilities.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA in can:
            response = read_str_len(reader)
        elif Capabilities.CLIENT_SECURE_CONNECTION in can:
            response = reader.read(reader.read(1)[0])
        else:
            response = _text(reader)
        with_database = Capabilities.CLIENT_CONNECT_WITH_DB in can
        database = charset.decode(_text(reader)) if with_database else None
        plugin = charset.decode(_text(reader)) if Capabilities.CLIENT_PLUGIN_AUTH in can else ""
        attributes = {}
        if Capabilities.CLIENT_CONNECT_ATTRS in can and reader.tell() < len(data):
            pairs = BytesIO(read_str_len(reader))
            while pairs.tell() < len(pairs.getbuffer()):
                name = charset.decode(read_str_len(pairs))
                attributes[name] = charset.decode(read_str_len(pairs))
    except (ValueError, IndexError, OverflowError, LookupError, struct.error) as error:
        raise MySQLError("the greeting cannot be read", 1043, "08S01") from error
    return Answer(can, charset, user, response, database, plugin, attributes)


def _text(reader: BytesIO) -> bytes:
    """A text up to its zero, or to the end."""
    rest = reader.read()
    text, _, _ = rest.partition(b"\0")
    reader.seek(len(text) + 1 - len(rest), SEEK_CUR)
    return text


def _charset(collation: int) -> CharacterSet:
    try:
        return character_set(Collation(collation).charset.name)
    except (ValueError, LookupError, MySQLError):
        return CharacterSet.utf8mb4  # a collation that is newer than we


@dataclass
class Door:
    """What every client meets.

    Attributes:
        service: The open database.
        tls: How to speak TLS, None for not at all.
        keys: For secrets that come without it.
    """

    service: Service
    tls: ssl.SSLContext | None
    keys: Keys

    async def greet(self, stream: Stream, number: int) -> Login:
        """Let a client in. Raises MindSQLError, Gone."""
        nonce = make_nonce(20)
        offered = CAPABILITIES | (Capabilities.CLIENT_SSL if self.tls else Capabilities(0))
        await stream.send(
            packets.make_handshake_v10(
                capabilities=offered,
                server_charset=CharacterSet.utf8mb4,
                server_version=VERSION,
                connection_id=number,
                auth_data=nonce + b"\0",
                status_flags=FRESH,
                auth_plugin_name=NATIVE,
            )
        )
        data = await stream.read()
        if len(data) == _SSL_REQUEST:
            if self.tls is None:
                raise MySQLError("this server speaks no TLS", 1043, "08S01")
            await stream.start_tls(self.tls)
            data = await stream.read()
        elif self.service.options.require_tls:
            raise MySQLError("this server lets nobody in without TLS: ask for it, as mariadb --ssl does", 3159, "HY000")
        answer = read_answer(data, offered)
        principal = await self.let_in(stream, answer.user, answer.plugin, answer.response, nonce)
        return Login(
            principal,
            answer.user,
            answer.database,
            answer.charset.name,
            answer.capabilities,
            answer.attributes,
        )

    async def let_in(
        self, stream: Stream, user: str, plugin: str = "", response: bytes = b"", nonce: bytes = b""
    ) -> Principal:
        """Who a client is. Raises MySQLError (1045), LimitError, Gone.

        Args:
            plugin, response, nonce: How it has answered which challenge; nothing when it has not.
        """
        attempt = Attempt(
            user=user,
            plugin=plugin,
            response=response,
            nonce=nonce,
            encrypted=stream.encrypted,
            address=stream.address,
            send=stream.send,
            receive=stream.read,
        )
        return await authenticate(attempt, self.service, self.keys)
