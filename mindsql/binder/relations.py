"""Owns what a table's name means: a CTE, a model, a view of ours, a system table, a source's table, or DuckDB's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql.binder.ctes import visible_ctes
from mindsql.binder.pushing import top_of
from mindsql.binder.tree import RELATION, names_in, span_of, unused_name
from mindsql.bound import BoundModel
from mindsql.errors import MindSQLError, StatementError, UnknownNameError
from mindsql.snapshot import DEFAULT_PROJECT, Model, View
from mindsql.statements import MODEL_LISTS
from mindsql_grammar import verbatim

if TYPE_CHECKING:
    from mindsql.binder.binder import Binder

MODEL = "mindsql_model"
"""Key in `Table.meta`: the model that a table stands for, a key of `Expansion.models`."""

_VIEW_DEPTH = 32
_WORDS = {"when": "AT", "sample": "TABLESAMPLE", "pivots": "PIVOT"}
_PLAIN_TABLE = frozenset({"this", "db", "catalog", "alias", "joins"})


Given: TypeAlias = "tuple[Any, tuple[int, int] | None]"
"""An option's value, and where it stands in the statement."""


@dataclass
class Expansion:
    """A tree with its views and system tables written out, and what its marked tables stand for.

    Attributes:
        models: What each marked table is, by its mark.
        params: What USING gives each of them, and where it stands.
        aliases: What those are called that the statement itself names; a view's own names are not known outside.
        natives: Native queries by the name of the table that stands for them.
        touched: Whether anything in it is ours.
        passing: Whether a system table is in it, which says something else the next moment.
        names: All names in it, and those given to native queries.
    """

    tree: exp.Expr
    models: dict[str, BoundModel] = field(default_factory=dict)
    params: dict[str, dict[str, Given]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    natives: dict[str, tuple[str, str]] = field(default_factory=dict)
    touched: bool = False
    passing: bool = False
    names: set[str] = field(default_factory=set)


def expand(binder: Binder, tree: exp.Expr, natives: tuple[grammar.Native, ...]) -> Expansion:
    """Resolve every table of a tree, in place. Raises UnknownNameError, CatalogError."""
    expansion = Expansion(tree, names=names_in(tree))
    _Expander(binder, expansion).walk(natives, 0)
    return expansion


def give_params(
    expansion: Expansion,
    options: tuple[grammar.Option, ...],
    value: Callable[[Any], Any],
    keys: Iterable[str],
) -> None:
    """Hand a trailing USING to models: `k` to every one of `keys`, `alias.k` to one. Raises UnknownNameError."""
    keys = list(keys)
    common: dict[str, Given] = {}
    own: dict[str, dict[str, Given]] = {key: {} for key in keys}
    for option in options:
        if not keys:
            raise UnknownNameError(
                f"USING {option.key}: there is no model in this query",
                hint="USING k = v gives options to models in FROM",
                span=(option.span.start, option.span.end),
            )
        given = (value(option.value), (option.span.start, option.span.end))
        path = [part.casefold() for part in option.path]
        for size in (2, 1):
            alias = ".".join(path[:size])
            owners = [
                key for key in keys if len(path) > size and called(expansion.aliases.get(key, ""), alias)
            ]
            if owners:
                for key in owners:
                    own[key][".".join(path[size:])] = given
                break
        else:
            common[option.key.casefold()] = given
    for key in keys:
        expansion.params.setdefault(key, {}).update({**common, **own[key]})


def called(alias: str, name: str) -> bool:
    """Whether a relation answers to a name: its alias, or the model's name for `model.3` without an alias."""
    return alias.casefold() == name.casefold() or re.sub(r"\.\d+$", "", alias).casefold() == name.casefold()


class _Expander:
    def __init__(self, binder: Binder, expansion: Expansion) -> None:
        self.binder = binder
        self.expansion = expansion

    def walk(self, natives: tuple[grammar.Native, ...], depth: int) -> None:
        targets = _write_targets(self.expansion.tree)
        for table in list(self.expansion.tree.find_all(exp.Table)):
            if RELATION in table.meta or table.meta.get("mindsql_done") or id(table) in targets:
                continue
            table.meta["mindsql_done"] = True
            self.resolve(table, natives, depth)

    def resolve(self, table: exp.Table, natives: tuple[grammar.Native, ...], depth: int) -> None:
        if not isinstance(table.this, exp.Identifier):
            return  # a table function
        parts = tuple(part.name for part in table.parts)
        if len(parts) == 1 and parts[0].startswith(grammar.NATIVE_PREFIX):
            return self.native(table, natives[int(parts[0].removeprefix(grammar.NATIVE_PREFIX))], depth)
        if len(parts) == 1 and _is_cte(table):
            return None
        system = self.binder.system(*(parts if len(parts) == 2 else ("", "")))
        if system is None and len(parts) == 2 and parts[1].casefold() in MODEL_LISTS:
            project = self.binder.snapshot.project(parts[0])
            system = self.binder.system(project, parts[1]) if project else None
        elif len(parts) == 1 and parts[0].casefold() in MODEL_LISTS and not self.is_known(parts):
            system = self.binder.system(self.binder.project, parts[0])
        if system is not None:
            self.expansion.passing = True
            _name_as_written(table)
            return self.subquery(table, grammar.parse_query(system), depth)
        found = self.model_or_view(parts)
        if isinstance(found, tuple):
            return self.model(table, *found)
        if isinstance(found, View):
            if depth >= _VIEW_DEPTH:
                raise StatementError(f'the view "{found.name}" refers to itself')
            return self.subquery(table, grammar.parse_query(found.query), depth + 1)
        if len(parts) > 1 and (source := self.binder.snapshot.source(parts[0])) is not None:
            relation = self.binder.source_relation(source.name, parts[1:], top_of(table))
            if relation is not None:
                self.expansion.touched = True
                self.shorten(parts)
                self.replace(table, relation)
        elif len(parts) > 1 and (project := self.binder.snapshot.project(parts[0])) is not None:
            snapshot = self.binder.snapshot
            if project == DEFAULT_PROJECT and len(parts) == 2 and self.binder.is_table(parts[1]):
                # A view without a model is DuckDB's, and is made in the default project all the same.
                table.set("db", None)
                self.expansion.touched = True
                return None
            known = [m.name for m in snapshot.models if m.project == project]
            known += [v.name for v in snapshot.views if v.project == project]
            if project != DEFAULT_PROJECT or not parts[1].startswith("_"):
                raise UnknownNameError.of(
                    "model", ".".join(parts), known, span=span_of(table), hint=None if known else _NO_MODELS
                )
        return None

    def is_known(self, parts: tuple[str, ...]) -> bool:
        """Whether the user has a model, a view or a table of that name."""
        return self.model_or_view(parts) is not None or self.binder.is_table(parts[-1])

    def model_or_view(self, parts: tuple[str, ...]) -> tuple[Model, int | None] | View | None:
        """The model (with the version asked for) or the view that a dotted name means."""
        snapshot = self.binder.snapshot
        version: int | None = None
        if len(parts) > 1 and parts[-1].isdigit():
            version, parts = int(parts[-1]), parts[:-1]
        if len(parts) == 1:
            project: str | None = self.binder.project
        elif len(parts) == 2:
            project = snapshot.project(parts[0])
        else:
            return None
        if project is None:
            return None
        name = parts[-1]
        model = snapshot.model(project, name)
        if model is None and len(parts) == 1:
            model = snapshot.model(DEFAULT_PROJECT, name)
        view = snapshot.view(project, name) if version is None else None
        if view is None and version is None and len(parts) == 1:
            view = snapshot.view(DEFAULT_PROJECT, name)
        if model is None and view is None:
            return None
        if len(parts) == 1 and version is None and self.binder.is_table(name):
            # A table of that name was made later: DuckDB's statements keep their meaning.
            return None
        return (model, version) if model is not None else view

    def model(self, table: exp.Table, model: Model, version: int | None) -> None:
        said = [
            _WORDS.get(key, key.upper())
            for key, value in table.args.items()
            if value and key not in _PLAIN_TABLE
        ]
        if said:
            raise StatementError(
                f'{said[0]} has no meaning for the model "{model.name}"',
                hint="a version is written model.3; sampling and pivots belong to the data",
            )
        key = f"m{len(self.expansion.models)}"
        table.meta[MODEL] = key
        table.meta[RELATION] = key
        alias = table.alias or (f"{model.name}.{version}" if version is not None else table.name)
        if table.args.get("alias") is None:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        if table.args["alias"].args.get("columns"):
            raise StatementError(
                f'the columns of the model "{model.name}" cannot be renamed in FROM',
                hint="rename them in SELECT: m.y AS other",
            )
        try:
            self.expansion.models[key] = BoundModel(model.version(version))
        except MindSQLError as error:
            error.span = error.span or span_of(table)
            raise
        self.expansion.aliases[key] = alias
        self.expansion.touched = True

    def native(self, table: exp.Table, native: grammar.Native, depth: int) -> None:
        source = self.binder.snapshot.source(native.source[0])
        project = self.binder.snapshot.own_query(native.source)
        if project is not None:
            table.set("this", exp.to_identifier(project, quoted=True))
            try:
                query = grammar.parse_query(native.text)
            except grammar.ParseError as error:
                raise StatementError(error.message, hint=error.hint) from error
            return self.subquery(table, query, depth, project)
        database = source.name if source is not None else native.source[0]  # one of DuckDB's own, perhaps
        name = unused_name("__native_", self.expansion.names)
        table.set("this", exp.to_identifier(name, quoted=True))
        if table.args.get("alias") is None:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(database, quoted=True)))
        table.meta[RELATION] = name
        self.expansion.natives[name] = (database, native.text)
        self.expansion.touched = True

    def subquery(
        self, table: exp.Table, query: grammar.Query, depth: int, project: str | None = None
    ) -> None:
        """Put a query in a table's place, its names looked for in `project` if one is given."""
        for name in query.tree.find_all(exp.Identifier):
            # Places in this text are none in the statement's.
            name.meta.pop("start", None)
        before = set(self.expansion.models)
        outer = self.expansion
        self.shield(query.tree, table)
        outer.names.update(names_in(query.tree))
        expansion = Expansion(query.tree, outer.models, outer.params, {}, outer.natives, names=outer.names)
        inner = _Expander(replace(self.binder, project=project) if project else self.binder, expansion)
        inner.walk(query.natives, depth)
        # A view's trailing USING is its own; the statement's, which is given later, goes before it.
        fresh = [key for key in outer.models if key not in before]
        give_params(expansion, query.options, lambda value: value, fresh)
        for key in fresh:
            outer.params[key] = {name: (value, None) for name, (value, _) in outer.params[key].items()}
        outer.passing |= expansion.passing
        self.expansion.touched = True
        self.replace(table, exp.Subquery(this=inner.expansion.tree))

    def shield(self, tree: exp.Expr, place: exp.Expr) -> None:
        """Keep the statement's common table expressions from standing for tables that a view means."""
        visible = {cte.alias.casefold() for cte in visible_ctes(place)}
        for table in tree.find_all(exp.Table) if visible else ():
            if table.db or not isinstance(table.this, exp.Identifier) or table.name.casefold() not in visible:
                continue
            where = None if _is_cte(table) else self.binder.located(table.name)
            if where is not None:
                if not table.alias:
                    table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
                table.set("catalog", exp.to_identifier(where[0], quoted=True))
                table.set("db", exp.to_identifier(where[1], quoted=True))

    def shorten(self, parts: tuple[str, ...]) -> None:
        """`db.schema.table.column` as `table.column`: what stands in the table's place has its last name only."""
        wanted = [part.casefold() for part in parts]
        for column in self.expansion.tree.find_all(exp.Column):
            named = [part.name.casefold() for part in column.parts[:-1]]
            if len(named) > 1 and named == wanted[-len(named) :]:
                column.set("db", None)
                column.set("catalog", None)

    def replace(self, table: exp.Table, relation: exp.Expr) -> None:
        """Put a relation in a table's place, keeping its alias and joins."""
        if relation.args.get("alias") is None:
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
            relation.set("alias", alias.copy())
        for key in ("joins", "sample", "pivots"):
            if table.args.get(key):
                relation.set(key, table.args[key])
        if isinstance(table.parent, exp.Summarize):  # which takes a name or a query
            relation = exp.Select(expressions=[exp.Star()], from_=exp.From(this=relation))
        verbatim.take_place(relation, table)
        if table is self.expansion.tree:
            self.expansion.tree = relation
        else:
            table.replace(relation)


_NO_MODELS = "there are no models yet: CREATE MODEL name FROM (SELECT …) PREDICT target"


def _write_targets(tree: exp.Expr) -> set[int]:
    """The tables that a statement writes to: never models."""
    found: set[int] = set()
    for node in tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Merge):
        target = node.this
        if isinstance(target, exp.Schema):
            target = target.this
        if isinstance(target, exp.Table):
            found.add(id(target))
    return found


def _name_as_written(table: exp.Table) -> None:
    """Call the columns of a system table as the query spells them: MindsDB's clients ask for NAME and look for NAME."""
    select = table.parent_select
    for item in select.expressions if select is not None else ():
        if isinstance(item, exp.Column) and isinstance(item.this, exp.Identifier):
            item.replace(exp.alias_(item.copy(), item.name, quoted=True))


def _is_cte(table: exp.Table) -> bool:
    """Whether an unqualified name means a common table expression of an enclosing query."""
    name = table.name.casefold()
    node: exp.Expr = table
    parent = node.parent
    while parent is not None:
        with_ = parent.args.get("with_")
        if (
            isinstance(with_, exp.With)
            and node is not with_
            and any(cte.alias.casefold() == name for cte in with_.expressions)
        ):
            return True
        if isinstance(parent, exp.With):
            # Inside a CTE: the earlier ones are visible, all of them when recursive.
            for cte in parent.expressions:
                if cte is node and not parent.args.get("recursive"):
                    break
                if cte.alias.casefold() == name:
                    return True
            # The With's owner must not be asked again for the CTEs that come later.
            owner = parent.parent
            node, parent = owner if owner is not None else parent, owner.parent if owner is not None else None
            continue
        node, parent = parent, parent.parent
    return False
