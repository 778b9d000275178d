"""Owns statements that DuckDB can read and our parser cannot: what asks a model is answered first, each parenthesised
query by itself, and DuckDB gets the rest as it was written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql import database, queries
from mindsql.errors import MindSQLError
from mindsql.execution import ExecutionContext
from mindsql.statements import leading_word

if TYPE_CHECKING:
    from mindsql.session import Session

_WORDS = frozenset(
    {"SELECT", "WITH", "FROM", "VALUES", "PIVOT", "UNPIVOT", "INSERT", "UPDATE", "DELETE", "COPY", "SET", "CALL"}
)
"""Leading words of statements that run once. A view or a macro would keep the answers of the moment."""

_NEW_TABLE = re.compile(r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?TABLE\b", re.I)


def without_models(
    session: Session, text: str, parameters: Mapping[str, Any], execution: ExecutionContext
) -> tuple[str, dict[str, Any]] | None:
    """The statement with a table of answers in place of each query that asks a model, and its parameters.

    None when the statement is wrong, or what is left of it names a model and cannot be read: then the parser's error
    stands.
    """
    if leading_word(text) not in _WORDS and _NEW_TABLE.match(text) is None:
        return None
    words, places = grammar.parenthesised(text)
    found: list[tuple[int, int, grammar.Query]] = []
    for start, end in places:
        if found and start < found[-1][1]:
            continue
        query = _query(session, words.slice(start, end, []))
        if query is not None:
            found.append((start, end, query))
    free = (name for name in (f"__answers{number}" for number in itertools.count()) if name not in text.casefold())
    tables = list(itertools.islice(free, len(found)))
    edits = [(start, end, f"FROM {name}") for (start, end, _), name in zip(found, tables, strict=True)]
    rest = words.slice(0, len(text), edits)
    if not found:
        return None
    if not (_is_duckdbs(session, rest) and not session.names_ours(rest)) and not _is_read(rest):
        return None
    for (start, _, query), name in zip(found, tables, strict=True):
        try:
            answers, _ = queries.rows(session, query, parameters, execution)
        except MindSQLError as error:
            if error.span is not None:
                error.span = (error.span[0] + start, error.span[1] + start)
                error.text = text
            raise
        session.raw.register(name, answers)
        execution.on_close(partial(_forget, session, name))
    return rest, {name: value for name, value in parameters.items() if f"${name}" in rest}


def _forget(session: Session, name: str) -> None:
    session.raw.unregister(name)


def is_unread(statement: object, text: str) -> bool:
    """Whether a statement may ask models that our parser has not seen: those in SET VARIABLE v = (SELECT …)."""
    if isinstance(statement, grammar.DuckDB):
        return leading_word(text) in ("SET", "CALL") and "(" in text
    return _has_inner_pivot(statement, text)


def _has_inner_pivot(statement: object, text: str) -> bool:
    """Whether a query holds PIVOT as a statement within it. DuckDB reads such a query's rows twice, first to see which
    columns there are."""
    if not isinstance(statement, grammar.Query) or "pivot" not in text.casefold():
        return False  # most statements: their trees need not be walked
    pivots = statement.tree.find_all(exp.Pivot)
    return any(pivot.parent is not None and pivot.arg_key != "pivots" for pivot in pivots)


def _query(session: Session, text: str) -> grammar.Query | None:
    """The query that a text is, when it asks a model and can be run by itself."""
    if not session.names_ours(text):
        return None
    try:
        statement = grammar.parse_one(text)
    except grammar.ParseError:
        return None
    if not isinstance(statement, grammar.Query) or statement.options or _has_inner_pivot(statement, text):
        return None
    return statement


def _is_read(text: str) -> bool:
    try:
        grammar.parse_one(text)
    except grammar.ParseError:
        return False
    return True


def _is_duckdbs(session: Session, text: str) -> bool:
    try:
        database.statement_kinds(session.raw, text)
    except ValueError:
        return True
    except MindSQLError:
        return False
    return True
