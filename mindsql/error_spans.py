"""Owns where an error stands in the user's text when DuckDB found it in a statement that we wrote."""

from __future__ import annotations

import re

from mindsql.errors import MindSQLError, StatementError

_NAME = r'(?:"(?:[^"]|"")*"|[^\W\d]\w*)'
_CHAIN = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*")
_PART = re.compile(_NAME)
# How DuckDB names the culprit when it says no place.
_NAMED = (
    re.compile(r'column(?: named)? "([^"]+)"'),
    re.compile(r'with name "?([^" ]+)"? does not exist'),
    re.compile(r"^there is no '([^'(]+)\("),
)
_SKIPPED = r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/"


def relocated(error: MindSQLError, text: str) -> MindSQLError:
    """Move an error's place from another statement into the user's, or forget it. Returns the error."""
    if error.text == text or (error.text is None and error.span is not None):
        return error
    if error.text is None and not isinstance(error, StatementError):
        return error
    named = next(filter(None, (pattern.search(error.message) for pattern in _NAMED)), None)
    found = _find([named[1]], text) if named is not None else None
    if error.text is None:
        error.span = found
        return error
    culprit = _CHAIN.match(error.text, error.span[0]) if error.span is not None else None
    if culprit is not None:
        parts = [part.strip('"').replace('""', '"') for part in _PART.findall(culprit[0])]
        # A name that we qualified may stand alone in the user's text.
        found = _find(parts, text) or (_find(parts[-1:], text) if len(parts) > 1 else None)
    error.text = None
    error.span = found
    return error


def _find(parts: list[str], text: str) -> tuple[int, int] | None:
    names = [rf'(?:"{re.escape(part)}"|`{re.escape(part)}`|(?<!\w){re.escape(part)}(?!\w))' for part in parts]
    pattern = re.compile(_SKIPPED + "|(" + r"\s*\.\s*".join(names) + ")", re.S | re.I)
    return next((match.span(1) for match in pattern.finditer(text) if match[1] is not None), None)
