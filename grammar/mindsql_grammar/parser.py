"""Owns the reading of a text into statements: it looks at the first words and calls the reader for them."""

from __future__ import annotations

import re

from mindsql_grammar import definitions, models
from mindsql_grammar.cursor import Cursor
from mindsql_grammar.errors import ParseError
from mindsql_grammar.lexer import tokenize
from mindsql_grammar.query import read_query
from mindsql_grammar.splitter import Piece, leading_words, skip_blank, split
from mindsql_grammar.statements import DuckDB, Explain, Query, Span, Statement
from mindsql_grammar.suggest import misspelt, unknown_verb
from mindsql_grammar.words import DUCKDB_OBJECTS, DUCKDB_VERBS, QUERY_VERBS, word_set

_WORD = re.compile(r"[^\W\d]\w*")
_MODIFIERS = word_set("TEMP TEMPORARY UNIQUE PERSISTENT RECURSIVE MATERIALIZED LOCAL GLOBAL")
_QUERY_STARTS = word_set("SELECT WITH FROM VALUES TABLE PIVOT UNPIVOT")


def parse(text: str) -> list[Statement]:
    """The statements of `text`.

    Raises:
        ParseError: Some statement is none of ours and none of DuckDB's.
    """
    return [_read(text, piece) for piece in split(text)]


def parse_one(text: str) -> Statement:
    """The one statement of `text`; a `;` may follow it.

    Raises:
        ParseError: It is none, or there are several or none at all.
    """
    pieces = split(text)
    if not pieces:
        raise ParseError("there is no statement", (len(text), len(text)), text)
    if len(pieces) > 1:
        second = pieces[1]
        raise ParseError(
            "expected one statement, found another",
            (second.start, second.start + len(second.text)),
            text,
            "use parse() for a script",
        )
    return _read(text, pieces[0])


def parse_query(text: str) -> Query:
    """The one query of `text`.

    Raises:
        ParseError: It is another statement, or none.
    """
    statement = parse_one(text)
    if not isinstance(statement, Query):
        raise ParseError(
            "expected a query", (statement.span.start, statement.span.end), text, "write SELECT …"
        )
    return statement


def _read(whole: str, piece: Piece) -> Statement:
    try:
        return _statement(whole, piece.text, piece.start)
    except RecursionError as error:
        span = (piece.start, piece.start + len(piece.text))
        raise ParseError("the statement is nested too deeply", span, whole) from error


def _statement(whole: str, text: str, base: int) -> Statement:
    """The statement `text`, which stands at `base` in `whole` and has no blanks round it."""
    span = Span(base, base + len(text))
    match = _WORD.match(text)
    verb = match.group().upper() if match else ""
    if verb in ("PREPARE", "EXECUTE", "DEALLOCATE"):
        cursor = _cursor(whole, text, base)
        if verb == "PREPARE":
            return definitions.prepare(cursor, span) or DuckDB(text, span=span)
        return definitions.execute(cursor, span) if verb == "EXECUTE" else definitions.deallocate(cursor, span)
    if verb in DUCKDB_VERBS:
        return DuckDB(text, span=span)
    if verb == "EXPLAIN":
        return _explain(whole, text, base, span)
    if verb in QUERY_VERBS or (not verb and text[0] == "("):
        return _query(whole, text, base, span)
    if verb == "COPY":
        return _copy(whole, text, base, span)
    if verb == "CREATE":
        return _create(whole, text, base, span)
    if verb == "SHOW":
        return definitions.show(_cursor(whole, text, base), span)
    if verb in ("DESCRIBE", "DESC"):
        return definitions.describe(_cursor(whole, text, base), span)
    if verb == "SET":
        return definitions.set_one(_cursor(whole, text, base), span)
    if verb == "RESET":
        return definitions.reset(_cursor(whole, text, base), span)
    if verb == "DROP":
        return _drop(whole, text, base, span)
    if verb == "USE":
        return definitions.use(_cursor(whole, text, base), span)
    if verb in ("RETRAIN", "FINETUNE", "EVALUATE"):
        cursor = _cursor(whole, text, base)
        if verb == "RETRAIN":
            return models.retrain(cursor, span)
        return models.finetune(cursor, span) if verb == "FINETUNE" else models.evaluate(cursor, span)
    raise misspelt(whole, text, base) or unknown_verb(whole, text, base)


def _cursor(whole: str, text: str, base: int) -> Cursor:
    """A cursor after the first word."""
    source, tokens = tokenize(whole, text, base)
    return Cursor(source, tokens, 1)


def _query(whole: str, text: str, base: int, span: Span) -> Statement:
    if text[:6].upper() == "UPDATE" and [w[0] for w in leading_words(text, 2)] == ["UPDATE", "EXTENSIONS"]:
        return DuckDB(text, span=span)
    source, tokens = tokenize(whole, text, base)
    return read_query(Cursor(source, tokens)) or DuckDB(text, span=span)


def _copy(whole: str, text: str, base: int, span: Span) -> Statement:
    """`COPY (query) TO …` is a query; the rest of COPY is DuckDB's."""
    if not text.startswith("(", skip_blank(text, 4)):
        return DuckDB(text, span=span)
    source, tokens = tokenize(whole, text, base)
    return read_query(Cursor(source, tokens)) or DuckDB(text, span=span)


def _explain(whole: str, text: str, base: int, span: Span) -> Statement:
    words = leading_words(text, 2)
    analyze = len(words) > 1 and words[1][0] == "ANALYZE"
    start = skip_blank(text, words[1 if analyze else 0][2])
    if start >= len(text):
        raise ParseError("EXPLAIN needs a statement", (span.end, span.end), whole, "write EXPLAIN SELECT …")
    if text[start] == "(" and not _opens_query(text, start):
        return DuckDB(text, span=span)  # EXPLAIN (FORMAT json) …
    return Explain(_statement(whole, text[start:], base + start), analyze, text, span=span)


def _opens_query(text: str, position: int) -> bool:
    while text.startswith("(", position):
        position = skip_blank(text, position + 1)
    match = _WORD.match(text, position)
    return match is not None and match.group().upper() in _QUERY_STARTS


def _create(whole: str, text: str, base: int, span: Span) -> Statement:
    words = [w[0] for w in leading_words(text, 6)] + [""] * 6
    at = 1
    or_replace = words[1:3] == ["OR", "REPLACE"]
    at += 2 if or_replace else 0
    plain = words[at] not in _MODIFIERS
    while words[at] in _MODIFIERS:
        at += 1
    kind = words[at]
    if kind in ("MODEL", "PREDICTOR", "ANOMALY", "ML_ENGINE", "PROJECT", "DATABASE") and plain:
        cursor = _cursor(whole, text, base)
        cursor.index = at
        return _create_ours(cursor, span, kind, or_replace)
    if kind == "VIEW":
        source, tokens = tokenize(whole, text, base)
        view = definitions.create_view(Cursor(source, tokens, at + 1), span, or_replace) if plain else None
        return view or read_query(Cursor(source, tokens)) or DuckDB(text, span=span)
    if kind == "TABLE":
        source, tokens = tokenize(whole, text, base)
        table = definitions.create_table(Cursor(source, tokens, at + 1))
        return (read_query(table) if table else None) or DuckDB(text, span=span)
    if kind in DUCKDB_OBJECTS:
        return DuckDB(text, span=span)
    raise misspelt(whole, text, base) or unknown_verb(whole, text, base, 1)


def _create_ours(cursor: Cursor, span: Span, kind: str, or_replace: bool) -> Statement:
    token = cursor.take()
    if kind in ("MODEL", "PREDICTOR"):
        return models.create_model(cursor, span, or_replace=or_replace, anomaly=False)
    if kind == "ANOMALY":
        cursor.expect("DETECTION", "CREATE ANOMALY")
        cursor.expect("MODEL", "CREATE ANOMALY DETECTION")
        return models.create_model(cursor, span, or_replace=or_replace, anomaly=True)
    if kind == "DATABASE":
        return definitions.create_database(cursor, span, or_replace)
    if kind == "ML_ENGINE":
        return models.create_engine(cursor, span, or_replace)
    if or_replace:
        raise cursor.error(
            f"CREATE {kind} has no OR REPLACE", token, hint=f"write CREATE {kind} IF NOT EXISTS …"
        )
    return definitions.create_project(cursor, span)


def _drop(whole: str, text: str, base: int, span: Span) -> Statement:
    words = [w[0] for w in leading_words(text, 2)] + [""]
    if words[1] in DUCKDB_OBJECTS or words[1] in _MODIFIERS:
        return DuckDB(text, span=span)
    if words[1] in ("MODEL", "PREDICTOR", "ML_ENGINE", "PROJECT", "DATABASE", "VIEW"):
        return definitions.drop(_cursor(whole, text, base), span)
    raise misspelt(whole, text, base) or unknown_verb(whole, text, base, 1)
