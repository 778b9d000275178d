"""Owns what a column's name means in a SELECT with a model: the relation it belongs to, stars, projection names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sqlglot import expressions as exp

from mindsql.binder.ctes import sees_outer, with_visible_ctes
from mindsql.binder.joins import (
    check_joins,
    describe_relations,
    flatten,
    is_lateral,
    name_natural,
    relations_of,
)
from mindsql.binder.naming import name_projections, projection_names
from mindsql.binder.relations import called
from mindsql.binder.tree import column, from_items, span_of
from mindsql.bound import SCOPE, BoundModel, Relation, Scope
from mindsql.errors import StatementError, UnknownNameError
from mindsql.schema import Schema
from mindsql_grammar import verbatim

_CLAUSES = (
    "expressions",
    "where",
    "group",
    "having",
    "qualify",
    "order",
    "distinct",
    "windows",
    "limit",
    "offset",
)

_HAS_FIELDS = ("STRUCT", "UNION", "MAP", "JSON", "VARIANT")


def resolve_scope(
    select: exp.Select,
    key: str,
    models: Mapping[str, BoundModel],
    describe: Callable[[exp.Expr], Schema],
    collations: Callable[[exp.Expr], list[str]] = lambda query: [],
) -> Scope:
    """Resolve the columns of one SELECT with models, in place.

    Raises:
        UnknownNameError: A qualified column that its relation does not have.
        StatementError: An ambiguous column, or a form of FROM that cannot hold a model.
    """
    flatten(select)
    relations = list(relations_of(select, models))
    check_joins(relations)
    describe_relations(select, relations, describe, collations)
    name_natural(relations)
    scope = Scope(key, select, relations)
    resolver = _Resolver(scope, describe)
    resolver.expand_stars()
    names = projection_names(select, describe)
    for clause in _CLAUSES:
        for node in _nodes(select.args.get(clause)):
            resolver.visit(node, clause)
    for item, join in from_items(select):
        if join is not None and join.args.get("on") is not None:
            resolver.visit(join.args["on"], "on")
        if is_lateral(item, relations):
            resolver.visit(item, "from")
    name_projections(select, names or projection_names(select, describe, must=select.parent is None))
    return scope


def _nodes(value: object) -> list[exp.Expr]:
    values = value if isinstance(value, list) else [value]
    return [node for node in values if isinstance(node, exp.Expr)]


def _gives(relation: Relation, joined: Relation, name: str) -> bool:
    """Whether a relation is what is joined, or stands in it, and has a column of that name."""
    return joined in (relation, relation.within) and relation.find(name) is not None


class _Resolver:
    def __init__(self, scope: Scope, describe: Callable[[exp.Expr], Schema]) -> None:
        self.scope = scope
        self.describe = describe
        self.aliases = {
            projection.alias.casefold() for projection in scope.select.expressions if projection.alias
        }
        self.nested = sees_outer(scope.select)

    # Stars ------------------------------------------------------------------------------------------------------

    def expand_stars(self) -> None:
        projections: list[exp.Expr] = []
        positional = self.scope.select.find(exp.PositionalColumn)
        if positional is not None:
            raise StatementError(
                f"{positional.sql()} cannot stand in a SELECT with a model", hint="write the column's name"
            )
        for projection in self.scope.select.expressions:
            if isinstance(projection, exp.Star):
                projections.extend(self.star(projection, None))
            elif isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
                names = [part.name for part in projection.parts[:-1]]
                projections.extend(self.star(projection.this, self.named(names, projection)))
            else:
                projections.append(projection)
        self.scope.select.set("expressions", projections)
        for clause in _CLAUSES:
            for node in _nodes(self.scope.select.args.get(clause)):
                self.refuse_stars(node)

    def refuse_stars(self, node: exp.Expr) -> None:
        """Raise StatementError for a star inside an expression: DuckDB would find the frame's columns below it."""
        for star in node.find_all(exp.Star, exp.Columns):
            if star.find_ancestor(exp.Select) is not self.scope.select or isinstance(star.parent, exp.Count):
                continue
            word = "COLUMNS()" if isinstance(star, exp.Columns) else "a star inside an expression"
            raise StatementError(
                f"{word} cannot stand in a SELECT with a model",
                hint="put the model in a subquery: SELECT … FROM (SELECT … FROM data JOIN model)",
            )

    def named(self, parts: list[str], node: exp.Expr) -> Relation:
        """The relation of that name; the last parts decide."""
        relation = self.relation(parts, node)
        if relation is None:
            known = [relation.alias for relation in self.scope.relations if relation.alias]
            raise UnknownNameError.of("relation", ".".join(parts), known, span=span_of(node))
        return relation

    def relation(self, parts: list[str], node: exp.Expr) -> Relation | None:
        """The relation that a qualifier means: its alias, or `model.3`, or the model's name alone when it is one."""
        for name in (".".join(parts[-2:]), parts[-1]):
            found = [r for r in self.scope.relations if r.alias.casefold() == name.casefold()]
            found = found or [
                r for r in self.scope.relations if r.model is not None and called(r.alias, name)
            ]
            if len(found) > 1:
                names = " or ".join(relation.alias for relation in found)
                raise StatementError(f'"{name}" is ambiguous', hint=f"write {names}", span=span_of(node))
            if found:
                return found[0]
        return None

    def star(self, star: exp.Star, only: Relation | None) -> Iterator[exp.Expr]:
        written = {
            node.name.casefold(): node.name
            for key in ("except_", "replace", "rename")
            for part in star.args.get(key) or []
            for node in [part.this if key == "rename" else part]
        }
        written |= {node.alias.casefold(): node.alias for node in star.args.get("replace") or []}
        dropped = {node.name.casefold() for node in star.args.get("except_") or []}
        replaced = {node.alias.casefold(): node.this for node in star.args.get("replace") or []}
        renamed = {node.this.name.casefold(): node.alias for node in star.args.get("rename") or []}
        seen: set[str] = set()
        merged = self.merged() if only is None else {}
        for relation in self.scope.relations:
            if (only is not None and relation is not only) or (only is None and relation.only_filters):
                continue
            for item in relation.columns:
                folded = item.name.casefold()
                if folded in merged and folded in seen:
                    continue  # it stands where the first of those that have it stands, whoever gives its value
                seen.add(folded)
                if folded in dropped:
                    continue
                merges = only is None and folded in merged
                value: exp.Expr = column(item.name, None if merges else relation.alias)
                if folded in replaced:
                    value = replaced[folded].copy()
                yield exp.alias_(value, renamed.get(folded, item.name), quoted=True)
        unknown = (dropped | set(replaced) | set(renamed)) - seen
        if unknown:
            name = written.get(sorted(unknown)[0], sorted(unknown)[0])
            known = [item.name for r in self.scope.relations if only in (None, r) for item in r.columns]
            raise UnknownNameError.of("column", name, known)

    def merged(self) -> dict[str, list[Relation]]:
        """Columns that JOIN … USING makes one, each with the relation it is taken from; a FULL JOIN takes it from the
        first of several that has it."""
        found: dict[str, list[Relation]] = {}
        for index, relation in enumerate(self.scope.relations):
            for node in (relation.join.args.get("using") if relation.join is not None else None) or []:
                folded = node.name.casefold()
                side = (relation.join.side if relation.join is not None else "").upper()
                earlier = [r for r in self.scope.relations[:index] if r.find(node.name) is not None]
                if relation.within is not None:
                    earlier = [r for r in earlier if r.within is relation.within]
                owner = next((r for r in (relation, *self.scope.relations) if _gives(r, relation, node.name)), relation)
                if side == "RIGHT" or not earlier:
                    found[folded] = [owner]
                elif side == "FULL":
                    found[folded] = [*found.get(folded, earlier[:1]), owner]
                else:
                    found.setdefault(folded, earlier[:1])
        return found

    # Columns ----------------------------------------------------------------------------------------------------

    def visit(
        self,
        node: exp.Expr,
        clause: str,
        hidden: frozenset[str] = frozenset(),
        shadowed: frozenset[str] = frozenset(),
        top: bool = True,
    ) -> None:
        """Resolve the columns below a node.

        Args:
            node: Where to look.
            clause: The clause of the scope's SELECT that the node stands in.
            hidden: Aliases of relations that nested queries bring, which stand before ours.
            shadowed: Column names that nested queries or lambdas bring.
            top: Whether the node belongs to the scope's SELECT itself.
        """
        if isinstance(node, exp.Column):
            self.column(node, clause, hidden, shadowed, top)
            return
        if isinstance(node, exp.Select):
            items = [item for item, _ in from_items(node)]
            hidden = hidden | {item.alias_or_name.casefold() for item in items if item.alias_or_name}
            if any(not c.table and self.owners(c.name) for c in node.find_all(exp.Column)):
                shadowed = shadowed | self.own_columns(node)
            top = False
        elif isinstance(node, exp.Lambda):
            shadowed = shadowed | {parameter.name.casefold() for parameter in node.expressions}
        elif isinstance(node, exp.Comprehension):
            shadowed = shadowed | {node.expression.name.casefold()}
        for child in list(node.iter_expressions()):
            self.visit(child, clause, hidden, shadowed, top)

    def own_columns(self, select: exp.Select) -> frozenset[str]:
        """The columns that a nested SELECT's own FROM brings."""
        if select.args.get("from_") is None:
            return frozenset()
        probe = exp.Select(
            expressions=[exp.Star()],
            from_=select.args["from_"].copy(),
            joins=[join.copy() for join in select.args.get("joins") or []],
        )
        try:
            return frozenset(c.name.casefold() for c in self.describe(with_visible_ctes(probe, select)))
        except StatementError:
            # It cannot stand alone: a lateral join. Its names are then taken for its own.
            return frozenset(c.name.casefold() for c in select.find_all(exp.Column) if not c.table)

    def owners(self, name: str, node: exp.Expr | None = None, clause: str = "") -> list[Relation]:
        """The relations that have a column of that name; those that only filter have one in their own ON alone."""
        return [
            relation
            for relation in self.scope.relations
            if relation.find(name) is not None
            and (not relation.only_filters or (clause == "on" and node is not None and _is_in(node, relation.join)))
        ]

    def column(
        self, node: exp.Column, clause: str, hidden: frozenset[str], shadowed: frozenset[str], top: bool
    ) -> None:
        parts = [part.name for part in node.parts]
        if isinstance(node.this, exp.Star):
            return
        # `a.b.c` is a relation's column, or a field of a column: as DuckDB, the relation goes first.
        for index in range(min(len(parts), 4) - 1, 0, -1):
            if parts[index - 1].casefold() in hidden:
                continue
            relation = self.relation(parts[:index], node)
            if relation is None:
                continue
            found = relation.find(parts[index])
            if found is not None:
                return self.replace(node, relation, found.name, parts[index + 1 :])
            if index == len(parts) - 1:
                raise self.unknown(node, relation, parts[index])
        name = parts[0]
        if name.casefold() in shadowed:
            return None
        if len(parts) > 1 and name.casefold() in hidden:
            return None
        if top and len(parts) == 1 and name.casefold() in self.aliases and _alias_first(node, clause):
            return None
        owners = self.owners(name, node, clause)
        if not owners:
            if top:
                self.other(node, parts)
            return None
        several = self.merged().get(name.casefold(), ()) if len(owners) > 1 else ()
        if len(several) > 1:
            return self.replace_merged(node, list(several), name, parts[1:])
        relation = self.owner(node, name, owners)
        found = relation.find(name)
        assert found is not None
        if len(parts) > 1 and self.nested and not found.type.startswith(_HAS_FIELDS):
            return None  # the relation of an outer query has the column's name
        return self.replace(node, relation, found.name, parts[1:])

    def owner(self, node: exp.Column, name: str, owners: list[Relation]) -> Relation:
        """Which of several relations an unqualified column belongs to."""
        if len(owners) == 1:
            return owners[0]
        merged = self.merged().get(name.casefold())
        if merged is not None:
            return merged[0]
        data = [relation for relation in owners if relation.model is None]
        outputs = [
            r for r in owners if r.model is not None and r.model.version.outputs.find(name) is not None
        ]
        # An input has the value of the data's column of its name, so it takes nothing from the data's.
        if len(data) == 1 and not outputs:
            return data[0]
        if not data and len(outputs) == 1:
            return outputs[0]
        raise StatementError(
            f'the column "{name}" is ambiguous',
            hint="write " + " or ".join(f"{relation.alias}.{name}" for relation in owners),
            span=span_of(node),
        )

    def replace_merged(self, node: exp.Column, relations: list[Relation], name: str, fields: list[str]) -> None:
        """A column that a FULL JOIN … USING makes of several."""
        values = []
        for relation in relations:
            found = relation.find(name)
            assert found is not None
            value = column(found.name, relation.alias)
            value.meta[SCOPE] = self.scope.key
            values.append(value)
        resolved: exp.Expr = exp.Coalesce(this=values[0], expressions=values[1:])
        for part in fields:
            resolved = exp.Dot(this=resolved, expression=exp.to_identifier(part, quoted=True))
        if isinstance(node.parent, exp.Select) and node.arg_key == "expressions":
            resolved = exp.alias_(resolved, fields[-1] if fields else name, quoted=True, copy=False)
        node.replace(verbatim.take_place(resolved, node))

    def replace(self, node: exp.Column, relation: Relation, name: str, fields: list[str]) -> None:
        resolved: exp.Expr = column(name, relation.alias)
        resolved.meta[SCOPE] = self.scope.key
        span = span_of(node)
        if span is not None:
            resolved.meta["start"], resolved.meta["end"] = span[0], span[1] - 1
        for part in fields:
            resolved = exp.Dot(this=resolved, expression=exp.to_identifier(part, quoted=True))
        parent = node.parent
        if isinstance(parent, exp.Select) and node.arg_key == "expressions":
            resolved = exp.alias_(resolved, fields[-1] if fields else name, quoted=True)
        node.replace(verbatim.take_place(resolved, node))

    def unknown(self, node: exp.Column, relation: Relation, name: str) -> UnknownNameError:
        if relation.model is not None:
            return unknown_model_column(relation.model, name, span_of(node))
        return UnknownNameError.of(
            "column", f"{relation.alias}.{name}", relation.columns.names, span=span_of(node)
        )

    def other(self, node: exp.Column, parts: list[str]) -> None:
        """A name that is no column: a relation stands for its row, an alias of SELECT for its expression, and what
        an outer query may know is left alone. Raises UnknownNameError for the rest."""
        name = parts[0]
        relation = self.relation([name], node) if len(parts) == 1 else None
        if relation is not None:
            fields = []
            for item in relation.columns:
                value = column(item.name, relation.alias)
                value.meta[SCOPE] = self.scope.key
                fields.append(
                    exp.PropertyEQ(this=exp.to_identifier(item.name, quoted=True), expression=value)
                )
            row: exp.Expr = exp.Struct(expressions=fields)
            if isinstance(node.parent, exp.Select) and node.arg_key == "expressions":
                row = exp.alias_(row, name, quoted=True)
            node.replace(verbatim.take_place(row, node))
            return
        keyword = not node.this.quoted and name.upper() in ("ALL", "DEFAULT")
        if self.nested or keyword or name.casefold() in self.aliases:
            return
        relations = self.scope.relations
        if len(parts) > 1:
            raise UnknownNameError.of(
                "relation",
                ".".join(parts[:-1]),
                [relation.alias for relation in relations],
                span=span_of(node),
            )
        if node.this.args.get("quoted"):
            raise UnknownNameError(
                f'there is no column "{name}"',
                hint=f"a text stands in single quotes: '{name}'; double quotes are for names",
                span=span_of(node),
            )
        if not self.scope.data:
            assert relations[0].model is not None
            raise unknown_model_column(relations[0].model, name, span_of(node))
        known = [item.name for relation in relations for item in relation.columns]
        raise UnknownNameError.of("column", name, known, span=span_of(node))


def _alias_first(node: exp.Column, clause: str) -> bool:
    """Whether a bare name is an alias of SELECT before it is a column: alone in ORDER BY or DISTINCT ON, and in HAVING
    outside of aggregates."""
    if clause == "having":
        return not isinstance(node.find_ancestor(exp.AggFunc, exp.Select), exp.AggFunc)
    if clause == "order":
        above = node.parent
        while isinstance(above, exp.Paren):
            above = above.parent
        return isinstance(above, exp.Ordered)
    return False


def _is_in(node: exp.Expr, join: exp.Join | None) -> bool:
    above: exp.Expr | None = node
    while above is not None and above is not join:
        above = above.parent
    return above is join and join is not None


def unknown_model_column(model: BoundModel, name: str, span: tuple[int, int] | None) -> UnknownNameError:
    """`the model m has no column x`, with its inputs and outputs."""
    error = UnknownNameError.of("column", name, model.every_column.names)
    near = error.hint.split("?")[0] + "? " if error.hint and error.hint.startswith("did") else ""
    inputs, outputs = (", ".join(schema.names) for schema in (model.version.inputs, model.version.outputs))
    left_out = model.version.summary.get("left_out") or {}
    reason = next((why for key, why in left_out.items() if key.casefold() == name.casefold()), None)
    return UnknownNameError(
        f'the model "{model.name}" has no column "{name}"'
        + (f": it was left out of the training ({reason})" if reason else ""),
        hint=f"{near}inputs: {inputs}; outputs: {outputs}",
        span=span,
    )
