"""`dialect="mindsql"` of sqlglot, on whichever build of sqlglot is installed."""

from __future__ import annotations

import logging
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import grammar_corpus as corpus
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from mindsql_grammar import CreateModel, MindSQL, ParseError, Query, parse, parse_one, to_sql
from mindsql_grammar.dialect import statement_of


def test_the_entry_point_is_the_dialect() -> None:
    project = tomllib.loads((Path(corpus.GRAMMAR).parent / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = project["project"]["entry-points"]["sqlglot.dialects"]["mindsql"].partition(":")
    assert getattr(import_module(module), name) is MindSQL
    assert Dialect.get_or_raise("mindsql").__class__ is MindSQL


@pytest.mark.parametrize("text", [*corpus.lines("identity.sql"), *corpus.statements("documents.sql")])
def test_sqlglot_reads_and_writes_the_corpus(text: str) -> None:
    tree = sqlglot.parse_one(text, dialect="mindsql")
    statement = parse_one(text)
    assert statement_of(tree) == statement
    assert tree.sql(dialect="mindsql") == to_sql(statement)
    assert tree.copy().sql(dialect="mindsql") == to_sql(statement)


def test_trees_can_be_changed() -> None:
    tree = sqlglot.parse_one("SELECT * FROM src (SELECT 1) AS s, m.3 USING k = 1", dialect="mindsql")
    assert isinstance(tree, exp.Select)
    changed = tree.where("s.a > 1").limit(3)
    expected = "SELECT * FROM src (SELECT 1) AS s, m.3 WHERE s.a > 1 LIMIT 3 USING k = 1"
    assert changed.sql(dialect="mindsql") == expected
    assert changed.sql(dialect="mindsql", pretty=True).count("\n") > 3


def test_other_dialects_translate_into_ours() -> None:
    assert sqlglot.transpile("SELECT `a` FROM `t`", read="mysql", write="mindsql") == ['SELECT "a" FROM "t"']
    assert sqlglot.transpile("FROM t; RETRAIN m", read="mindsql", write="mindsql") == [
        "SELECT * FROM t",
        "RETRAIN m",
    ]


def test_our_statements_are_commands_that_carry_the_statement() -> None:
    tree = sqlglot.parse_one("CREATE MODEL m PREDICT y", dialect="mindsql")
    assert isinstance(tree, exp.Command)
    assert isinstance(statement_of(tree), CreateModel)
    assert isinstance(statement_of(exp.select("1")), Query)


def test_commands_never_leak(caplog: pytest.LogCaptureFixture) -> None:
    texts = [*corpus.lines("passthrough.sql"), *corpus.lines("identity.sql")]
    with caplog.at_level(logging.WARNING, logger="sqlglot"):
        for statement in parse(";\n".join(texts)):
            if isinstance(statement, Query):
                assert statement.tree.find(exp.Command) is None
        with pytest.raises(ParseError):
            parse("CREATE FOO bar")
    assert caplog.records == []
    with caplog.at_level(logging.WARNING, logger="sqlglot"):
        sqlglot.parse_one("CREATE FOO bar", dialect="duckdb")
    assert len(caplog.records) == 1, "what others parse is still logged"


def test_many_threads_parse_at_once() -> None:
    texts = corpus.lines("identity.sql")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: to_sql(parse_one(text)), texts * 4)) == texts * 4


def test_importing_is_light() -> None:
    heavy = ("pandas", "duckdb", "pyarrow", "sklearn", "numpy", "mindsql", "sqlglot.optimizer.optimize")
    code = f"import sys, mindsql_grammar; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
