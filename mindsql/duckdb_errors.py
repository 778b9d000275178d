"""Owns what DuckDB's client raises, and which of our errors says it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from mindsql.errors import (
    AbortedError,
    AccessError,
    Cancelled,
    CatalogError,
    ConflictError,
    DataError,
    InternalError,
    MemoryLimitError,
    MindSQLError,
    StatementError,
    UnknownNameError,
)

_UNFIT = "TRY_CAST(… AS …) gives NULL where a value does not fit"
_TYPE_FAILED = (duckdb.ConversionException, duckdb.OutOfRangeException)
_HOLDER = re.compile(r"held in (.+?) \(PID (\d+)\)")
_LINE = re.compile(r"\n+LINE (\d+): (.*)\n( *)\^", re.S)
_KIND = re.compile(r"^[A-Z][A-Za-z]*(?: (?:of|[A-Z][a-z]+))* Error: ")  # "Out of Range Error: "
_NAMED = re.compile('"+([^"]+)"')
_CONFLICT = re.compile("[Cc]onflict|dependency")
_NO_FUNCTION = re.compile(
    r"(?:No function matches the given name and argument types '|"
    r"Could not choose a best candidate function for the function call \")(.+?)['\"]\."
)

_CARRIED: dict[int, MindSQLError] = {}
_CARRIED_TEXT = re.compile(r"mindsql error (\d+)")
_MOST_CARRIED = 1000
_NUMBERS = itertools.count()

FAILED = (duckdb.Error, RuntimeError, OSError)
"""What DuckDB's client raises, for `translate_any`."""


def translate_any(error: BaseException, text: str | None = None) -> BaseException:
    """What DuckDB's client raised as one of ours; an exception that is none of its own comes back as it is."""
    if isinstance(error, duckdb.Error):
        return translate(error, text)
    if isinstance(error, OSError):
        return translate_text(str(error))  # it came through an Arrow stream
    # DuckDB reports Ctrl-C this way when it notices the signal itself.
    return Cancelled("the statement was stopped") if str(error) == "Query interrupted" else error


@contextmanager
def translated(text: str | None = None) -> Iterator[None]:
    """The DuckDB border: its exceptions leave as ours, the original as their cause."""
    try:
        yield
    except FAILED as error:
        translation = translate_any(error, text)
        if translation is error:
            raise
        raise translation from error


def translate(error: duckdb.Error, text: str | None = None) -> MindSQLError:
    """One DuckDB exception as one of ours: its message without the kind, its line as our span."""
    message = _KIND.sub("", str(error)).strip()
    if isinstance(error, duckdb.InterruptException):
        return Cancelled("the statement was stopped")
    if (carried_over := _carried_over(message)) is not None:
        return carried_over
    if "Could not set lock on file" in message or "Conflicting lock" in message:
        holder = _HOLDER.search(message)
        who = f": {os.path.basename(holder[1])}, process {holder[2]}" if holder is not None else ""
        return CatalogError(
            f"the database file is open in another process{who}; only one may have it open for writing",
            hint="close the other one, or connect through a server",
        )
    if "corrupt database file" in message.casefold() or isinstance(error, duckdb.SerializationException):
        return CatalogError(f"the database file is damaged: {message}", hint="restore it from a copy")
    span: tuple[int, int] | None = None
    where = _LINE.search(message)
    if where is not None:
        span = _span(text, int(where[1]), where[2], len(where[3]) - len(f"LINE {where[1]}: "))
        message = message[: where.start()]
    hint: str | None = None
    call = _NO_FUNCTION.match(message)
    found = re.search(r"\n\s*(Did you mean[ :].*|Candidate .*|\* .*)", message, re.S)
    if call is not None:
        # DuckDB lists all candidates, a hundred of them for an operator.
        message, hint = f"there is no '{call[1]}' for these types", "cast an argument: CAST(… AS DOUBLE)"
    elif found is not None:
        hint = " ".join(found[1].split())
        hint = hint[0].lower() + hint[1:]
        message = message[: found.start()]
    if "Current transaction is aborted" in message:
        return AbortedError(
            "an error of an earlier statement has ended the transaction", hint="ROLLBACK, and begin anew"
        )
    if isinstance(error, duckdb.TransactionException) and _CONFLICT.search(message):
        # DuckDB names what is meant as its catalog does: "Schema\0main\0Table\0main\0t".
        named = _NAMED.search(message)
        what = '"' + ".".join(named[1].split("\\0")[-2:]) + '"' if named is not None else "the same rows"
        return ConflictError(
            f"conflict: another transaction has changed {what}", hint="try again when it has ended"
        )
    message = message.strip()
    message = message[:1].lower() + message[1:] if message[1:2].islower() else message
    kwargs: dict[str, Any] = {"hint": hint, "span": span, "text": text if span else None}
    if isinstance(error, duckdb.CatalogException):
        if "already exists" in message:
            return CatalogError(message, **kwargs)
        return UnknownNameError(message, **kwargs)
    unknown = isinstance(error, duckdb.BinderException) and message.startswith("referenced column")
    if unknown and text is not None and span is not None and text[span[0]] == '"':
        written = text[span[0] : span[1]].strip('"')
        kwargs["hint"] = f"a text stands in single quotes: '{written}'; double quotes are for names"
    if isinstance(error, _TYPE_FAILED):
        return DataError(message, **{**kwargs, "hint": hint or _UNFIT})
    if isinstance(error, duckdb.PermissionException):
        return AccessError(message, **kwargs)
    if isinstance(error, duckdb.OutOfMemoryException):
        return MemoryLimitError(
            f"the statement needs more memory than there is: {message.splitlines()[0]}",
            hint="ask for less at once, or SET memory_limit (a server: --memory-limit)",
        )
    if isinstance(error, (duckdb.IOException, duckdb.TransactionException)):
        return CatalogError(message, **kwargs)
    if isinstance(error, duckdb.InternalException):
        return InternalError(message, **kwargs)
    if isinstance(error, duckdb.InvalidInputException) and "read-only mode" in message:
        return read_only_error()
    return StatementError(message, **kwargs)


def read_only_error() -> CatalogError:
    """A database that is open read-only cannot be changed."""
    return CatalogError(
        "the database is open read-only",
        hint="open it without --read-only, or connect without read_only = True",
    )


def _span(text: str | None, line: int, shown: str, offset: int) -> tuple[int, int] | None:
    """Where DuckDB's caret stands in the statement. Long lines are shown cut, with `...`."""
    if text is None or line > text.count("\n") + 1 or offset < 0:
        return None
    begin = sum(len(part) + 1 for part in text.split("\n")[: line - 1])
    source = text.split("\n")[line - 1]
    if shown.startswith("...") or source != shown:
        cut = shown.removeprefix("...").removesuffix("...")
        at = source.find(cut)
        if at < 0:
            return None
        offset = offset - (3 if shown.startswith("...") else 0) + at
    start = begin + offset
    word = re.match(r'"(?:[^"]|"")*"|\w+|.', text[start:] or " ")
    return start, start + (word.end() if word else 1)


def translate_text(text: str) -> MindSQLError:
    """A DuckDB error that reached us through an Arrow stream, as its text alone."""
    message = re.sub(r"^.*?(?=[A-Z][A-Za-z]*(?: (?:of|[A-Z][a-z]+))* Error: )", "", text, flags=re.S) or text
    if "INTERRUPT" in text or "Interrupted" in text:
        return Cancelled("the statement was stopped")
    if (carried_over := _carried_over(text)) is not None:
        return carried_over
    told = _KIND.sub("", message).strip()
    return DataError(told, hint=_UNFIT) if message.startswith(("Conversion", "Out of Range")) else StatementError(told)


@contextmanager
def carried() -> Iterator[None]:
    """Lets an error of ours pass through DuckDB, which hands on no more of an exception than its text."""
    try:
        yield
    except MindSQLError as error:
        number = next(_NUMBERS)
        _CARRIED[number] = error
        _CARRIED.pop(number - _MOST_CARRIED, None)
        raise RuntimeError(f"mindsql error {number}") from error


def _carried_over(text: str) -> MindSQLError | None:
    found = _CARRIED_TEXT.search(text)
    return _CARRIED.pop(int(found[1]), None) if found is not None else None


@contextmanager
def ignored() -> Iterator[None]:
    """For cleaning up: what DuckDB says then matters to nobody."""
    with suppress(duckdb.Error, RuntimeError):
        yield
