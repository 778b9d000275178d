"""The corpus, one loop a file: add a line there to test a statement."""

from __future__ import annotations

import grammar_corpus as corpus
import pytest

from mindsql_grammar import DuckDB, ParseError, Query, parse, parse_one, split, suggest_verb, to_sql

ERRORS = corpus.errors("errors.txt")


@pytest.mark.parametrize("text", corpus.lines("identity.sql"))
def test_identity(text: str) -> None:
    assert to_sql(parse_one(text)) == text


@pytest.mark.parametrize(("text", "canonical"), corpus.pairs("canonical.sql"))
def test_canonical(text: str, canonical: str) -> None:
    assert to_sql(parse_one(text)) == canonical
    assert to_sql(parse_one(canonical)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *corpus.lines("identity.sql"),
        *corpus.lines("passthrough.sql"),
        *corpus.statements("canonical.sql"),
        *corpus.statements("documents.sql"),
    ],
)
def test_round_trip(text: str) -> None:
    statement = parse_one(text)
    again = parse_one(to_sql(statement))
    assert again == statement
    assert to_sql(again) == to_sql(statement)


@pytest.mark.parametrize("text", corpus.statements("documents.sql"))
def test_what_other_documents_print_is_ours(text: str) -> None:
    assert not isinstance(parse_one(text), DuckDB)


@pytest.mark.parametrize("case", ERRORS, ids=[case.text for case in ERRORS])
def test_errors(case: corpus.ErrorCase) -> None:
    with pytest.raises(ParseError) as caught:
        parse(case.text)
    error = caught.value
    start, end = error.span
    assert (error.message, error.hint) == (case.message, case.hint)
    assert (error.line, error.column, case.text[start:end]) == (case.line, case.column, case.culprit)
    assert error.text == case.text
    assert "\x1b" not in error.message + str(error.hint)


@pytest.mark.parametrize("case", ERRORS, ids=[case.text for case in ERRORS])
def test_errors_in_a_script_point_into_the_script(case: corpus.ErrorCase) -> None:
    before = "SELECT 'größer; ß';\n/* ; */\n"
    # What never ends swallows what follows, so nothing follows.
    with pytest.raises(ParseError) as caught:
        parse(before + case.text)
    error = caught.value
    start, end = error.span
    assert (error.message, error.hint) == (case.message, case.hint)
    assert (error.text[start:end], error.line) == (case.culprit, case.line + 2)


def test_there_are_enough_errors() -> None:
    assert len(ERRORS) >= 100
    assert len({case.text for case in ERRORS}) == len(ERRORS)


def test_one_script_of_the_whole_corpus() -> None:
    texts = [*corpus.lines("identity.sql"), *corpus.statements("documents.sql")]
    script = ";\n".join(texts)
    assert [piece.text for piece in split(script)] == texts
    found = parse(script)
    assert found == [parse_one(text) for text in texts]
    assert [script[s.span.start : s.span.end] for s in found] == texts


@pytest.mark.parametrize(
    "text",
    [*corpus.lines("identity.sql"), *corpus.lines("passthrough.sql"), *corpus.statements("documents.sql")],
)
def test_a_good_statement_is_not_called_misspelt(text: str) -> None:
    assert suggest_verb(text) is None


@pytest.mark.parametrize("text", corpus.lines("passthrough.sql"))
def test_passthrough_is_a_query(text: str) -> None:
    statement = parse_one(text)
    assert isinstance(statement, Query)
    assert (statement.natives, statement.options) == ((), ())
