"""Owns the steps of binding: names become relations, scopes are found, their columns resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql.binder.columns import resolve_scope
from mindsql.binder.relations import MODEL, Expansion, Given, expand, give_params
from mindsql.binder.tree import direct_tables, generate, innermost_first, span_of, twin
from mindsql.bound import BoundModel, BoundQuery, Scope
from mindsql.errors import StatementError
from mindsql.options import STRICT, typed
from mindsql.schema import Schema
from mindsql.snapshot import Snapshot
from mindsql.source import Top
from mindsql_grammar import verbatim

Describe: TypeAlias = Callable[[str], Schema]
"""The columns of a SQL text, as DuckDB sees them. Raises StatementError."""


@dataclass
class Binder:
    """Binds queries against one snapshot.

    Attributes:
        snapshot: The catalog.
        project: The current project, where unqualified model names are looked up.
        is_table: Whether DuckDB itself has a relation of that (unqualified) name.
        located: Where it has it: database and schema.
        describe: Asks DuckDB for the columns of a query.
        native_schema: Asks a source for the columns of a native query.
        source_relation: The SQL with which DuckDB reads a source's table, given the name's parts after the source and
            which rows of it are wanted, if not all.
        collations: Asks DuckDB for the collations of a query's columns; an empty list when it cannot tell.
        system: SQL of a system table (`information_schema.models`), or None; its rows are parameters.
        parameters: The statement's parameters.
    """

    snapshot: Snapshot
    project: str
    is_table: Callable[[str], bool]
    located: Callable[[str], tuple[str, str] | None]
    describe: Describe
    native_schema: Callable[[str, str], Schema]
    source_relation: Callable[[str, tuple[str, ...], Top | None], exp.Expr | None]
    system: Callable[[str, str], str | None]
    check_params: Callable[[BoundModel, Mapping[str, Given]], Mapping[str, Any]] = lambda _, given: {
        name: value for name, (value, _) in given.items()
    }
    parameters: Mapping[str, Any] = field(default_factory=dict)
    collations: Callable[[str], list[str]] = lambda sql: []

    def bind(self, query: grammar.Query) -> BoundQuery | None:
        """Bind a query; None when nothing in it is ours, so that DuckDB may have it as it was written.

        Raises:
            StatementError: A name, a join or an input is not right.
            CatalogError: A model is not ready.
        """
        tree = query.tree.copy()
        name_parameters(tree)
        _with_of_insert(tree)
        expansion = expand(self, tree, query.natives)
        tree = expansion.tree
        if not expansion.touched:
            if query.options:
                raise StatementError(
                    f"USING {query.options[0].key}: there is no model in this query",
                    hint="USING k = v gives options to models in FROM",
                    span=(query.options[0].span.start, query.options[0].span.end),
                )
            return None
        if isinstance(tree, exp.Create) and tree.kind == "VIEW":
            # DuckDB would keep the plan of today's models in it.
            raise StatementError(
                "a view of a model or a source is neither temporary nor has a list of columns",
                hint="CREATE VIEW name AS SELECT … AS column, …",
            )
        for node in tree.find_all(exp.Placeholder, exp.Parameter):
            self._value(grammar.Parameter(_name(node)))
        give_params(expansion, query.options, self._value, expansion.models)
        for key, params in expansion.params.items():
            version, given = expansion.models[key].version, dict(params)
            strict, span = given.pop(STRICT.name, (version.settings.get(STRICT.name), None))
            checked = self.check_params(BoundModel(version), given)
            expansion.models[key] = BoundModel(version, checked, strict is not None and typed(STRICT, strict, span))
        describe = _Twins(self, expansion)
        scopes: list[Scope] = []
        selects = [
            select
            for select in innermost_first(tree)
            if any(MODEL in table.meta for table in direct_tables(select))
        ]
        _refuse_misplaced(tree, selects)
        verbatim.open_up(tree, selects)
        for number, select in enumerate(selects):
            scopes.append(resolve_scope(select, f"s{number}", expansion.models, describe, describe.collations))
        # The statement with every model replaced by an empty relation of its columns: DuckDB checks the rest.
        schema = describe(tree) if isinstance(tree, exp.Query) else Schema()
        if isinstance(tree, (exp.Insert, exp.Create, exp.Copy)):
            inner = tree.args.get("expression") or tree.this
            if isinstance(inner, exp.Query):
                describe(inner.unnest() if isinstance(inner, exp.Subquery) else inner)
        return BoundQuery(tree, scopes, expansion.natives, schema, expansion.passing, describe)

    def _value(self, value: Any) -> Any:
        if isinstance(value, grammar.Parameter):
            if parameter_name(value.name) not in self.parameters:
                raise StatementError(
                    f"the parameter ${shown_parameter(value.name)} has no value",
                    hint="give it: execute(sql, [value, …]) or {name: value}",
                )
            return self.parameters[parameter_name(value.name)]
        return value


def parameter_name(name: str) -> str:
    """The name under which a parameter is kept: `1` becomes `p1`."""
    return f"p{name}" if name.isdigit() else name


def shown_parameter(name: str) -> str:
    """A parameter's name as the user wrote it: `1` for `p1`."""
    return name[1:] if name[1:].isdigit() else name


def name_parameters(tree: exp.Expr) -> None:
    """Give positional parameters names, so that pieces of the statement can be run apart."""
    for node in tree.find_all(exp.Placeholder, exp.Parameter):
        node.set("this", parameter_name(_name(node)))


def _with_of_insert(tree: exp.Expr) -> None:
    """`WITH x AS (…) INSERT INTO t SELECT …` as `INSERT INTO t WITH x AS (…) SELECT …`: the query is whole then."""
    query = tree.args.get("expression")
    query = query.unnest() if isinstance(query, exp.Subquery) else query
    before = tree.args.get("with_")
    if not isinstance(tree, exp.Insert) or not isinstance(query, exp.Query) or before is None:
        return
    own = query.args.get("with_")
    if own is not None:
        before.set("expressions", [*before.expressions, *own.expressions])
        before.set("recursive", before.args.get("recursive") or own.args.get("recursive"))
    verbatim.move_with(tree, query)
    tree.set("with_", None)
    query.set("with_", before)


def used_parameters(query: grammar.Query) -> set[str]:
    """The names under which a query's parameters are kept."""
    names = {parameter_name(_name(node)) for node in query.tree.find_all(exp.Placeholder, exp.Parameter)}
    given = (option.value for option in query.options)
    return names | {parameter_name(value.name) for value in given if isinstance(value, grammar.Parameter)}


def _name(node: exp.Expr) -> str:
    return str(node.this.name if isinstance(node.this, exp.Expr) else node.this)


def _refuse_misplaced(tree: exp.Expr, selects: list[exp.Select]) -> None:
    """A model that stands in no FROM of a SELECT, and a lock: neither has a meaning. Raises StatementError."""
    asked = {id(table) for select in selects for table in direct_tables(select)}
    for table in tree.find_all(exp.Table):
        if MODEL in table.meta and id(table) not in asked:
            raise StatementError(
                f'"{table.alias_or_name}" is a model, and cannot stand here',
                hint="a model stands in the FROM of a SELECT: INSERT INTO … SELECT … JOIN model, or a subquery",
                span=span_of(table),
            )
    if tree.find(exp.Lock) is not None:
        raise StatementError(
            "FOR UPDATE and FOR SHARE have no meaning in a query with a model", hint="leave them out"
        )


class _Twins:
    """Describes parts of a tree with every model and native query replaced by an empty relation."""

    def __init__(self, binder: Binder, expansion: Expansion) -> None:
        self._binder = binder
        self._schemas: dict[str, Schema] = {
            key: model.every_column for key, model in expansion.models.items()
        }
        for name, (source, text) in expansion.natives.items():
            self._schemas[name] = binder.native_schema(source, text)
        self._known: dict[str, Schema] = {}

    def __call__(self, tree: exp.Expr) -> Schema:
        sql = generate(twin(tree, self._schemas))
        if sql not in self._known:
            self._known[sql] = self._binder.describe(sql)
        return self._known[sql]

    def collations(self, tree: exp.Expr) -> list[str]:
        """The collations of a query's columns, in order; an empty list when DuckDB cannot tell."""
        return self._binder.collations(generate(twin(tree, self._schemas)))
