"""Owns the short answers of the protocol: done, failed, end of rows, and the status that each of them tells."""

from __future__ import annotations

from collections.abc import Callable

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet
from mysql_mimic.types import Capabilities, ServerStatus, uint_2, uint_4

from mindsql.server.mysql.errors import failure
from mindsql.server.mysql.types import definition, mysql_type

FRESH = ServerStatus.SERVER_STATUS_AUTOCOMMIT | ServerStatus.SERVER_STATUS_NO_BACKSLASH_ESCAPES
"""The status at login. From it drivers know how to escape, so it must be right from the first packet on."""


class Replies:
    """Makes packets for one client.

    Args:
        capabilities: What client and server both can.
        status: Tells the state of the connection when asked.
    """

    def __init__(self, capabilities: Capabilities, status: Callable[[], ServerStatus]) -> None:
        self.capabilities = capabilities
        self._status = status

    def can(self, capability: Capabilities) -> bool:
        """Whether the client can do something."""
        return bool(capability in self.capabilities)

    @property
    def _brief(self) -> bool:
        """Whether the client does without EOF packets."""
        return self.can(Capabilities.CLIENT_DEPRECATE_EOF)

    def done(self, affected: int = 0, warnings: int = 0, message: str = "", more: bool = False) -> bytes:
        """A statement without rows is done. `more`: whether the answer to another one follows."""
        packet: bytes = packets.make_ok(
            self.capabilities, self._status(), affected_rows=affected, warnings=warnings, flags=_flags(more)
        )
        return packet + message.encode()

    def failed(self, error: BaseException) -> bytes:
        """A command has failed."""
        number, state, message = failure(error)
        packet: bytes = b"\xff" + uint_2(number) + b"#" + state.encode() + message.encode()
        return packet

    def head_of_rows(self, definitions: list[bytes]) -> list[bytes]:
        """What comes before the rows: the columns."""
        count: bytes = packets.make_column_count(self.capabilities, len(definitions))
        return [count, *definitions, *([] if self._brief else [self._eof()])]

    def end_of_rows(self, more: bool = False) -> bytes:
        """What comes after them."""
        if not self._brief:
            return self._eof(more)
        packet: bytes = packets.make_ok(self.capabilities, self._status(), eof=True, flags=_flags(more))
        return packet

    def prepared(self, number: int, count: int, charset: CharacterSet) -> list[bytes]:
        """A statement is prepared, and has so many parameters."""
        answer = [b"\0" + uint_4(number) + uint_2(0) + uint_2(count) + b"\0" + uint_2(0)]
        if count:
            answer += [definition("?", mysql_type("VARCHAR"), charset)] * count
            answer += [] if self._brief else [self._eof()]
        return answer

    def _eof(self, more: bool = False) -> bytes:
        packet: bytes = packets.make_eof(self.capabilities, self._status(), flags=_flags(more))
        return packet


def _flags(more: bool) -> int:
    return int(ServerStatus.SERVER_MORE_RESULTS_EXISTS) if more else 0
