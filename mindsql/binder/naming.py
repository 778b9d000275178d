"""Owns what the columns of an answer are called: what DuckDB would call them."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import expressions as exp

from mindsql.binder.ctes import with_visible_ctes
from mindsql.errors import StatementError
from mindsql.schema import Schema


def projection_names(
    select: exp.Select, describe: Callable[[exp.Expr], Schema], must: bool = False
) -> list[str] | None:
    """The names that DuckDB gives to the projections; None when all have one, or when it cannot tell.

    It is asked before columns are resolved, since `avg(x)` is to be called so and not `avg(t.x)`, and again afterwards
    if it found `x` ambiguous.
    """
    if all(isinstance(projection, (exp.Alias, exp.Column)) for projection in select.expressions):
        return [projection.alias_or_name for projection in select.expressions]
    try:
        found = describe(with_visible_ctes(select.copy(), select) if select.parent is not None else select)
    except StatementError:
        if must:
            raise
        return None  # it refers to an outer query: the names are the outer query's affair only by position
    # unnest() of a struct makes several columns of one.
    return found.names if len(found) == len(select.expressions) else None


def name_projections(select: exp.Select, names: list[str] | None) -> None:
    """Name every projection as DuckDB names it: after rewriting, its own text would show."""
    if names is None:
        return
    select.set(
        "expressions",
        [
            projection
            if isinstance(projection, exp.Alias)
            else exp.alias_(projection, name, quoted=True, copy=False)
            for projection, name in zip(select.expressions, names, strict=True)
        ],
    )
