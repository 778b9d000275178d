"""Owns how errors look to a MySQL client: the number and SQLSTATE of each, and its text."""

from __future__ import annotations

import logging
import re
import uuid
from typing import NamedTuple

from mindsql.errors import (
    Cancelled,
    CatalogError,
    DataError,
    InternalError,
    MindSQLError,
    StatementError,
    TimeLimitError,
    UnknownNameError,
)

log = logging.getLogger(__name__)

UNKNOWN = (1105, "HY000")
_CODES = {
    "ACCESS": (1142, "42000"),
    "AUTHENTICATION": (1045, "28000"),
    "ABORTED": (1180, "HY000"),
    "LIMIT": (1226, "42000"),
    "TOO_LARGE": (1153, "08S01"),
}
# The first that fits. What DuckDB and we say is told apart by its words: neither numbers its errors.
_PATTERNS: tuple[tuple[type[MindSQLError], str, tuple[int, str]], ...] = (
    (MindSQLError, r"duplicate key|UNIQUE constraint violation", (1062, "23000")),
    (MindSQLError, r"NOT NULL constraint failed", (1048, "23000")),
    (MindSQLError, r"still referenced|referenced by", (1451, "23000")),
    (MindSQLError, r"foreign key constraint", (1452, "23000")),
    (MindSQLError, r"CHECK constraint", (3819, "HY000")),
    (UnknownNameError, r"function", (1305, "42000")),
    (UnknownNameError, r"configuration parameter", (1193, "HY000")),
    (UnknownNameError, r"\bcolumn\b", (1054, "42S22")),
    (UnknownNameError, r"^unknown (?:ml_)?engine|\bhandler\b", (1286, "42000")),
    (UnknownNameError, r"catalog|schema|database|project|source", (1049, "42000")),
    (UnknownNameError, r"", (1146, "42S02")),
    (DataError, r"out of range|overflow", (1264, "22003")),
    (DataError, r"", (1292, "22007")),
    (StatementError, r"ambiguous", (1052, "23000")),
    (StatementError, r"column .*(?:not found|does not exist)|does not have a column", (1054, "42S22")),
    (StatementError, r"no (?:table|model)|unknown table", (1146, "42S02")),
    (StatementError, r"", (1064, "42000")),
    (CatalogError, r"already exists|exists already", (1050, "42S01")),
    (CatalogError, r"read-only", (1290, "HY000")),
    (CatalogError, r"conflict", (1213, "40001")),
)


class MySQLError(MindSQLError):
    """An error that only this protocol has.

    Args:
        message: What is wrong.
        number: MySQL's number for it.
        state: Its SQLSTATE.
    """

    def __init__(self, message: str, number: int, state: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number
        self.state = state


class Failure(NamedTuple):
    """What an error packet says."""

    number: int
    state: str
    message: str


def failure(error: BaseException) -> Failure:
    """How an exception is told to the client; of a bug only a mark by which to find it in the log."""
    if not isinstance(error, MindSQLError):
        mark = uuid.uuid4().hex[:8]
        log.error("a bug, %s", mark, exc_info=error)
        error = InternalError(f"a bug in MindSQL; the server's log tells more under {mark}")
    return Failure(*number(error), str(error))


def number(error: BaseException) -> tuple[int, str]:
    """MySQL's number and SQLSTATE for an error."""
    if isinstance(error, MySQLError):
        return error.number, error.state
    if isinstance(error, Cancelled):
        return (3024, "HY000") if isinstance(error, TimeLimitError) else (1317, "70100")
    if not isinstance(error, MindSQLError):
        return UNKNOWN
    if error.code in _CODES:
        return _CODES[error.code]
    for kind, words, found in _PATTERNS:
        if isinstance(error, kind) and re.search(words, error.message, re.I):
            return found
    return UNKNOWN
