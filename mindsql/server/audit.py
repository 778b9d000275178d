"""Owns what is logged: writes, requests, and statements that took long.

Of a write `who`, `role`, `door`, `statement` without its secrets, and `outcome`: `ok`, or the code of the error. Of a
"""

from __future__ import annotations

from mindsql.errors import MindSQLError
from mindsql.redaction import redact
from mindsql.server.lines import Lines
from mindsql.server.options import ServeOptions
from mindsql.server.principal import Principal

_LONGEST = 20_000


class Audit:
    """The logs of a server.

    Args:
        path: The database.
        options: Where the logs are: writes go to `FILE.audit.jsonl` beside the database unless `audit` says otherwise;
            a database in memory has no such log. Requests and slow statements go where `access_log` says.

    Raises:
        CatalogError: A log cannot be written.
    """

    def __init__(self, path: str, options: ServeOptions) -> None:
        self._writes = Lines(options.audit or (None if path == ":memory:" else f"{path}.audit.jsonl"), "--audit")
        self._requests = Lines(options.access_log, "--access-log")
        self._slow = options.slow_seconds

    def write(self, who: Principal, door: str, text: str, error: MindSQLError | None) -> None:
        """Note a write and how it ended."""
        outcome = "ok" if error is None else error.code
        self._writes.write({**_who(who), "door": door, "statement": _shown(text), "outcome": outcome})

    def request(self, who: Principal | None, method: str, path: str, status: int, seconds: float) -> None:
        """Note a request over HTTP and how long it took."""
        if self._requests.on:
            about = {"method": method, "path": path, "status": status, "seconds": round(seconds, 6)}
            self._requests.write({"door": "http", **_who(who), **about})

    def statement(self, who: Principal, door: str, text: str, seconds: float, rows: int) -> None:
        """Note a statement, if it took as long as is worth noting."""
        if self._requests.on and seconds >= self._slow:
            about = {"statement": _shown(text), "seconds": round(seconds, 6), "rows": rows}
            self._requests.write({"door": door, **_who(who), **about})

    def close(self) -> None:
        """Close the files."""
        self._writes.close()
        self._requests.close()


def _who(who: Principal | None) -> dict[str, str | None]:
    return {"who": who.name if who is not None else None, "role": who.role.name.lower() if who is not None else None}


def _shown(text: str) -> str:
    shown = redact(text)
    return "(not shown: it holds a secret)" if shown is None else shown[:_LONGEST]
