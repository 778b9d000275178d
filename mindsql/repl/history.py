"""Owns the history of the prompt: where it is kept, and that no secret gets into it."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_toolkit.history import FileHistory

from mindsql.redaction import redact


def path() -> Path:
    """The history file: `$MINDSQL_HISTORY`, or `mindsql/history` in the user's state directory."""
    if given := os.environ.get("MINDSQL_HISTORY"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "mindsql" / "history"


class SafeHistory(FileHistory):
    """A history file for its owner's eyes only, without secrets; nothing is kept if it cannot be written."""

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
            file.chmod(0o600)
            self._writable = True
        except OSError:
            self._writable = False
        super().__init__(str(file))

    def store_string(self, string: str) -> None:
        safe = redact(string)
        if self._writable and safe is not None:
            super().store_string(safe)
