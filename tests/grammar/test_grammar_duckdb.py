"""What the grammar generates for DuckDB, DuckDB itself must take, and it must mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import grammar_corpus as corpus
import pytest

from mindsql_grammar import Query, parse_one, quote, to_sql
from mindsql_grammar.statements import DuckDB

TABLES = """
CREATE TABLE t (a INT, b VARCHAR, c DOUBLE, d INT[], s STRUCT(x INT), w TIMESTAMP);
INSERT INTO t VALUES
    (1, 'x', 1.5, [1, 2, 3], {'x': 1}, '2020-01-01'), (2, 'y', 2.5, [4], {'x': 2}, '2021-02-02 03:04:05'),
    (3, 'x', NULL, [], NULL, NULL), (NULL, NULL, -1, NULL, {'x': NULL}, '2022-01-01');
CREATE TABLE u (a INT, e INT);
INSERT INTO u VALUES (1, 10), (2, 20), (5, 50);
"""
# These give other rows each time, or need a parameter.
_VOLATILE = ("SAMPLE", "random()", "now()", "$1", "$name")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.execute(TABLES)
        yield connection


@pytest.mark.parametrize("text", corpus.lines("passthrough.sql"))
def test_duckdb_gives_the_same_rows(text: str, tables: duckdb.DuckDBPyConnection) -> None:
    statement = parse_one(text)
    assert isinstance(statement, Query)
    generated = statement.tree.sql(dialect="duckdb")
    if any(word in text for word in _VOLATILE):
        duckdb.extract_statements(generated)
        return
    assert _run(tables, generated) == _run(tables, text)
    assert _run(tables, to_sql(statement)) == _run(tables, text)


def _run(connection: duckdb.DuckDBPyConnection, text: str) -> object:
    """The rows, their types and what is in the tables afterwards; the transaction is undone."""
    connection.execute("BEGIN")
    try:
        cursor = connection.execute(text)
        types = [str(column[1]) for column in cursor.description or []]
        rows = sorted(map(repr, cursor.fetchall()))
        after = [sorted(map(repr, connection.execute(f"FROM {name}").fetchall())) for name in ("t", "u")]
        return types, rows, after
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    "text", [text for text in corpus.lines("identity.sql") if isinstance(parse_one(text), DuckDB)]
)
def test_duckdb_reads_what_is_left_to_it(text: str) -> None:
    if text == "UPDATE EXTENSIONS":  # its Python client has no name for this kind of statement
        return
    assert len(duckdb.extract_statements(text)) == 1


@pytest.mark.parametrize(
    "text",
    [text for text in corpus.lines("identity.sql") if type(parse_one(text)).__name__ == "CreateModel"],
)
def test_what_is_ours_duckdb_does_not_read(text: str) -> None:
    with pytest.raises(duckdb.ParserException):
        duckdb.extract_statements(text)


def test_every_keyword_of_duckdb_is_quoted_where_it_must_be() -> None:
    with duckdb.connect() as connection:
        words = [
            row[0] for row in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
        ]
        assert len(words) > 100
        for word in [*words, "a b", 'a"b', "1", "größe", "ALL", "a$b", ""]:
            if word:
                name = quote(word)
                connection.execute(f"CREATE OR REPLACE TABLE {name} ({name} INT)")
                connection.execute(f"SELECT {name}, {name}.{name} FROM {name}")


OUR_WORDS = ("model", "predict", "status", "engine", "version", "horizon", "project", "active", "retrain")


@pytest.mark.parametrize("word", OUR_WORDS)
def test_our_words_stay_names(word: str) -> None:
    text = f"SELECT {word}, {word}.{word}, 1 AS {word} FROM {word} WHERE {word} > 1 GROUP BY {word}"
    assert to_sql(parse_one(text)) == text
    model = (
        f"CREATE MODEL {word}x FROM (SELECT {word} FROM t) PREDICT {word} ORDER BY {word} USING {word} = 1"
    )
    assert parse_one(to_sql(parse_one(model))) == parse_one(model)
