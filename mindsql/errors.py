"""Owns every error a user can meet: its class, its stable code, its SQLSTATE, its exit and HTTP status.

    MindSQLError
    ├── StatementError       the SQL is at fault: syntax, names, types, options
    │   ├── UnknownNameError     a name that nothing has
    │   └── DataError            a value in the data does not fit
    ├── CatalogError         the state of the database forbids it: exists already, read-only, corrupt artifact
    │   ├── ConflictError        another transaction is changing the same
    │   └── AbortedError         an earlier error has ended the transaction
    ├── EngineError          an engine failed
    │   ├── EngineContractError  an engine broke its contract: rows, columns, types
    │   ├── EngineMissingError   an engine's library or environment is not installed
    │   └── EngineProcessError   an engine's own process died, or was ended
    ├── SourceError          a source of rows failed
    ├── Cancelled            the user stopped the statement
    │   └── TimeLimitError       it took longer than a server allows
    ├── AccessError          who asks may not do this: a role, a file or a host forbids it
    ├── AuthenticationError  a server's client is not known
    ├── LimitError           more than a server allows
    │   ├── TooLargeError        a body or a result is too large
    │   ├── TooSlowError         a body comes too slowly
    │   └── MemoryLimitError     a statement needs more memory than there is for it
    └── InternalError        a bug in MindSQL

An error says what is wrong, where (line, column, caret) and what to do. Foreign exceptions are turned into
these at three borders only: sqlglot (`mindsql.statements`), DuckDB (`mindsql.database`), engines
(`mindsql.executor.engines`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import ClassVar

# DB-API 2.0 (PEP 249) asks for this tree of names; ours hangs below it so that `except dbapi.Error` works.


class Warning(Exception):  # the name is PEP 249's
    """PEP 249: an important warning. MindSQL raises none; the name is part of the interface."""


class Error(Exception):
    """PEP 249: the base of all errors."""


class InterfaceError(Error):
    """PEP 249: a misuse of the interface, not of the database."""


class DatabaseError(Error):
    """PEP 249: an error of the database."""


class OperationalError(DatabaseError):
    """PEP 249: the operation failed for reasons outside the statement."""


class IntegrityError(DatabaseError):
    """PEP 249: a constraint was violated."""


class ProgrammingError(DatabaseError):
    """PEP 249: the statement is at fault."""


class NotSupportedError(DatabaseError):
    """PEP 249: not supported."""


class MindSQLError(DatabaseError):
    """Base of all errors of MindSQL.

    Args:
        message: What is wrong, naming it as the user wrote it. One sentence, no full stop needed.
        hint: What to do: the nearest name, what exists, or the command to run.
        span: `(start, end)` character offsets of the culprit in `text`.
        text: The statement (or script) that `span` points into.
    """

    code: ClassVar[str] = "ERROR"
    sqlstate: ClassVar[str] = "HY000"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        span: tuple[int, int] | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.span = span
        self.text = text

    def locate(self, text: str) -> None:
        """Say which text `span` points into, unless it is known already."""
        if self.text is None:
            self.text = text

    @property
    def line(self) -> int | None:
        """1-based line of the culprit, if known."""
        return self.position[0] if self.position else None

    @property
    def column(self) -> int | None:
        """1-based column of the culprit, if known."""
        return self.position[1] if self.position else None

    @property
    def position(self) -> tuple[int, int] | None:
        """1-based (line, column) of the culprit, if known."""
        if self.span is None or self.text is None:
            return None
        before = self.text[: self.span[0]]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def __str__(self) -> str:
        return render(self)


class StatementError(MindSQLError, ProgrammingError):
    """The SQL is at fault."""

    code = "STATEMENT"
    sqlstate = "42000"


class UnknownNameError(StatementError):
    """A name that nothing has."""

    code = "UNKNOWN_NAME"
    sqlstate = "42704"
    http_status = 404

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        span: tuple[int, int] | None = None,
        text: str | None = None,
        hint: str | None = None,
    ) -> UnknownNameError:
        """`unknown {kind} {name}`, with the nearest of `known`, or all of them when they are few."""
        return cls(f'unknown {kind} "{name}"', hint=hint or suggest(name, known), span=span, text=text)


class DataError(StatementError):
    """A value in the data does not fit."""

    code = "DATA"
    sqlstate = "22000"
    http_status = 422


class CatalogError(MindSQLError, OperationalError):
    """The state of the database forbids it."""

    code = "CATALOG"
    sqlstate = "55000"
    http_status = 409


class ConflictError(CatalogError):
    """Another transaction is changing the same."""

    code = "CONFLICT"
    sqlstate = "40001"


class AbortedError(CatalogError):
    """An earlier statement's error has ended the transaction: nothing of it can be committed."""

    code = "ABORTED"
    sqlstate = "25P02"


class EngineError(MindSQLError, OperationalError):
    """An engine failed."""

    code = "ENGINE"
    sqlstate = "38000"
    exit_status = 3
    http_status = 500


class EngineContractError(EngineError):
    """An engine broke its contract: rows, columns or types."""

    code = "ENGINE_CONTRACT"
    sqlstate = "39000"


class EngineMissingError(EngineError):
    """A library that an engine needs is not installed."""

    code = "ENGINE_MISSING"
    sqlstate = "38001"


class EngineProcessError(EngineError):
    """The process of an engine died, or was ended since it took too much."""

    code = "ENGINE_PROCESS"
    sqlstate = "38002"


class SourceError(MindSQLError, OperationalError):
    """A source of rows failed."""

    code = "SOURCE"
    sqlstate = "08000"
    exit_status = 3
    http_status = 503


class Cancelled(MindSQLError, OperationalError):
    """The user stopped the statement."""

    code = "CANCELLED"
    sqlstate = "57014"
    exit_status = 130
    http_status = 499

    def __init__(self, message: str = "the statement was stopped", *, hint: str | None = None) -> None:
        # Python itself makes one, without arguments, when a thread of an engine is stopped.
        super().__init__(message, hint=hint)


class TimeLimitError(Cancelled):
    """The statement took longer than the server allows."""

    code = "TIME_LIMIT"
    exit_status = 3
    http_status = 503


class AccessError(MindSQLError, ProgrammingError):
    """Who asks may not do this: a role, a file or a host forbids it."""

    code = "ACCESS"
    sqlstate = "42501"
    http_status = 403


class AuthenticationError(MindSQLError, OperationalError):
    """The client is not known."""

    code = "AUTHENTICATION"
    sqlstate = "28000"
    http_status = 401


class LimitError(MindSQLError, OperationalError):
    """More than the server allows: sessions, requests, rows.

    Args:
        retry_after: Seconds after which it is worth asking again, when that is known.
    """

    code = "LIMIT"
    sqlstate = "53000"
    http_status = 429

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TooLargeError(LimitError):
    """A body or a result is larger than the server allows."""

    code = "TOO_LARGE"
    sqlstate = "54000"
    http_status = 413


class TooSlowError(LimitError):
    """A body comes too slowly."""

    code = "TOO_SLOW"
    http_status = 408


class MemoryLimitError(LimitError):
    """The statement needs more memory than there is for it."""

    code = "MEMORY_LIMIT"
    sqlstate = "53200"
    exit_status = 3
    http_status = 503


class InternalError(MindSQLError):
    """A bug in MindSQL."""

    code = "INTERNAL"
    sqlstate = "XX000"
    http_status = 500


def suggest(name: str, known: Iterable[str], *, most: int = 12) -> str | None:
    """A hint: the nearest known name, or the list of what exists; None when nothing exists."""
    import difflib  # only an error needs it, and a start should not pay for it

    names = sorted({str(k) for k in known})
    if not names:
        return None
    folded = {k.casefold(): k for k in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    listed = ", ".join(names[:most]) + (", …" if len(names) > most else "")
    if near:
        others = f"; there are: {listed}" if len(names) > 1 else ""
        return f'did you mean "{folded[near[0]]}"?{others}'
    return f"there are: {listed}"


def spoken(error: BaseException) -> str:
    """What an exception says, as text that can be written anywhere; its own words may fail, or be no Unicode."""
    try:
        text = str(error)
    except Exception as failure:  # __str__ is anybody's code, too
        return f"(its text cannot be had: {type(failure).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()


def innermost(error: BaseException) -> str:
    """`file.py:12 in function`: where an exception was raised, in whatever process."""
    import traceback
    from pathlib import Path

    frames = traceback.extract_tb(error.__traceback__)
    elsewhere: str | None = getattr(error, "place", None)
    if elsewhere is not None:
        return elsewhere
    if not frames:
        return "an unknown place"
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}"


def render(error: MindSQLError) -> str:
    """The whole text of an error: message, the line with a caret below the culprit, the hint."""
    # Worker processes import this module, of Pythons that cannot read those patterns.
    from mindsql.redaction import redact_in_place

    lines = [error.message]
    if error.position is not None and error.span is not None and error.text is not None:
        line, column = error.position
        source = redact_in_place(error.text).split("\n")[line - 1]
        width = max(1, min(error.span[1] - error.span[0], len(source) - column + 1))
        # Long lines (generated SQL) are cut to a window around the culprit.
        left = max(0, column - 1 - 60)
        shown = source[left : left + 120]
        label = f"line {line}, column {column}: "
        lines.append(label + shown)
        lines.append(" " * (len(label) + column - 1 - left) + "^" * min(width, 120))
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines)


def alone(error: MindSQLError) -> MindSQLError:
    """An error without the long way that it came: what is wrong is in its words. An engine's own stays with it."""
    if not isinstance(error, EngineError) and not os.environ.get("MINDSQL_TRACEBACK"):
        error.__cause__ = error.__context__ = None
        error.__suppress_context__ = True
        return error.with_traceback(None)
    return error
