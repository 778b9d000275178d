"""Texts that a pattern could cut in more ways than there is time for: each is read at once, or this file never ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import mindsql_grammar as grammar
from mindsql import redaction, statements

TEXTS = {
    "comments": "/**/" * 5000 + "1",
    "comments before a parenthesis": "SELECT f" + "/**/ " * 5000 + "1",
    "lines of comments": "--\n" * 5000 + "1",
    "blanks": " " * 20_000 + "1",
    "an open string": "b e' " + "x" * 5000 + " y",
    "backslashes": "e'" + "\\\\" * 5000,
    "one long word": "a" * 50_000 + "token",
    "a word of key words": "password" * 5000,
    "dots": "USE " + "a." * 10_000,
    "URLs in URLs": "://" + "a:" * 10_000 + "://:" * 10_000,
    "equal signs": "api_key = " * 5000,
}


def _parse(text: str) -> object:
    try:
        return grammar.parse(text)
    except grammar.ParseError:
        return None


def _first_look(text: str) -> object:
    word = statements.leading_word(text)
    return word, statements.is_verb(text, word), statements.Patterns.of(["m"]).doubtful(text)


@pytest.mark.parametrize("read", [_parse, _first_look, grammar.split, redaction.redact, redaction.redact_in_place])
@pytest.mark.parametrize("name", TEXTS)
def test_patterns_take_no_more_time_than_their_text_is_long(name: str, read: Callable[[str], object]) -> None:
    read(TEXTS[name])


def test_a_first_word_stands_behind_comments() -> None:
    assert statements.leading_word("/* a */ -- b\n ( select 1)") == "SELECT"
    assert statements.leading_word("/* a ** b */select 1") == "SELECT"
    assert statements.leading_word("/* open select 1") == ""
    assert statements.is_verb("/*x*/ CREATE MODEL m", "CREATE")


def test_what_looks_secret_is_covered_wherever_it_stands() -> None:
    for text in (
        "USING my.api_key_2 = 'hunter2'",
        "USING \"token\": 'hunter2'",
        "x PASSWORD 'hunter2'",
        "url = 'http://me:hunter2@host/'",
        "url = 'http://me:hunter2:more@host/'",
        "a=1,db_password=hunter2;b",
    ):
        assert "hunter2" not in redaction.redact_in_place(text), text
        assert "hunter2" not in (redaction.redact(text) or ""), text
    for text in ("tokens = 'shown'", "SELECT 'http://host:80/a@b'", "max_tokens = 'shown'"):
        assert "shown" in redaction.redact_in_place(text) or "host" in redaction.redact_in_place(text)


def test_many_names_are_found_as_few_are() -> None:
    named = ["rent", "größe", "two words", 'a"b', "x.y"]
    few, many = statements.Patterns.of(named), statements.Patterns.of([*named, *(f"n{i}" for i in range(1000))])
    assert many.words and not few.words
    for text in (
        "SELECT * FROM rent", "SELECT * FROM Rent", "SELECT rents FROM t", "FROM t JOIN GRÖßE", 'FROM "two words"',
        'FROM "a""b"', 'FROM "x.y"', "SELECT 1", "FROM t WHERE a = 'rent'", "SELECT rent_1", "INSERT INTO t VALUES (1)",
        "SELECT 1; SELECT 2", "SELECT t.rent", "FROM t", "FROM information_schema.models", "FROM `t`",
    ):  # fmt: skip
        assert few.names_ours(text) == many.names_ours(text), text
        assert few.doubtful(text) == many.doubtful(text), text
