"""Whatever is typed, `parse` gives statements or a ParseError with a span inside the text."""

from __future__ import annotations

import grammar_corpus as corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from mindsql_grammar import KEYWORDS, ParseError, is_complete, parse, parse_one, suggest_verb, to_sql
from mindsql_grammar.statements import Env, Option, Parameter, Value
from mindsql_grammar.writer import value_sql

SOUP = """
m y t a.b m.3 src DETECTION BY ENGINE ( ) , = . ; { } [ ] : - + * ? $1 $n 'x' "y" `z` 1 2.5 .5 1e3 'open "open
`open $$ -- /* */ E'a\\'b' INSERT INTO VALUES COPY TO DELETE TABLE JOIN ON env('X') @ # % ~ é $ ü' ORDER GROUP
"""
WORDS = [*KEYWORDS, *SOUP.split(), "\n", "ORDER BY", "GROUP BY"]
EXAMPLES = [*corpus.lines("identity.sql"), *corpus.statements("documents.sql")]


def _check(text: str) -> None:
    is_complete(text)
    suggest_verb(text)
    try:
        statements = parse(text)
    except ParseError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)
        assert error.message
        assert error.text == text
        assert error.line >= 1
        assert error.column >= 1
        return
    for statement in statements:
        assert 0 <= statement.span.start <= statement.span.end <= len(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=16))
def test_words_in_any_order(words: list[str]) -> None:
    _check(" ".join(words))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["", *WORDS])), max_size=3),
)
def test_good_statements_with_words_put_in_or_taken_out(text: str, edits: list[tuple[int, str]]) -> None:
    words = text.split(" ")
    for place, word in edits:
        at = place % len(words)
        words[at : at + (word == "")] = [word] if word else []
        if not words:
            return
    _check(" ".join(words))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 400))
def test_good_statements_cut_off(text: str, length: int) -> None:
    _check(text[:length])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    _check(text)


def test_deep_nesting_is_an_error() -> None:
    for text in ("(" * 9999, "SELECT " + "(" * 9999, "CREATE MODEL m PREDICT y USING a = " + "[" * 9999):
        _check(text)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SCALARS: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    TEXT.filter(bool).map(Env),
    st.integers(1, 99).map(lambda number: Parameter(str(number))),
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_a_value_comes_back(value: Value) -> None:
    statement = parse_one(f"RETRAIN m USING a = {value_sql(value)}")
    options: tuple[Option, ...] = statement.options  # type: ignore[attr-defined]
    assert options[0].value == value
    assert type(options[0].value) is type(value)
    assert parse_one(to_sql(statement)) == statement


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT.filter(bool), min_size=1, max_size=3))
def test_a_name_comes_back(parts: list[str]) -> None:
    written = ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    statement = parse_one(f"DESCRIBE MODEL {written}")
    assert statement.name == tuple(parts)  # type: ignore[attr-defined]
    assert parse_one(to_sql(statement)) == statement
