"""Owns the small questions asked of sqlglot trees: what stands in a FROM, what belongs to a SELECT, how it prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from sqlglot import expressions as exp

from mindsql.schema import Schema
from mindsql_grammar import verbatim

_TEXT = "mindsql_text"
_BARE = re.compile(r"[A-Za-z_]\w*")

RELATION = "mindsql_relation"
"""Key in `Table.meta`: the model or native query that a table stands for."""


def generate(tree: exp.Expr) -> str:
    """A tree as DuckDB's SQL. What DuckDB has no words for is for the binder to refuse, not for sqlglot to log."""
    return verbatim.write(tree)


WRITING = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
"""The statements that change rows. In a WITH they give what their RETURNING says."""


def names_in(tree: exp.Expr) -> set[str]:
    """All names in a tree, in lower case."""
    return {name.name.casefold() for name in tree.find_all(exp.Identifier)}


def parameters_in(tree: exp.Expr) -> list[str]:
    """The names of the parameters in a tree, each once, in their order."""
    nodes = tree.find_all(exp.Placeholder, exp.Parameter)
    return list(dict.fromkeys(str(n.this.name if isinstance(n.this, exp.Expr) else n.this) for n in nodes))


def unused_name(prefix: str, taken: set[str]) -> str:
    """`__p0`, or the next that no name in the statement is; it is taken then."""
    number = 0
    while f"{prefix}{number}" in taken:
        number += 1
    taken.add(f"{prefix}{number}")
    return f"{prefix}{number}"


def returned(statement: exp.Expr) -> exp.Query:
    """What a statement that changes rows gives, as a SELECT that changes nothing: RETURNING, over the table."""
    returning = statement.args.get("returning")
    target = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
    if returning is None or isinstance(statement, exp.Merge):
        return exp.Select(expressions=[exp.alias_(exp.Literal.number(0), "Count", quoted=True)])
    return exp.Select(
        expressions=[item.copy() for item in returning.expressions], from_=exp.From(this=target.copy())
    )


def printed(tree: exp.Expr) -> str:
    """As `generate`, kept with the tree: a plan that is run again is not printed again. The tree may not change."""
    text = tree.meta.get(_TEXT)
    if text is None:
        text = tree.meta[_TEXT] = generate(tree)
    return str(text)


def shown(tree: exp.Expr) -> str:
    """A tree as a user would write it: only names that need quotes have them."""
    copy = tree.copy()
    for name in copy.find_all(exp.Identifier):
        name.set("quoted", not _BARE.fullmatch(name.this))
    return generate(copy)


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column."""
    return exp.column(
        exp.to_identifier(name, quoted=True), exp.to_identifier(table, quoted=True) if table else None
    )


def table(name: str) -> exp.Table:
    """A quoted table."""
    return exp.Table(this=exp.to_identifier(name, quoted=True))


def span_of(node: exp.Expr) -> tuple[int, int] | None:
    """Where an expression stands in the statement: from its first name to its last, as the parser noted them."""
    marked = [part.meta for part in node.find_all(exp.Identifier, exp.Column) if "start" in part.meta]
    if not marked:
        return None
    return min(meta["start"] for meta in marked), max(meta["end"] for meta in marked) + 1


def from_items(select: exp.Select) -> Iterator[tuple[exp.Expr, exp.Join | None]]:
    """The items of a SELECT's FROM in order, each with the join that brings it in."""
    source = select.args.get("from_")
    if source is None:
        return
    yield source.this, None
    for join in select.args.get("joins") or []:
        yield join.this, join


def is_parenthesised(item: exp.Expr) -> bool:
    """Whether an item of FROM is a join, or a table, in parentheses, and no query: `(a JOIN b ON …)`."""
    if not isinstance(item, exp.Subquery) or item.alias:
        return False
    inner = item.this
    return isinstance(inner, exp.Table) or (
        isinstance(inner, exp.Subquery) and (bool(inner.args.get("joins")) or is_parenthesised(inner))
    )


def members(item: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Join | None]]:
    """The items that stand in parentheses in FROM, in order, each with the join that brings it in there."""
    joins = item.args.get("joins") or []
    if is_parenthesised(item):
        yield from members(item.this)
    else:
        yield item, None
    for join in joins:
        for number, (inner, own) in enumerate(members(join.this)):
            yield inner, own if number else join


def innermost_first(tree: exp.Expr) -> Iterator[exp.Select]:
    """The SELECTs of a tree, each after those that it can read: its common table expressions, its subqueries."""
    with_ = tree.args.get("with_")
    children = [with_] if isinstance(with_, exp.Expr) else []
    children += [child for child in tree.iter_expressions() if child is not with_]
    for child in children:
        yield from innermost_first(child)
    if isinstance(tree, exp.Select):
        yield tree


def direct_tables(select: exp.Select) -> Iterator[exp.Table]:
    """The tables that stand in a SELECT's own FROM, also in parentheses, but not in its subqueries."""
    for item, _ in from_items(select):
        yield from (inner for inner, _ in members(item) if isinstance(inner, exp.Table))


def and_terms(condition: exp.Expr | None) -> list[exp.Expr]:
    """The terms of a conjunction, parentheses taken off."""
    if condition is None:
        return []
    condition = condition.unnest() if isinstance(condition, exp.Paren) else condition
    if isinstance(condition, exp.And):
        return and_terms(condition.this) + and_terms(condition.expression)
    return [condition]


def or_terms(condition: exp.Expr) -> list[exp.Expr]:
    """The terms of a disjunction, parentheses taken off."""
    condition = condition.unnest() if isinstance(condition, exp.Paren) else condition
    if isinstance(condition, exp.Or):
        return or_terms(condition.this) + or_terms(condition.expression)
    return [condition]


def conjunction(terms: Iterable[exp.Expr]) -> exp.Expr | None:
    """Terms joined by AND; None for none."""
    result: exp.Expr | None = None
    for term in terms:
        term = exp.Paren(this=term) if isinstance(term, exp.Or) else term
        result = term if result is None else exp.And(this=result, expression=term)
    return result


def set_where(select: exp.Select, terms: Iterable[exp.Expr]) -> None:
    """Replace a SELECT's WHERE."""
    condition = conjunction(terms)
    select.set("where", exp.Where(this=condition) if condition is not None else None)


def empty_relation(schema: Schema) -> exp.Select:
    """`SELECT NULL::T AS a, …`: a relation of that shape, for DuckDB to check a query against."""
    projections = [
        exp.alias_(exp.Cast(this=exp.Null(), to=data_type(item.type)), item.name, quoted=True)
        for item in schema
    ]
    return exp.Select(expressions=projections or [exp.alias_(exp.Null(), "no_columns", quoted=True)])


def data_type(name: str) -> exp.Expr:
    """A DuckDB type's name as a node; names that sqlglot does not know (ENUMs) are taken as they are."""
    return exp.Var(this=name)


def twin(tree: exp.Expr, schemas: Mapping[str, Schema]) -> exp.Expr:
    """A copy in which every table that stands for a model or a native query is an empty relation."""
    copy = tree.copy()
    for cte in list(copy.find_all(exp.CTE)):
        if isinstance(cte.this, WRITING):
            cte.set("this", returned(cte.this))
    for node in list(copy.find_all(exp.Table)):
        key = str(node.meta.get(RELATION))
        if key not in schemas:
            continue
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
        replacement = exp.Subquery(this=empty_relation(schemas[key]), alias=alias.copy())
        if node.args.get("joins"):
            replacement.set("joins", [join.copy() for join in node.args["joins"]])
        verbatim.take_place(replacement, node)
        if node.parent is None:
            return cast(exp.Expr, replacement)
        node.replace(replacement)
    for join in copy.find_all(exp.Join):
        cross_if_bare(join)
    return copy


def cross_if_bare(join: exp.Join) -> None:
    """A join without a condition is a CROSS JOIN: printed as a comma it would bind weaker than its neighbours."""
    if join.args.get("on") is None and not join.args.get("using") and not join.args.get("method"):
        join.set("side", None)
        join.set("kind", "CROSS")
