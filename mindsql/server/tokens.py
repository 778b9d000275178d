"""Owns the tokens by which clients are known."""

from __future__ import annotations

from mindsql.connection import Connection
from mindsql.errors import AuthenticationError
from mindsql.server.access import Principal


class Tokens:
    """The tokens of a database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def any(self) -> bool:
        """Whether there are tokens at all."""
        return False

    def authenticate(self, secret: str, client: str) -> Principal:
        """Who has a secret. `client` is the address it came from. Raises AuthenticationError."""
        raise AuthenticationError("wrong token")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
