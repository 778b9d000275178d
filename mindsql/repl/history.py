"""Owns the history of the prompt: where it is kept, and that no secret gets into it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prompt_toolkit.history import FileHistory

_KEY = (
    r"[\w.]*(?:api_?key|passw(?:or)?d|passphrase|pwd|token(?!s)|secret|credential|private_?key|access_?key|key_id"
    r"|authorization)[\w.]*"
)
_STRING = r"'(?:[^']|'')*(?:'|\Z)|\"(?:[^\"]|\"\")*(?:\"|\Z)|(?P<dollar>\$\w*\$).*?(?:(?P=dollar)|\Z)"
# `api_key = 'x'`, `"token": "x"`, `password=x` inside a connection string, and DuckDB's `SECRET 'x'`.
_SECRET = re.compile(
    rf"(?P<key>(?:{_KEY})[\"']?\s*(?:=>?|:)\s*|(?:{_KEY})\s+(?=['$]))"
    rf"(?!env\s*\()(?P<value>{_STRING}|[^\s,;'\"(){{}}\[\]]+|[{{\[(])",
    re.IGNORECASE | re.DOTALL,
)
_URL = re.compile(r"(://[^:/@\s'\"]*:)[^@\s'\"]+@")


def redact(text: str) -> str | None:
    """The text with `***` for what looks like a secret; None when it is not clear where that ends."""
    if any(match["value"] in ("{", "[", "(") for match in _SECRET.finditer(text)):
        return None
    return _URL.sub(r"\1***@", _SECRET.sub(r"\g<key>'***'", text))


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
