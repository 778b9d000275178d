"""Statements that write to a table which may be another database's."""

from __future__ import annotations

import pytest

import mindsql_grammar as grammar

READ = {
    "INSERT INTO s.t SELECT 1": ("insert", "s.t", "SELECT 1", (), False),
    "insert into s.a.t (a, \"b c\") values (1, 'INSERT INTO x (')": (
        "insert", "s.a.t", "values (1, 'INSERT INTO x (')", ("a", "b c"), False),
    "INSERT INTO s.t BY NAME FROM x": ("insert", "s.t", "FROM x", (), True),
    "INSERT INTO s.t (SELECT 1)": ("insert", "s.t", "(SELECT 1)", (), False),
    "INSERT INTO s.t -- to\n(a) /* b */ SELECT 1": ("insert", "s.t", "SELECT 1", ("a",), False),
    "CREATE TABLE s.t AS SELECT 1": ("create", "s.t", "SELECT 1", (), False),
    "CREATE OR REPLACE TABLE \"s\".\"t\" AS (FROM x)": ("create", "s.t", "(FROM x)", (), False),
    "CREATE TABLE s.t (SELECT 1)": ("create", "s.t", "(SELECT 1)", (), False),
    "CREATE TABLE IF NOT EXISTS s.t AS FROM x;": ("create", "s.t", "FROM x", (), False),
    "DROP TABLE s.t": ("drop", "s.t", "", (), False),
    "DROP TABLE IF EXISTS s.t": ("drop", "s.t", "", (), False),
}  # fmt: skip
NOT_READ = [
    "SELECT 1", "INSERT OR REPLACE INTO s.t SELECT 1", "INSERT INTO s.t DEFAULT VALUES", "", "INSERT INTO",
    "CREATE TABLE s.t (a INT)", "CREATE TEMP TABLE s.t AS SELECT 1", "DROP TABLE s.t CASCADE", "DROP TABLE s.t, s.u",
    "DROP VIEW s.v",
    "INSERT INTO s.t (", "WITH q AS (SELECT 1) SELECT * FROM q", "CREATE TABLE s.t AS", "UPDATE s.t SET a = 1",
    "DROP TABLE a; DROP TABLE b",
]  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_writes_are_read(text: str) -> None:
    found = grammar.parse_write(text)
    assert found is not None
    read = (found.verb, ".".join(found.target), found.query_text.strip().rstrip(";"), found.columns, found.by_name)
    assert read == READ[text]
    assert text[found.place.start : found.place.end].replace('"', "") == ".".join(found.target)
    assert found.query_text in ("", *(_blanked(text, read[2]),))


def _blanked(text: str, query: str) -> str:
    """The query where it stood."""
    at = text.index(query)
    return "".join(c if c.isspace() else " " for c in text[:at]) + text[at:]


def test_with_stays_before_the_query() -> None:
    found = grammar.parse_write("WITH q AS (SELECT 1 AS insert) INSERT INTO s.t SELECT * FROM q")
    assert found is not None
    assert " ".join(found.query_text.split()) == "WITH q AS (SELECT 1 AS insert) SELECT * FROM q"


@pytest.mark.parametrize("text", NOT_READ)
def test_other_statements_are_not(text: str) -> None:
    assert grammar.parse_write(text) is None
