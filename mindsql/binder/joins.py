"""Owns the joins of a SELECT with a model: as one list, and of the kinds in which a model has a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql.binder.relations import MODEL
from mindsql.binder.tree import cross_if_bare, span_of
from mindsql.bound import Relation
from mindsql.errors import StatementError


def flatten(select: exp.Select) -> None:
    """Bring the items of FROM into one list: joins that hang on a table, and parentheses round joins."""
    source = select.args["from_"]
    joins: list[exp.Join] = list(select.args.get("joins") or [])
    first = source.this
    while True:
        inner = first.this if isinstance(first, exp.Subquery) and not first.alias else None
        if isinstance(inner, exp.Table) and any(MODEL in table.meta for table in inner.find_all(exp.Table)):
            first = inner
        hanging = first.args.get("joins")
        if not hanging:
            break
        first.set("joins", None)
        joins = [*hanging, *joins]
    source.set("this", first)
    flat: list[exp.Join] = []
    for join in joins:
        flat.append(join)
        item = join.this
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table):
            if any(MODEL in table.meta for table in item.find_all(exp.Table)):
                raise StatementError(
                    "a model cannot stand in a join in parentheses",
                    hint="write the joins one after the other, the model last",
                )
        elif isinstance(item, exp.Table) and item.args.get("joins"):
            flat.extend(item.args["joins"])
            item.set("joins", None)
    for join in flat:
        cross_if_bare(join) if MODEL not in join.this.meta else None
    select.set("joins", flat)


def check_joins(relations: Sequence[Relation]) -> None:
    """Refuse the joins that a model cannot take part in: RIGHT, FULL, ASOF … Raises StatementError."""
    first_is_model = relations[0].model is not None
    for index, relation in enumerate(relations):
        join = relation.join
        follows_model = any(earlier.model is not None for earlier in relations[:index])
        if join is not None and (relation.model is not None or follows_model):
            _check_kind(relation, join, first_is_model and index == 1)


def _check_kind(relation: Relation, join: exp.Join, after_model: bool) -> None:
    said = [str(join.args.get(key) or "").upper() for key in ("method", "side", "kind")]
    word = " ".join(part for part in said if part and part not in ("INNER", "OUTER", "CROSS"))
    allowed = (
        ("",) if after_model else ("", "LEFT", "SEMI", "ANTI") if relation.model is None else ("", "LEFT")
    )
    if word in allowed:
        return
    what = "after a model" if relation.model is None else "with a model"
    raise StatementError(
        f"{'an' if word.startswith('A') else 'a'} {word} JOIN {what} has no meaning: "
        "a model answers the rows it is given and has none of its own",
        hint="put the joins between tables in a subquery, then write: … JOIN model",
        span=span_of(relation.item),
    )


def bare_names(text: str) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """The names that stand in a JOIN without a condition, and their places; nothing when the text cannot be read."""
    try:
        statements = grammar.parse(text)
    except grammar.ParseError:
        return
    for statement in statements:
        for join in statement.tree.find_all(exp.Join) if isinstance(statement, grammar.Query) else ():
            bare = not any(join.args.get(key) for key in ("on", "using", "method", "kind"))
            if bare and isinstance(join.this, exp.Table) and len(join.this.parts) == 1:
                yield join.this.name, span_of(join.this.this)


def name_natural(relations: list[Relation]) -> None:
    """Write NATURAL JOIN as the USING that it means."""
    for number, relation in enumerate(relations):
        join = relation.join
        if join is None or str(join.args.get("method") or "").upper() != "NATURAL" or relation.model is not None:
            continue
        before = [other for other in relations[:number] if other.model is None and not other.only_filters]
        common = [item.name for item in relation.columns if any(other.find(item.name) for other in before)]
        join.set("using", [exp.to_identifier(name, quoted=True) for name in common])
        join.set("method", None)


def is_lateral(item: exp.Expr, relations: list[Relation]) -> bool:
    """Whether an item of FROM reads a model that stands before it, by its name."""
    before = []
    for relation in relations:
        if relation.item is item:
            break
        before.append(relation)
    models = {relation.alias.casefold() for relation in before if relation.model is not None}
    return any(part.table.casefold() in models for part in item.find_all(exp.Column) if part.table)
