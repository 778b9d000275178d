"""Owns the log of writes."""

from __future__ import annotations

from mindsql.errors import MindSQLError
from mindsql.server.access import Principal
from mindsql.server.options import ServeOptions


class Audit:
    """An append-only log."""

    @classmethod
    def of(cls, path: str, options: ServeOptions) -> Audit:
        """The log of a database."""
        return cls()

    def write(self, who: Principal, door: str, text: str, error: MindSQLError | None) -> None:
        """Note a write and how it ended."""

    def close(self) -> None:
        """Close the file."""
