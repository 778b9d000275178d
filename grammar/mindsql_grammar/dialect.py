"""Owns `dialect="mindsql"` of sqlglot: by composition, so that it also works with compiled sqlglot, whose
parser and generator cannot be subclassed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlglot import expressions as exp
from sqlglot.dialects.duckdb import DuckDB

from mindsql_grammar import lexer
from mindsql_grammar.parser import parse
from mindsql_grammar.statements import Query, Span, Statement
from mindsql_grammar.writer import query_sql, to_sql

_META = "mindsql"


class MindSQL(DuckDB):
    """DuckDB's dialect with our statements.

    A query is its tree; its native queries and options travel in `tree.meta`. Another statement is an
    `exp.Command` that carries the statement in its `meta`; `statement_of` gives it back.
    """

    Tokenizer = lexer.Tokenizer

    def parse(self, sql: str, **opts: Any) -> list[exp.Expr | None]:
        """One tree for each statement of `sql`."""
        return [_tree(statement) for statement in parse(sql)]

    def generate(self, expression: exp.Expr, copy: bool = True, **opts: Any) -> str:
        """The text of a tree that `parse` gave, or of any tree of sqlglot."""
        statement = expression.meta.get(_META)
        if isinstance(statement, Query):
            return query_sql(expression, statement.natives, statement.options, copy=copy, **opts)
        if isinstance(statement, Statement):
            return to_sql(statement)
        return query_sql(expression, copy=copy, **opts)


def statement_of(tree: exp.Expr) -> Statement:
    """The statement that a tree of `dialect="mindsql"` stands for."""
    statement = tree.meta.get(_META)
    if isinstance(statement, Query):
        return replace(statement, tree=tree)
    if isinstance(statement, Statement):
        return statement
    return Query(tree, span=Span(0, 0))


def _tree(statement: Statement) -> exp.Expr:
    if isinstance(statement, Query):
        tree = statement.tree
        # Not the statement itself: it holds the tree, and a copy of the tree copies its meta.
        tree.meta[_META] = replace(statement, tree=exp.Null())
        return tree
    command = exp.Command(this=to_sql(statement))
    command.meta[_META] = statement
    return command
