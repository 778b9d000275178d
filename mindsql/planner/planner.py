"""Owns the way from a bound query to a plan: each scope is drafted plainly, the rules trim it, operators come out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sqlglot import expressions as exp

from mindsql.binder.ctes import with_visible_ctes
from mindsql.binder.tree import (
    and_terms,
    column,
    data_type,
    names_in,
    parameters_in,
    set_where,
    span_of,
    table,
    unused_name,
)
from mindsql.bound import SCOPE, BoundQuery, Relation, Scope
from mindsql.errors import StatementError
from mindsql.planner.constants import asks_nothing, describe_inputs, input_rows
from mindsql.planner.frame import Draft, PredictStep, frame_column, to_frame
from mindsql.planner.inputs import (
    Mappings,
    ambiguous_input,
    map_joins,
    map_where,
    missing_input,
    once,
    scope_columns,
)
from mindsql.planner.once import Once
from mindsql.planner.operators import Operator, Output, Plan, Predict, Project, Scan
from mindsql.planner.rules import RULES, Rule, constant_values, direct_projection, inline_scans
from mindsql.planner.scan import carried_as, refuse_later_inputs, scan_relations
from mindsql.planner.translation import inline, with_step
from mindsql.planner.typing import Describe, arrow_roundtrips, fitted, type_of
from mindsql.schema import Column
from mindsql_grammar import verbatim


def plan(bound: BoundQuery, rules: Sequence[Rule] = RULES) -> Plan:
    """Plan a bound query.

    Args:
        bound: The query; its tree is changed into the text of `Output`.
        rules: The optional rules to apply, in order. Any subset gives the same rows.

    Raises:
        StatementError: An input is missing, ambiguous, or not given.
    """
    frames: dict[str, Operator] = {}
    applied: list[str] = []
    notes: list[str] = []
    missing: list[str] = []
    parameters = tuple(parameters_in(bound.tree))
    once_only = Once(bound.tree, [scope.select for scope in bound.scopes])
    taken = names_in(bound.tree)
    for scope in bound.scopes:
        draft = draft_scope(scope, unused_name("__p", taken), bound.describe)
        draft.frames = frozenset(frames)
        for rule in rules:
            if rule.draft(draft):
                draft.applied.append(rule.name)
        applied.extend(name for name in draft.applied if name not in applied)
        missing.extend(sentence for sentence in draft.missing if sentence not in missing)
        frames[draft.name] = _operators(draft, frames, rules, once_only)
        notes.extend(
            f"{step.alias}: computed by DuckDB ({step.translation['kind']})"
            for step in draft.steps
            if step.translation is not None
        )
    _drop_unread_ctes(bound.tree)
    for kept in once_only.kept:
        kept.inputs = _inputs(kept.tree, frames, rules)
    inputs = _inputs(bound.tree, frames, rules)
    root = Output(bound.tree, inputs)
    direct = None
    if any(rule.name == direct_projection.name for rule in rules):
        direct = direct_projection.columns(root, bound.schema)
        applied.extend([direct_projection.name] if direct is not None else [])
    return Plan(
        root,
        direct,
        bound.natives,
        bound.schema,
        tuple(applied),
        parameters,
        tuple(notes),
        tuple(missing),
        creates=isinstance(bound.tree, exp.Create),
        kept=tuple(once_only.kept),
    )


def draft_scope(scope: Scope, name: str, describe: Describe) -> Draft:
    """The plain plan of one scope: everything is scanned, everything is predicted."""
    select = scope.select
    terms = and_terms(select.args["where"].this if select.args.get("where") else None)
    mappings = map_joins(scope)
    draft = Draft(scope, name, exp.Select(), [], select)
    if scope.data:
        consumed = map_where(scope, terms, mappings)
        draft.consumed = [term for term in consumed if _is_literal(mappings, term)]
        made = {id(mappings.terms[key]): (key, value) for key, value in mappings.values.items()}
        set_where(
            select, [once(term, *made[id(term)], scope) if id(term) in made else term for term in terms]
        )
        later = scan_relations(draft, mappings)
        refuse_later_inputs(mappings, later, scope)
        _add_steps(draft, mappings, [r for r in scope.data if r not in later], describe)
    else:
        later = []
        chained = [term for term in terms if _reads_model(term, scope)]
        map_where(scope, chained, mappings)
        rest = [term for term in terms if not any(term is used for used in mappings.terms.values())]
        draft.scan, draft.consumed, where = input_rows(scope, rest, set(mappings.values), describe)
        _carry_constants(draft, describe)
        set_where(select, [term for term in terms if not any(term is kept for kept in rest)] + where)
        _add_steps(draft, mappings, [], describe)
    _finish(draft, later)
    return draft


def _is_literal(mappings: Mappings, term: exp.Expr) -> bool:
    value = next(v for key, v in mappings.values.items() if mappings.terms[key] is term)
    return isinstance(value, exp.Literal) or (
        isinstance(value, exp.Neg) and isinstance(value.this, exp.Literal)
    )


def _reads_model(term: exp.Expr, scope: Scope) -> bool:
    """Whether an equality of model columns sets one model's input from another model's answer."""
    return isinstance(term, exp.EQ) and len({part.table for part in scope_columns(term, scope)}) > 1


def _carry_constants(draft: Draft, describe: Describe) -> None:
    """Give the constants of a query from models alone types that come back from Arrow whole."""
    declared = {
        frame_column(relation.alias, item.name): item
        for relation in draft.scope.models
        if relation.model is not None
        for item in relation.model.version.inputs
    }
    projections = []
    for projection in draft.scan.expressions:
        item = declared.get(projection.alias)
        if item is None or arrow_roundtrips(item.type):
            projections.append(projection)
            continue
        kind = item.type
        if projection.this.find(exp.Column) is None:
            kind = type_of(projection.this, draft.scope, describe) or item.type
        projections.append(carried_as(draft, projection.alias, projection.this, kind))
    draft.scan.set("expressions", projections)


def _add_steps(draft: Draft, mappings: Mappings, data: list[Relation], describe: Describe) -> None:
    """One step for each model, each input taken from what is set, or from the column of its name."""
    scope = draft.scope
    earlier: list[Relation] = []
    for relation in _by_need(scope, mappings):
        assert relation.model is not None
        version = relation.model.version
        outputs = {item.name: frame_column(relation.alias, item.name) for item in version.answers}
        step = PredictStep(relation.alias, relation.model, {}, outputs)
        absent: list[str] = []
        casts = bool(version.summary.get("casts"))
        altered = (item for item in version.answers if not arrow_roundtrips(item.type))
        draft.types.update({outputs[item.name]: item.type for item in altered})
        for item in version.inputs:
            own = frame_column(relation.alias, item.name)
            value = mappings.values.get((relation.alias, item.name))
            if value is not None:
                value = value if casts else fitted(value, item, scope, describe)
                step.inputs[item.name] = _explicit(draft, step, own, value, earlier, describe)
                continue
            if own in draft.scan_columns:  # bound by the WHERE of a query from models alone
                step.inputs[item.name] = own
                continue
            several = _full(draft, item.name, data)
            if several is not None:
                value = several if casts else fitted(several, item, scope, describe)
                step.inputs[item.name] = _explicit(draft, step, own, value, earlier, describe)
                continue
            found = _by_name(draft, relation, item.name, data, earlier)
            owner = found[0] if found is not None else None
            if found is not None and not casts and (value := _recast(found[1], item, scope)) is not None:
                step.inputs[item.name] = _explicit(draft, step, own, value, earlier, describe)
                continue
            step.inputs[item.name] = owner
            if owner is not None:
                draft.shared[relation.alias, item.name] = owner
            elif item.name not in version.outputs.names:
                absent.append(item.name)
                # Not given: the frame still has the column, for SELECT * and for the engine.
                draft.scan.append("expressions", exp.alias_(_null(item.type), own, quoted=True))
        if absent:
            _check_missing(relation, absent, data, draft.scan)
            names = ", ".join(f'"{name}"' for name in absent)
            if data or not asks_nothing(draft.scan):
                counts = "are not given, and count" if len(absent) > 1 else "is not given, and counts"
                draft.missing.append(
                    f"{relation.alias}: {names} {counts} as missing; USING strict = true refuses that"
                )
        draft.steps.append(step)
        earlier.append(relation)


def _by_need(scope: Scope, mappings: Mappings) -> list[Relation]:
    """The models of a scope, each after those whose columns set its inputs. Raises StatementError: in a circle."""
    waiting, ordered = list(scope.models), []
    while waiting:
        names = {relation.alias for relation in waiting}
        ready = next((one for one in waiting if not mappings.read_by(one, scope) & names - {one.alias}), None)
        if ready is None:
            raise StatementError(
                f'the models {" and ".join(sorted(names))} wait for each other: each takes an input from the other',
                hint="give one of them its input by a column of a table or a constant",
                span=span_of(waiting[0].item),
            )
        waiting.remove(ready)
        ordered.append(ready)
    return ordered


def _null(type_name: str) -> exp.Expr:
    return exp.Cast(this=exp.Null(), to=exp.Var(this=type_name))


def _explicit(
    draft: Draft, step: PredictStep, own: str, value: exp.Expr, earlier: list[Relation], describe: Describe
) -> str:
    """An input that ON or WHERE sets: computed in the scan, or between the models when it reads an answer."""
    read = {part.table for part in scope_columns(value, draft.scope)}
    if read & {relation.alias for relation in earlier}:
        step.computed[own] = to_frame(value.copy(), draft)
    else:
        kind = type_of(value, draft.scope, describe)
        draft.scan.append("expressions", carried_as(draft, own, value.copy(), kind))
    return own


def _recast(owner: tuple[Relation, str], item: Column, scope: Scope) -> exp.Expr | None:
    """A column of an input's name as a value of the input's type; None when it is of that family already."""
    relation, name = owner
    found = relation.find(name) or (relation.model.version.answers.find(name) if relation.model else None)
    if found is None or found.family in (item.family, "other", "nested", "binary"):
        return None
    if item.family in ("other", "nested", "binary") or found.type == '"NULL"':
        return None
    value = column(name, relation.alias)
    value.meta[SCOPE] = scope.key
    target = "VARCHAR" if item.type.upper().startswith("ENUM") else item.type
    return exp.Cast(this=value, to=data_type(target))


def _full(draft: Draft, name: str, data: list[Relation]) -> exp.Expr | None:
    """An input of a name that FULL JOIN … USING makes one column of several: the first of them that has a value."""
    merged = False
    for other in data:
        using = (other.join.args.get("using") if other.join is not None else None) or []
        if any(node.name.casefold() == name.casefold() for node in using) and other.join is not None:
            merged = other.join.side.upper() == "FULL" or (merged and other.join.side.upper() != "RIGHT")
    if not merged:
        return None
    values: list[exp.Expr] = []
    for other in data:
        found = other.find(name)
        if found is not None and not other.only_filters:
            values.append(column(found.name, other.alias))
            values[-1].meta[SCOPE] = draft.scope.key
    return exp.Coalesce(this=values[0], expressions=values[1:])


def _by_name(
    draft: Draft, relation: Relation, name: str, data: list[Relation], earlier: list[Relation]
) -> tuple[str, tuple[Relation, str]] | None:
    """The frame column of an input's own name, and whose it is; None when nothing has one."""
    owners: list[tuple[Relation, str]] = []
    before = list(itertools.takewhile(lambda other: other is not relation, draft.scope.relations))
    # What stands before the model gives its inputs; what is joined after it does only where nothing else can.
    has = [other for other in data if other.find(name) is not None and not other.only_filters]
    for other in [other for other in has if any(other is one for one in before)] or has:
        found = other.find(name)
        assert found is not None
        owners.append((other, found.name))
    for other in earlier:
        assert other.model is not None
        columns = other.model.version.outputs if data else other.columns
        found = columns.find(name)
        if found is not None:
            owners.append((other, found.name))
    if len(owners) > 1:
        merged = [
            other
            for other in data
            for node in (other.join.args.get("using") if other.join is not None else None) or []
            if node.name.casefold() == name.casefold()
        ]
        if not merged:
            raise ambiguous_input(relation, name, [other.alias for other, _ in owners])
        right = [other for other in merged if other.join is not None and other.join.side.upper() == "RIGHT"]
        if right:
            owners = [owner for owner in owners if owner[0] is right[-1]]
    if owners:
        key = (owners[0][0].alias, owners[0][1])
        return draft.shared.get(key) or frame_column(*key), owners[0]
    return None


def _check_missing(relation: Relation, absent: list[str], data: list[Relation], scan: exp.Select) -> None:
    """Refuse inputs that are not given where they must be: all of them never are. Raises StatementError."""
    assert relation.model is not None
    version = relation.model.version
    if not data and asks_nothing(scan):
        return
    none = len(absent) == len(version.inputs)
    if not (none or relation.model.strict or not version.summary.get("accepts_missing", True)):
        return
    if data:
        raise missing_input(relation, absent[0], [item.name for other in data for item in other.columns])
    needs = f'the model "{relation.alias}" needs a value for every input, and "{absent[0]}" is not given'
    raise StatementError(
        f'no input of the model "{relation.alias}" is given' if none else needs,
        hint=describe_inputs(relation),
    )


def _finish(draft: Draft, later: list[Relation]) -> None:
    """Turn the user's SELECT into one over the frame, in place."""
    select = draft.finish
    kept = [relation.join for relation in later if relation.within is None and relation.join is not None]
    select.set("from_", None)
    select.set("joins", None)
    to_frame(select, draft)
    # Columns of relations joined after the models are their own still, not the frame's.
    own = {
        frame_column(relation.alias, item.name): column(item.name, relation.alias)
        for relation in later
        for item in (*relation.columns, *relation.hidden)
    }
    for join in kept:
        if join.args.get("on") is not None:
            join.set("on", to_frame(join.args["on"], draft))
        to_frame(join.this, draft)
        for part in list(select.find_all(exp.Column)) + list(join.find_all(exp.Column)):
            if part.table == draft.name and part.name in own:
                value = own[part.name].copy()
                value.meta[SCOPE] = draft.scope.key
                part.replace(verbatim.take_place(value, part))
    select.set("from_", exp.From(this=table(draft.name)))
    select.set("joins", kept or None)


def _operators(
    draft: Draft, frames: dict[str, Operator], rules: Sequence[Rule], once_only: Once
) -> Operator:
    """The draft as operators."""
    operator: Operator | None = None
    if any(rule.name == constant_values.name for rule in rules):
        operator = constant_values.values(draft)
    if operator is None:
        scan = draft.scan
        for step in draft.steps:
            if step.translation is not None:
                scan = with_step(scan, step)
        once_only.share(scan, draft.scope.select)
        scan = with_visible_ctes(scan, draft.scope.select)
        operator = Scan(scan, _inputs(scan, frames, rules))
    for step in draft.steps:
        if step.translation is not None:
            continue
        if step.computed:
            operator = Project(operator, draft.name, step.computed)
        operator = Predict(operator, step.model, step.inputs, step.outputs, step.once, step.fallback_reason)
    return operator


def _inputs(tree: exp.Expr, frames: dict[str, Operator], rules: Sequence[Rule]) -> dict[str, Operator]:
    """The frames that a tree reads. A frame that is a mere scan becomes a subquery of the tree, when rules allow."""
    may_inline = any(rule.name == inline_scans.name for rule in rules)
    found: dict[str, Operator] = {}
    for name in dict.fromkeys(node.name for node in tree.find_all(exp.Table) if not node.db):
        operator = frames.get(name)
        if operator is None:
            continue
        if may_inline and isinstance(operator, Scan) and inline(tree, name, operator.tree):
            found.update(operator.inputs)
        else:
            found[name] = operator
    return found


def _drop_unread_ctes(tree: exp.Expr) -> None:
    """Take out common table expressions that nobody reads now: scans have copies of what they read."""
    changed = True
    while changed:
        changed = False
        read = {node.name.casefold() for node in tree.find_all(exp.Table) if not node.db}
        for with_ in list(tree.find_all(exp.With)):
            kept = [cte for cte in with_.expressions if cte.alias.casefold() in read]
            if len(kept) == len(with_.expressions):
                continue
            changed = True
            if kept:
                with_.set("expressions", kept)
            else:
                with_.pop()
