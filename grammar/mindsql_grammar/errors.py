"""Owns the grammar's one exception: a text that is no statement, where, and what was meant."""

from __future__ import annotations


class ParseError(Exception):
    """A text that is no statement of MindSQL.

    Args:
        message: What is wrong, naming it as it was written.
        span: `(start, end)` character offsets of the culprit in `text`.
        text: The whole text that was parsed.
        hint: What was meant, or what may stand there.
    """

    def __init__(self, message: str, span: tuple[int, int], text: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.text = text
        self.hint = hint

    @property
    def line(self) -> int:
        """1-based line of the culprit."""
        return self.text.count("\n", 0, self.span[0]) + 1

    @property
    def column(self) -> int:
        """1-based column of the culprit."""
        return self.span[0] - (self.text.rfind("\n", 0, self.span[0]) + 1) + 1
