"""Owns queries from models alone: the WHERE that gives their inputs becomes the rows that they are asked for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from sqlglot import expressions as exp

from mindsql.binder.tree import and_terms, column, conjunction, or_terms, shown, span_of
from mindsql.bound import SCOPE, Relation, Scope
from mindsql.errors import StatementError
from mindsql.planner.frame import frame_column
from mindsql.planner.inputs import input_of, once, scope_columns, typed_null
from mindsql.planner.typing import Describe, fitted

_MOST_BRANCHES = 1000


@dataclass
class Branch:
    """One way of WHERE to be true: the inputs it binds, each to an expression, a list of them or a subquery."""

    terms: list[exp.Expr]
    bound: dict[tuple[str, str], exp.Expr | list[exp.Expr] | exp.Query] = field(default_factory=dict)
    consumed: list[exp.Expr] = field(default_factory=list)


def input_rows(
    scope: Scope, terms: list[exp.Expr], given: set[tuple[str, str]], describe: Describe
) -> tuple[exp.Select, list[exp.Expr], list[exp.Expr]]:
    """The rows that WHERE asks for.

    Args:
        scope: A scope whose relations are all models.
        terms: The terms of its WHERE.
        given: Inputs that another model's answer sets.
        describe: Tells the columns of a query.

    Returns:
        The SELECT that gives the input rows, the terms of WHERE that it makes true, and WHERE itself. Several
        branches give what their queries would give one by one: an input that a branch does not bind is NULL in it.

    Raises:
        StatementError: No input is given, or one is given otherwise than by `=`, IN or IS NULL.
    """
    ways = _disjuncts(scope, terms)
    branches = [_branch(scope, way, given, len(ways) > 1) for way in ways]
    for branch in branches:
        branch.bound = {key: _typed(scope, key, value, describe) for key, value in branch.bound.items()}
    names = list(dict.fromkeys(key for branch in branches for key in branch.bound))
    selects = [_select(branch, names, bool(given)) for branch in branches]
    if len(selects) == 1:
        consumed = branches[0].consumed
        made = dict(zip(map(id, consumed), branches[0].bound.items(), strict=True))
        left = [once(term, *made[id(term)], scope) if id(term) in made else term for term in terms]
        return selects[0], consumed, left
    union: exp.Query = selects[0]
    for select in selects[1:]:
        union = exp.Union(this=union, expression=select, distinct=True)
    columns = [
        exp.alias_(
            exp.column(exp.to_identifier(frame_column(*key), quoted=True)), frame_column(*key), quoted=True
        )
        for key in names
    ]
    rows = exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier("rows", quoted=True)))
    return exp.Select(expressions=columns, from_=exp.From(this=rows)), [], [_any_of(scope, branches, names)]


def _typed(
    scope: Scope, key: tuple[str, str], value: exp.Expr | list[exp.Expr] | exp.Query, describe: Describe
) -> exp.Expr | list[exp.Expr] | exp.Query:
    """The value, values or query of an input, in the input's type."""
    relation = next(relation for relation in scope.models if relation.alias == key[0])
    assert relation.model is not None
    version = relation.model.version
    item = version.inputs.find(key[1])
    if item is None or version.summary.get("casts"):
        return value
    if isinstance(value, list):
        made = [fitted(each, item, scope, describe) for each in value]
        # All of one type, or none: a list of 1 and 2.5 is one of 1.0 and 2.5.
        return made if all(isinstance(each, exp.Cast) for each in made) else value
    if isinstance(value, exp.Query):
        inner = exp.Subquery(
            this=value, alias=exp.TableAlias(this=exp.to_identifier("q"), columns=[exp.to_identifier("v")])
        )
        probe = exp.Subquery(this=value.copy())
        cast = fitted(probe, item, scope, describe)
        if not isinstance(cast, exp.Cast):
            return value
        projection = exp.Cast(this=exp.column("v", "q"), to=cast.args["to"])
        return exp.Select(expressions=[projection], from_=exp.From(this=inner))
    return fitted(value, item, scope, describe)


def _any_of(scope: Scope, branches: list[Branch], names: list[tuple[str, str]]) -> exp.Expr:
    """WHERE written out: one of the branches holds for the row that it asked for."""
    result: exp.Expr | None = None
    for branch in branches:
        terms = [term.copy() for term in branch.terms]
        for alias, name in names:
            if (alias, name) not in branch.bound:
                absent = column(name, alias)
                absent.meta[SCOPE] = scope.key
                terms.append(exp.Is(this=absent, expression=exp.Null()))
        term = exp.Paren(this=conjunction(terms))
        result = term if result is None else exp.Or(this=result, expression=term)
    assert result is not None
    return result


def _disjuncts(scope: Scope, terms: list[exp.Expr]) -> list[list[exp.Expr]]:
    """WHERE as a disjunction of conjunctions; an OR that mentions no input stays one term."""
    choices: list[list[list[exp.Expr]]] = []
    for term in terms:
        parts = or_terms(term)
        if len(parts) > 1 and any(input_of(part, scope) for part in scope_columns(term, scope)):
            choices.append([branch for part in parts for branch in _disjuncts(scope, and_terms(part))])
        else:
            choices.append([[term]])
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_BRANCHES:
        raise StatementError(
            f"WHERE has {count} ways to give the inputs, more than {_MOST_BRANCHES}",
            hint="put the inputs in a table and JOIN it",
        )
    return [list(itertools.chain.from_iterable(picked)) for picked in itertools.product(*choices)]


def _branch(scope: Scope, terms: list[exp.Expr], given: set[tuple[str, str]], one_of_many: bool) -> Branch:
    branch = Branch(terms)
    rest: list[exp.Expr] = []
    for term in terms:
        found = _binding(scope, term)
        if found is None or found[0] in branch.bound:
            rest.append(term)
        else:
            branch.bound[found[0]] = found[1]
            branch.consumed.append(term)
    for term in rest:
        for part in scope_columns(term, scope):
            owner = input_of(part, scope)
            key = (owner[0].alias, owner[1].name) if owner is not None else None
            if owner is not None and key not in branch.bound and key not in given:
                raise StatementError(
                    f'{shown(term)} gives no value to the input "{part.name}"',
                    hint=f"give it by {part.name} = …, IN (…) or IS NULL; {describe_inputs(owner[0])}",
                    span=span_of(term),
                )
    if not branch.bound and not given:
        if _wants_no_row(scope, terms):
            return branch
        relation = scope.models[0]
        raise StatementError(
            f'no input of the model "{relation.alias}" is given'
            + (f" where {shown(terms[0])}" if one_of_many and terms else ""),
            hint=f"write WHERE {_example(relation)}, or JOIN a table; {describe_inputs(relation)}",
            span=span_of(terms[0]) if terms else None,
        )
    return branch


def _wants_no_row(scope: Scope, terms: list[exp.Expr]) -> bool:
    """Whether a query only asks for the columns, as clients' probes do: `WHERE 1 = 0`, `WHERE false`, `LIMIT 0`."""
    limit = scope.select.args.get("limit")
    rows = limit.expression if isinstance(limit, exp.Limit) else None
    return (isinstance(rows, exp.Literal) and rows.this == "0") or any(map(_is_never_true, terms))


def asks_nothing(rows: exp.Select) -> bool:
    """Whether the SELECT that gives the input rows is that of `_wants_no_row`."""
    where = rows.args.get("where")
    return where is not None and _is_never_true(where.this)


def _is_never_true(term: exp.Expr) -> bool:
    if isinstance(term, exp.EQ) and isinstance(term.this, exp.Literal) and isinstance(term.expression, exp.Literal):
        return bool(term.this.is_int and term.expression.is_int and int(term.this.this) != int(term.expression.this))
    return isinstance(term, exp.Boolean) and not term.this


def describe_inputs(relation: Relation) -> str:
    """`inputs: sqft INTEGER, location VARCHAR`."""
    assert relation.model is not None
    inputs = relation.model.version.inputs
    return "inputs: " + ", ".join(f"{item.name} {item.type}" for item in inputs)


def _example(relation: Relation) -> str:
    assert relation.model is not None
    inputs = relation.model.version.inputs
    return " AND ".join(f"{item.name} = …" for item in inputs[:2]) or "…"


def _binding(
    scope: Scope, term: exp.Expr
) -> tuple[tuple[str, str], exp.Expr | list[exp.Expr] | exp.Query] | None:
    """The input that a term gives, and its value or values."""
    truth = term.this if isinstance(term, exp.Not) else term
    if (owner := input_of(truth, scope)) is not None and owner[1].family == "boolean":
        return (owner[0].alias, owner[1].name), exp.Boolean(this=truth is term)
    if isinstance(term, (exp.EQ, exp.NullSafeEQ)):
        for side, value in ((term.this, term.expression), (term.expression, term.this)):
            owner = input_of(side, scope)
            if owner is not None and _is_constant(scope, value):
                return (owner[0].alias, owner[1].name), typed_null(value, owner[1])
    elif isinstance(term, exp.Is) and isinstance(term.expression, exp.Null):
        owner = input_of(term.this, scope)
        if owner is not None:
            return (owner[0].alias, owner[1].name), typed_null(exp.Null(), owner[1])
    elif isinstance(term, exp.In):
        owner = input_of(term.this, scope)
        if owner is None:
            return None
        key = (owner[0].alias, owner[1].name)
        query = term.args.get("query")
        if query is not None:
            return key, query.unnest() if isinstance(query, exp.Subquery) else query
        items = term.args.get("field")
        if items is not None and _is_constant(scope, items):  # IN $list, IN [1, 2]
            return key, exp.Select(expressions=[exp.Unnest(expressions=[items])])
        if term.expressions and all(_is_constant(scope, value) for value in term.expressions):
            return key, list(term.expressions)
    return None


def _is_constant(scope: Scope, value: exp.Expr) -> bool:
    """Whether a value depends on no row. A column of an outer query is an error: there is no row of it here."""
    if any(True for _ in scope_columns(value, scope)):
        return False
    for part in value.find_all(exp.Column):
        if part.find_ancestor(exp.Query) is scope.select:
            raise StatementError(
                f"{shown(part)} is a column of an outer query, and cannot be the input of a model "
                "in a subquery",
                hint="JOIN the model in the outer query instead",
                span=span_of(part),
            )
    return True


def _select(branch: Branch, names: list[tuple[str, str]], chained: bool) -> exp.Select:
    projections: list[exp.Expr] = []
    items: list[exp.Expr] = []
    certain = True
    for key in names:
        value = branch.bound.get(key, exp.Null())
        if isinstance(value, (list, exp.Query)):
            alias = f"v{len(items)}"
            if isinstance(value, list):
                literals = _different(value)
                certain = certain and literals is not None
                rows = [exp.Tuple(expressions=[item.copy()]) for item in literals or value]
                inner: exp.Expr = exp.Values(expressions=rows)
            else:
                certain = False
                inner = value.copy()
            items.append(
                exp.Subquery(
                    this=exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=inner))),
                    alias=exp.TableAlias(this=exp.to_identifier(alias), columns=[exp.to_identifier("v")]),
                )
            )
            cell: exp.Expr = exp.column("v", alias)
        else:
            cell = value.copy()
        projections.append(exp.alias_(cell, frame_column(*key), quoted=True))
    select = exp.Select(expressions=projections or [exp.alias_(exp.Boolean(this=True), "row", quoted=True)])
    if not projections and not chained:
        select = select.where(exp.Boolean(this=False))
    if items:
        select.set("from_", exp.From(this=items[0]))
        select.set("joins", [exp.Join(this=item, kind="CROSS") for item in items[1:]])
        if not certain:
            select.set("distinct", exp.Distinct())
    return select


def _different(values: list[exp.Expr]) -> list[exp.Expr] | None:
    """Literals without repetition, in order; None when only DuckDB can tell whether values are equal.

    Rows then come in the order of the list, which DISTINCT would lose.
    """
    bare = [value.this if isinstance(value, exp.Cast) else value for value in values]
    kinds = {value.args["to"] if isinstance(value, exp.Cast) else None for value in values}
    if len(kinds) > 1:
        return None
    kind = next(iter(kinds))
    texts = kind is None or kind.this == exp.DType.VARCHAR
    if texts and all(isinstance(value, exp.Literal) and value.is_string for value in bare):
        return list({each.this: value for each, value in zip(bare, values, strict=True)}.values())
    if all(isinstance(value, exp.Literal) and not value.is_string and value.this.isdigit() for value in bare):
        return list({int(each.this): value for each, value in zip(bare, values, strict=True)}.values())
    return None
