"""Owns the log of writes: who changed what, when, through which door, and how it ended.

One JSON object a line, appended and never read or rewritten: `time` (UTC), `who`, `role`, `door`, `statement` without
its secrets, and `outcome`, which is `ok` or the code of the error. Only the owner of the process can read the file.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from mindsql.errors import CatalogError, MindSQLError
from mindsql.redaction import redact
from mindsql.server.access import Principal
from mindsql.server.options import ServeOptions

log = logging.getLogger("mindsql.server")

_LONGEST = 20_000


class Audit:
    """An append-only log.

    Args:
        path: Its file; None for no log.

    Raises:
        CatalogError: The file cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._file: int | None = None
        if path is None:
            return
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise CatalogError(
                f"the audit log {path} cannot be written: {error.strerror}", hint="--audit names another file"
            ) from error

    @classmethod
    def of(cls, path: str, options: ServeOptions) -> Audit:
        """The log of a database: `FILE.audit.jsonl` beside it, or what `--audit` says. One in memory has none."""
        return cls(options.audit or (None if path == ":memory:" else f"{path}.audit.jsonl"))

    def write(self, who: Principal, door: str, text: str, error: MindSQLError | None) -> None:
        """Note a write and how it ended."""
        if self._file is None:
            return
        shown = redact(text)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who.name,
            "role": who.role.name.lower(),
            "door": door,
            "statement": "(not shown: it holds a secret)" if shown is None else shown[:_LONGEST],
            "outcome": "ok" if error is None else error.code,
        }
        try:
            # One write for each line: those of several threads do not mix.
            os.write(self._file, (json.dumps(line) + "\n").encode())
        except OSError:
            log.exception("a write could not be noted in the audit log")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
