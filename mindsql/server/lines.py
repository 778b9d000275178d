"""Owns logs of one JSON object a line: appended, and never read or rewritten."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mindsql.errors import CatalogError

log = logging.getLogger("mindsql.server")


class Lines:
    """An append-only log, which only the owner of the process can read.

    Args:
        path: Its file; `-` for the standard output, None for no log.
        option: The option that names it, for the error.

    Raises:
        CatalogError: The file cannot be written.
    """

    def __init__(self, path: str | None, option: str) -> None:
        self._file: int | None = None
        self._own = path != "-"
        if path is None:
            return
        try:
            self._file = (
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if self._own else sys.stdout.fileno()
            )
        except OSError as error:
            raise CatalogError(
                f"the log {path} cannot be written: {error.strerror}", hint=f"{option} names another file"
            ) from error

    @property
    def on(self) -> bool:
        """Whether anything is written at all."""
        return self._file is not None

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a line, the time before it."""
        if self._file is None:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
        try:
            # One write for each line: those of several threads do not mix.
            os.write(self._file, (json.dumps(line) + "\n").encode())
        except OSError:
            log.exception("a line could not be written to a log")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._own:
            os.close(self._file)
        self._file = None
