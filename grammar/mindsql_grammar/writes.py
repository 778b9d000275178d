"""Owns the reading of statements that write to a table which may be another database's: whose it is, the core knows."""

from __future__ import annotations

from sqlglot import TokenType

from mindsql_grammar.cursor import Cursor
from mindsql_grammar.errors import ParseError
from mindsql_grammar.lexer import tokenize
from mindsql_grammar.splitter import split
from mindsql_grammar.statements import Name, Span, Write
from mindsql_grammar.words import word_set

_VERBS = word_set("INSERT CREATE DROP WITH")
_QUERIES = word_set("SELECT WITH FROM VALUES")


def parse_write(text: str) -> Write | None:
    """The one statement of `text` as a Write; None when it is none, or of a form that only DuckDB's tables take."""
    pieces = split(text)
    if len(pieces) != 1:
        return None
    source, tokens = tokenize(text, pieces[0].text, pieces[0].start)
    cursor = Cursor(source, tokens)
    if cursor.word() not in _VERBS:
        return None
    try:
        if cursor.accept("DROP", "TABLE"):
            return _drop(cursor)
        return _create(cursor, text) if cursor.accept("CREATE") else _insert(cursor, text)
    except ParseError:
        return None  # DuckDB says what is wrong


def _drop(cursor: Cursor) -> Write | None:
    exists = cursor.accept("IF", "EXISTS")
    target, place = _name(cursor)
    return Write("drop", target, place, exists=exists) if cursor.done() else None


def _create(cursor: Cursor, text: str) -> Write | None:
    replace = cursor.accept("OR", "REPLACE")
    if not cursor.accept("TABLE"):
        return None
    exists = cursor.accept("IF", "NOT", "EXISTS")
    target, place = _name(cursor)
    bare = cursor.kind() is TokenType.L_PAREN and cursor.word(1) in _QUERIES  # CREATE TABLE t (SELECT …)
    if not (cursor.accept("AS") or bare) or cursor.done():
        return None
    query = _without(text, cursor.span(0, 1).start, cursor.span(cursor.index, cursor.end).start)
    return Write("create", target, place, query, or_replace=replace, exists=exists)


def _insert(cursor: Cursor, text: str) -> Write | None:
    """`[WITH …] INSERT INTO t [BY NAME | BY POSITION] [(columns)] query`."""
    depth = 0
    while not cursor.done() and (depth or cursor.word() != "INSERT"):
        kind = cursor.take().token_type
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
    start = cursor.span(cursor.index, cursor.end).start
    if not cursor.accept("INSERT", "INTO"):
        return None
    target, place = _name(cursor)
    by_name = cursor.accept("BY", "NAME")
    if not by_name:
        cursor.accept("BY", "POSITION")
    columns: list[str] = []
    if cursor.kind() is TokenType.L_PAREN and cursor.word(1) not in _QUERIES:
        cursor.take()
        columns.append(cursor.single_name("a column"))
        while cursor.accept_kind(TokenType.COMMA):
            columns.append(cursor.single_name("a column"))
        if not cursor.accept_kind(TokenType.R_PAREN):
            return None
    if cursor.done() or cursor.word() == "DEFAULT":
        return None
    query = _without(text, start, cursor.span(cursor.index, cursor.end).start)
    return Write("insert", target, place, query, columns=tuple(columns), by_name=by_name)


def _name(cursor: Cursor) -> tuple[Name, Span]:
    at = cursor.index
    return cursor.name("the name of a table"), cursor.span(at, cursor.index)


def _without(text: str, start: int, end: int) -> str:
    """The text with blanks for a part of it, so that what is left stands where it stood."""
    blank = "".join(character if character.isspace() else " " for character in text[start:end])
    return text[:start] + blank + text[end:]
