"""Owns the FROM of a SELECT with a model: its relations and joins as one list, of kinds that have a meaning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql.binder.ctes import with_visible_ctes
from mindsql.binder.relations import MODEL
from mindsql.binder.tree import column, cross_if_bare, from_items, is_parenthesised, members, span_of
from mindsql.bound import BoundModel, Relation
from mindsql.errors import StatementError
from mindsql.schema import Schema

_SEPARATOR = "mindsql separator"
_ROWID = "rowid"


def flatten(select: exp.Select) -> None:
    """Bring the items of FROM into one list: joins that hang on a table, and parentheses round joins."""
    source = select.args["from_"]
    joins: list[exp.Join] = list(select.args.get("joins") or [])
    first = source.this
    while True:
        hanging = first.args.get("joins") or []
        joins = [*hanging, *joins]
        first.set("joins", None)
        if is_parenthesised(first):
            first = first.this
        elif not hanging:
            break
    source.set("this", first)
    flat: list[exp.Join] = []
    for join in joins:
        flat.append(join)
        item = join.this
        if is_parenthesised(item):
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


def relations_of(select: exp.Select, models: Mapping[str, BoundModel]) -> Iterator[Relation]:
    """The relations of a FROM, in order, the data's columns unknown yet. Raises StatementError."""
    taken: set[str] = set()
    for number, (item, join) in enumerate(from_items(select)):
        if is_parenthesised(item):
            group = Relation("", Schema(), item, join)
            yield group
            for member, own in members(item):
                yield Relation(_alias(member, number, taken), Schema(), member, own, within=group)
            continue
        alias = _alias(item, number, taken)
        key = item.meta.get(MODEL)
        model = models[key] if key is not None else None
        columns, hidden = (model.columns, model.version.extra) if model is not None else (Schema(), Schema())
        yield Relation(alias, columns, item, join, model, hidden)


def _alias(item: exp.Expr, number: int, taken: set[str]) -> str:
    """What an item of FROM is called, written into it; it is taken then. Raises StatementError for a second one."""
    named = (item.args.get("pivots") or [item])[-1]  # what PIVOT makes of a table has a name of its own
    alias = named.alias or item.alias_or_name
    if not alias and isinstance(item, exp.Table):
        alias = item.this.name if hasattr(item.this, "name") else ""
        alias = alias or ("range" if item.this.args.get("is_end_exclusive") else item.this.sql_name().lower())
    if not alias:
        alias = f"_{number}"
    if ("." in alias or "/" in alias) and MODEL not in item.meta and not item.alias:  # a file's path
        alias = alias.rsplit("/", 1)[-1].split(".", 1)[0] or f"_{number}"
    if alias.casefold() in taken and not item.alias and isinstance(item, exp.Table) and item.db:
        alias = f"{item.db}.{alias}"  # of two tables of one name, in two schemas
    if not named.alias:
        named.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    if alias.casefold() in taken:
        raise StatementError(
            f'the name "{alias}" stands twice in FROM',
            hint=f"give one of them another name: AS {alias}2",
            span=span_of(item),
        )
    taken.add(alias.casefold())
    return alias


def describe_relations(
    select: exp.Select,
    relations: list[Relation],
    describe: Callable[[exp.Expr], Schema],
    collations: Callable[[exp.Expr], list[str]],
) -> None:
    """Ask DuckDB for the columns of all relations at once, models standing as empty relations."""
    data = [relation for relation in relations if relation.model is None and relation.alias]
    if not data:
        return
    stars: list[exp.Expr] = []
    for relation in data:
        stars.append(exp.Column(this=exp.Star(), table=exp.to_identifier(relation.alias, quoted=True)))
        stars.append(exp.alias_(exp.Null(), _SEPARATOR, quoted=True))
    # Join conditions take no part: only the relations' columns are wanted, and names in conditions are not
    # resolved yet.
    source = select.args["from_"].copy()
    joins = [join.copy() for join in select.args.get("joins") or []]
    for join in joins:
        for key in ("on", "using", "side", "kind", "method"):
            join.set(key, None)
        join.set("kind", "CROSS")
    probe = exp.Select(expressions=stars, from_=source, joins=joins)
    probe_with = with_visible_ctes(probe, select)
    columns_found = describe(probe_with)
    has_texts = any("VARCHAR" in item.type for item in columns_found)
    collated = itertools.chain(collations(probe_with) if has_texts else (), itertools.repeat(""))
    found = iter(zip(columns_found, collated, strict=False))
    for relation in data:
        columns = []
        for item, collation in found:
            if item.name == _SEPARATOR:
                break
            columns.append(item)
            if collation:
                relation.collations[item.name] = collation
        relation.columns = Schema(columns)
    if any(node.name.casefold() == _ROWID for node in select.find_all(exp.Column)):
        for relation in data:
            if isinstance(relation.item, exp.Table) and relation.find(_ROWID) is None:
                relation.hidden = _hidden(relation, select, describe)


def _hidden(relation: Relation, select: exp.Select, describe: Callable[[exp.Expr], Schema]) -> Schema:
    """The `rowid` of a table, which no star gives; a view has none."""
    probe = exp.Select(
        expressions=[column(_ROWID, relation.alias)], from_=exp.From(this=relation.item.copy())
    )
    try:
        return describe(with_visible_ctes(probe, select))
    except StatementError:
        return Schema()


def check_joins(relations: Sequence[Relation]) -> None:
    """Refuse the joins that a model cannot take part in: RIGHT, FULL, ASOF … Raises StatementError."""
    for index, relation in enumerate(relations):
        if relation.join is None or relation.within is not None:
            continue
        word = kind_of(relation.join)
        if relation.model is not None:
            if word not in ("", "LEFT"):
                raise _no_meaning(relation, f"{word} JOIN with a model")
            makes = next((r for r in relations[:index] if r.join is not None and _makes_rows(r, relations)), None)
            if makes is not None and makes.join is not None:
                raise _no_meaning(relation, f"model after a {kind_of(makes.join)} JOIN that follows a model")
        elif index == 1 and relations[0].model is not None and word:
            raise _no_meaning(relation, f"{word} JOIN after a model that has no rows yet")


def kind_of(join: exp.Join) -> str:
    """What stands before JOIN: `LEFT`, `ASOF LEFT`, `NATURAL FULL`; nothing for an inner one."""
    said = [str(join.args.get(key) or "").upper() for key in ("method", "side", "kind")]
    return " ".join(part for part in said if part and part not in ("INNER", "OUTER", "CROSS"))


def follows_model(relation: Relation, relations: Sequence[Relation]) -> bool:
    """Whether a model stands before it, and rows for the model."""
    before = list(itertools.takewhile(lambda other: other is not relation, relations))
    first = next((index for index, other in enumerate(before) if other.model is not None), None)
    return first is not None and any(other.model is None for other in before)


def needs_order(join: exp.Join) -> bool:
    """Whether it must stay where it stands: it makes rows of its own, or counts on those before it."""
    return any(word in kind_of(join) for word in ("RIGHT", "FULL", "ASOF", "POSITIONAL"))


def _makes_rows(relation: Relation, relations: Sequence[Relation]) -> bool:
    return relation.join is not None and needs_order(relation.join) and follows_model(relation, relations)


def _no_meaning(relation: Relation, what: str) -> StatementError:
    return StatementError(
        f"{'an' if what.startswith('A') else 'a'} {what} has no meaning: "
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
        before = [other for other in relations[:number] if not other.only_filters]
        if relation.within is not None:
            before = [other for other in before if other.within is relation.within]
        columns = [c for other in relations if relation in (other, other.within) for c in other.columns]
        common = [item.name for item in columns if any(other.find(item.name) for other in before)]
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
