"""Owns what a query can name of those around it: their columns, and their WITH, which it takes along."""

from __future__ import annotations

from sqlglot import expressions as exp


def visible_ctes(node: exp.Expr) -> list[exp.CTE]:
    """The common table expressions that a query can name, outermost first."""
    found: list[exp.CTE] = []
    child: exp.Expr = node
    current: exp.Expr | None = node
    while current is not None:
        with_ = current.args.get("with_")
        if isinstance(current, exp.With):
            # We stand in one of them: only the earlier ones are visible.
            found = [*current.expressions[: current.expressions.index(child)], *found]
            child = current.parent or current
            current = child.parent
            continue
        if isinstance(with_, exp.With):
            found = [*with_.expressions, *found]
        child, current = current, current.parent
    return found


def with_visible_ctes(query: exp.Select, place: exp.Expr) -> exp.Select:
    """Give a query the common table expressions that it names, as they are visible at `place`."""
    visible = {cte.alias.casefold(): cte for cte in visible_ctes(place)}
    wanted: dict[str, exp.CTE] = {}
    pending: list[exp.Expr] = [query]
    while pending:
        for table in pending.pop().find_all(exp.Table):
            name = table.name.casefold()
            if not table.db and name in visible and name not in wanted:
                wanted[name] = visible[name]
                pending.append(visible[name])
    if wanted:
        recursive = any(
            cte.parent is not None and cte.parent.args.get("recursive") for cte in wanted.values()
        )
        ordered = [cte.copy() for name, cte in visible.items() if name in wanted]
        query.set("with_", exp.With(expressions=ordered, recursive=recursive or None))
    return query


def sees_outer(select: exp.Select) -> bool:
    """Whether the columns of an outer query may be named in a SELECT: it is a subquery in an expression, or a
    later item of a FROM."""
    node: exp.Expr = select
    while node.parent is not None:
        outer = isinstance(node.parent, (exp.Select, exp.Update, exp.Delete, exp.Merge))
        if outer and node.arg_key not in ("from_", "with_"):
            return True
        node = node.parent
    return False
