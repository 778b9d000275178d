"""Owns the shape of a bound query: a tree in which every name is resolved, and its scopes with models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import expressions as exp

from mindsql.schema import Column, Schema
from mindsql.snapshot import Version

SCOPE = "mindsql_scope"
"""Key in `Column.meta`: the scope whose relation the column belongs to. Its `table` is then that relation's alias."""


@dataclass(frozen=True)
class BoundModel:
    """A model version in a FROM, with the options that the query's USING gives it."""

    version: Version
    params: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    """Whether each input must be given; else what is not given counts as missing."""

    @property
    def columns(self) -> Schema:
        """Its columns as a relation: the outputs, then the inputs."""
        outputs = self.version.outputs
        return Schema((*outputs, *self.version.inputs.without(*outputs.names)))

    @property
    def every_column(self) -> Schema:
        """Its columns and those that a query must name."""
        return Schema((*self.columns, *self.version.extra))

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return self.version.model


@dataclass(eq=False)
class Relation:
    """One item of a FROM.

    Attributes:
        alias: The name its columns are qualified with.
        columns: Its columns.
        hidden: Those that a star does not give, if the SELECT asks for them.
        item: The node: a table, subquery, table function …
        join: The join that brings it in; None for the first.
        model: The model it is, or None.
        collations: The collations of its columns that have one, by name.
        within: The join in parentheses that it stands in, an item of FROM without columns of its own.
    """

    alias: str
    columns: Schema
    item: exp.Expr
    join: exp.Join | None = None
    model: BoundModel | None = None
    hidden: Schema = field(default_factory=Schema)
    collations: dict[str, str] = field(default_factory=dict)
    within: Relation | None = None

    @property
    def only_filters(self) -> bool:
        """Whether it is joined by SEMI or ANTI: it keeps or drops rows, and gives no columns."""
        if self.within is not None and self.within.only_filters:
            return True
        kind = str(self.join.args.get("kind") or "") if self.join is not None else ""
        return kind.upper() in ("SEMI", "ANTI")

    def find(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return self.columns.find(name) or self.hidden.find(name)


@dataclass
class Scope:
    """A SELECT with a model in its FROM: what the planner works on.

    Every column of `select` that belongs to one of `relations` is qualified and marked with `key`, in nested
    subqueries too; stars are expanded; every projection has the name that DuckDB would give it.
    """

    key: str
    select: exp.Select
    relations: list[Relation]

    @property
    def models(self) -> list[Relation]:
        """The relations that are models, in order."""
        return [relation for relation in self.relations if relation.model is not None]

    @property
    def data(self) -> list[Relation]:
        """The relations that are not."""
        return [relation for relation in self.relations if relation.model is None]


@dataclass
class BoundQuery:
    """A statement whose relations are each a table, a source's native query, or a model version.

    Attributes:
        tree: The statement; parameters are named `$p1` (by position) or `$name`.
        scopes: The scopes with models, innermost first.
        natives: Native queries by the name of the table that stands for them.
        schema: The columns the whole statement gives; empty when it gives no rows.
        passing: Whether it holds what a system table says at this moment.
        describe: Asks DuckDB for the columns of a query, with models as empty relations.
    """

    tree: exp.Expr
    scopes: list[Scope]
    natives: dict[str, tuple[str, str]] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    passing: bool = False
    describe: Callable[[exp.Expr], Schema] = lambda query: Schema()
