"""Owns the scan below the models: which relations of a FROM it joins, and which are joined to the answers instead."""

from __future__ import annotations

import itertools

from sqlglot import expressions as exp

from mindsql.binder.joins import follows_model, needs_order
from mindsql.binder.tree import column, conjunction, cross_if_bare, data_type, span_of
from mindsql.bound import SCOPE, Relation, Scope
from mindsql.errors import StatementError
from mindsql.planner.frame import Draft, frame_column
from mindsql.planner.inputs import Mappings, scope_columns
from mindsql.planner.typing import arrow_roundtrips, carried


def scan_relations(draft: Draft, mappings: Mappings) -> list[Relation]:
    """Put the relations that a scan can join below the models. Returns those that must be joined after them."""
    scope = draft.scope
    models = {relation.alias for relation in scope.models}
    later: list[Relation] = []
    items: list[Relation] = []
    in_order = False
    for relation in scope.data:
        if relation.within is not None:
            (later if any(relation.within is other for other in later) else items).append(relation)
            continue
        if relation.join is not None and follows_model(relation, scope.relations):
            _name_using(relation, scope)
            in_order |= needs_order(relation.join) or _is_counted(relation, scope, mappings)
        condition = relation.join.args.get("on") if relation.join is not None else None
        parts = [part for part in (condition, relation.item) if part is not None]
        read = {named.table for part in parts for named in scope_columns(part, scope)}
        if in_order or read & (models | {other.alias for other in later}):
            later.append(relation)
        else:
            items.append(relation)
    if not items:
        first = later[0]
        raise StatementError(
            f'the model "{scope.models[0].alias}" has no rows to answer: the join of "{first.alias}" needs its answer'
        )
    joins = []
    for relation in items[1:]:
        if relation.within is not None:
            continue
        join = relation.join
        copy = join.copy() if join is not None else exp.Join(this=relation.item.copy())
        cross_if_bare(copy)
        joins.append(copy)
    projections = [
        carried_as(draft, frame_column(relation.alias, item.name), column(item.name, relation.alias), item.type)
        for relation in items
        if not relation.only_filters
        for item in (*relation.columns, *relation.hidden)
    ]
    draft.collations.update(
        (frame_column(relation.alias, name), collation)
        for relation in items
        for name, collation in relation.collations.items()
    )
    draft.scan = exp.Select(
        expressions=projections, from_=exp.From(this=items[0].item.copy()), joins=joins or None
    )
    return later


def refuse_later_inputs(mappings: Mappings, later: list[Relation], scope: Scope) -> None:
    """Refuse an input that is set from what is joined to the model's answers. Raises StatementError."""
    joined = {relation.alias for relation in later}
    for (model, name), value in mappings.values.items():
        for part in scope_columns(value, scope):
            if part.table in joined:
                raise StatementError(
                    f'the input "{name}" of the model "{model}" cannot come from "{part.table}", which is joined to '
                    "what the models answer",
                    hint=f"join {part.table} before the model, or put the join into a subquery and JOIN {model} to it",
                    span=span_of(part),
                )


def _is_counted(relation: Relation, scope: Scope, mappings: Mappings) -> bool:
    """Whether a model before it must be given all rows at once, and these are none of its inputs."""
    before = list(itertools.takewhile(lambda other: other is not relation, scope.relations))
    for model in before:
        if model.model is None or model.model.version.summary.get("row_wise", True):
            continue
        absent = [
            item.name
            for item in model.model.version.inputs
            if (model.alias, item.name) not in mappings.values
            and not any(other.find(item.name) for other in before if other is not model)
        ]
        if relation.alias not in mappings.read_by(model, scope) and not any(map(relation.find, absent)):
            return True
    return False


def _name_using(relation: Relation, scope: Scope) -> None:
    """Write the USING of a join after a model as the ON that it means: the frame has other names."""
    assert relation.join is not None
    terms: list[exp.Expr] = [relation.join.args["on"]] if relation.join.args.get("on") is not None else []
    for node in relation.join.args.get("using") or []:
        before = itertools.takewhile(lambda other: other is not relation, scope.relations)
        inside = (other for other in scope.relations if relation in (other, other.within))
        left = next(other for other in before if other.find(node.name) is not None and not other.only_filters)
        right = next(other for other in inside if other.find(node.name) is not None)
        sides = [column(node.name, owner.alias) for owner in (left, right)]
        for side in sides:
            side.meta[SCOPE] = scope.key
        terms.append(exp.EQ(this=sides[0], expression=sides[1]))
    relation.join.set("using", None)
    relation.join.set("on", conjunction(terms))


def carried_as(draft: Draft, name: str, value: exp.Expr, type_name: str | None) -> exp.Expr:
    """A projection of the scan, of a type that comes back from Arrow whole."""
    if type_name is not None and not arrow_roundtrips(type_name):
        draft.types[name] = type_name
        if carried(type_name) != type_name:
            value = exp.Cast(this=value, to=data_type(carried(type_name)))
    return exp.alias_(value, name, quoted=True)
