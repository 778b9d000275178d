"""A query's own words: what has not changed is written as it was written, whatever sqlglot makes of it."""

from __future__ import annotations

import pytest
from grammar_corpus import lines
from sqlglot import exp

import mindsql_grammar as grammar
from mindsql_grammar import verbatim

# What sqlglot would write in other words, some of them with another meaning.
WORDS = """
SELECT TIMESTAMP '2020-01-01 10:00:00'::DATE
SELECT a FROM t ORDER BY a NULLS LAST
SELECT [1, 2]::FLOAT[2] <=> [3, 4]::FLOAT[2]
SELECT a NOT IN (1, 2) > b FROM t
SELECT j ->> 'a.b', (x,) FROM t
SELECT count(*), COUNT ( * ), a FROM t GROUP BY ALL
SELECT 1 a /* why */, 2 -- here
 b
FROM t SELECT a
FROM t
WITH a AS MATERIALIZED (SELECT 1), b(x) AS (FROM t) SELECT DISTINCT ON (q) q, a[1:2] FROM t, a USING SAMPLE 10%
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r
(SELECT 1) UNION ALL BY NAME (SELECT 2) ORDER BY 1 DESC NULLS FIRST LIMIT 10%
SELECT x.y.z, "A b".c FROM t AS "A b" NATURAL LEFT JOIN u ASOF JOIN v ON t.a >= v.a POSITIONAL JOIN w
SELECT extract(year FROM d), trim(BOTH ' ' FROM s), a IS NOT DISTINCT FROM b FROM t
SELECT sum(a) FILTER (WHERE b > 1) OVER w FROM t WINDOW w AS (PARTITION BY c ORDER BY d ROWS 2 PRECEDING)
INSERT INTO t (a) SELECT a FROM u ON CONFLICT DO NOTHING RETURNING a
WITH a AS (SELECT 1 AS x) INSERT INTO t SELECT x FROM a
CREATE TABLE t AS FROM u SELECT a::INT
SELECT $1 FROM t WHERE a = $2
"""


def statements() -> list[str]:
    found, pending = [], ""
    for line in WORDS.strip().splitlines():
        pending += line + "\n"
        if not line.endswith("-- here"):
            found.append(pending.strip())
            pending = ""
    return found


def written(text: str) -> str:
    statement = grammar.parse_query(text)
    return verbatim.write(statement.tree)


@pytest.mark.parametrize("text", statements())
def test_what_has_not_changed_is_written_as_it_was(text: str) -> None:
    expected = text.replace("$1", "$p1").replace("$2", "$p2")
    found = written(text)
    # Only WITH is written anew: an expression that nobody reads may have been taken out of it.
    assert found.replace("WITH RECURSIVE ", "WITH ") == expected.replace("WITH RECURSIVE ", "WITH ")


@pytest.mark.parametrize("name", ["identity.sql", "passthrough.sql"])
def test_the_corpus_is_written_as_it_was(name: str) -> None:
    queries = 0
    for line in lines(name):
        try:
            statement = grammar.parse_one(line)
        except grammar.ParseError:
            continue  # a statement of several lines
        if isinstance(statement, grammar.Query) and not statement.options and not set("`$?") & set(line):
            queries += 1
            # A native text's name is the parser's own: what it stands for is the binder's affair.
            if not statement.natives:
                assert verbatim.write(statement.tree) == line.rstrip("; ")
    assert queries > 20


def test_back_ticks_become_double_quotes() -> None:
    assert written('SELECT `a b`, "c" FROM `t``u`') == 'SELECT "a b", "c" FROM "t`u"'


def test_parameters_are_named() -> None:
    assert written("SELECT a FROM t WHERE a = ? AND b = ?") == "SELECT a FROM t WHERE a = $p1 AND b = $p2"


# A statement, the column that is replaced by "frame"."c", and what is written then.
REPLACED = [
    ("SELECT a NOT IN (1, 2) > m.y FROM t", 'SELECT a NOT IN (1, 2) > "frame"."c" FROM t'),
    (
        "SELECT TIMESTAMP '2020-01-01'::DATE, m . y FROM t ORDER BY m.y NULLS LAST",
        "SELECT TIMESTAMP '2020-01-01'::DATE, \"frame\".\"c\" FROM t ORDER BY \"frame\".\"c\" NULLS LAST",
    ),
    (
        "WITH q AS (SELECT m.y FROM t) FROM q SELECT TIMESTAMP '2020-01-01'::DATE",
        "WITH q AS (SELECT \"frame\".\"c\" FROM t) FROM q SELECT TIMESTAMP '2020-01-01'::DATE",
    ),
]


@pytest.mark.parametrize(("text", "expected"), REPLACED)
def test_what_surrounds_a_change_stays(text: str, expected: str) -> None:
    tree = grammar.parse_query(text).tree
    for column in list(tree.find_all(exp.Column)):
        if column.table == "m":
            new = exp.column(exp.to_identifier("c", quoted=True), exp.to_identifier("frame", quoted=True))
            column.replace(verbatim.take_place(new, column))
    assert verbatim.write(tree) == expected


def test_a_query_that_is_opened_up_keeps_the_words_of_its_items() -> None:
    tree = grammar.parse_query(
        "SELECT TIMESTAMP '2020-01-01'::DATE AS d, b FROM t WHERE x NOT IN (1) > true AND y ORDER BY b NULLS LAST"
    ).tree
    assert isinstance(tree, exp.Select)
    verbatim.open_up(tree, [tree])
    tree.set("from_", exp.From(this=exp.to_table("other")))
    assert verbatim.write(tree) == (
        "SELECT TIMESTAMP '2020-01-01'::DATE AS d, b FROM other"
        " WHERE x NOT IN (1) > true AND y ORDER BY b NULLS LAST"
    )


def test_a_change_of_another_kind_is_not_lost() -> None:
    tree = grammar.parse_query("SELECT a + 1 AS b FROM t WHERE a > 3").tree
    number = next(node for node in tree.find_all(exp.Literal) if node.this == "3")
    number.set("this", "4")
    assert verbatim.write(tree) == "SELECT a + 1 AS b FROM t WHERE a > 4"
