"""Owns the greeting: what server and client can, TLS if it is wanted, and who the client is."""

from __future__ import annotations

import ssl
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet
from mysql_mimic.constants import DEFAULT_SERVER_CAPABILITIES
from mysql_mimic.types import Capabilities
from mysql_mimic.utils import nonce as make_nonce

from mindsql.server.access import Principal
from mindsql.server.mysql.auth import NATIVE, Attempt, Keys, authenticate
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.replies import FRESH
from mindsql.server.mysql.stream import Stream
from mindsql.server.mysql.variables import VERSION

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
_TEXTS = 8


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
        try:
            data = await stream.read()
            if len(data) == _SSL_REQUEST:
                if self.tls is None:
                    raise MySQLError("this server speaks no TLS", 1043, "08S01")
                await stream.start_tls(self.tls)
                data = await stream.read()
            # mysql-mimic looks for the end of a text for ever, so there must be one.
            greeting = packets.parse_handshake_response_41(offered, data + bytes(_TEXTS))
        except (ValueError, IndexError, AssertionError, struct.error) as error:
            raise MySQLError("the greeting cannot be read", 1043, "08S01") from error
        if Capabilities.CLIENT_PROTOCOL_41 not in greeting.capabilities:
            raise MySQLError("the client's protocol is too old", 1043, "08S01")
        principal = await self.let_in(
            stream, greeting.username, greeting.client_plugin or "", greeting.auth_response, nonce
        )
        return Login(
            principal,
            greeting.username,
            greeting.database,
            greeting.client_charset.name,
            greeting.capabilities,
            greeting.connect_attrs,
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
