"""Owns what of a query the source of its only table can do beside filtering: the first rows by an order of columns.

DuckDB orders and limits again, so a source may give more rows, and in any order.
"""

from __future__ import annotations

from sqlglot import expressions as exp

from mindsql.source import Top

_ONLY = frozenset(
    ["with_", "kind", "hint", "expressions", "from_", "order", "limit", "offset", "operation_modifiers"]
)
_CHANGING = (exp.AggFunc, exp.Window, exp.Query, exp.Anonymous, exp.Explode, exp.UDTF, exp.Lateral, exp.Star)
_MOST = 100_000


def top_of(table: exp.Table) -> Top | None:
    """The first rows that a SELECT over one table wants of it; None when it wants others, or its form is another."""
    select = table.parent_select
    if not isinstance(select, exp.Select) or not isinstance(table.parent, exp.From) or table.args.get("joins"):
        return None
    if table.args.get("pivots") or table.args.get("sample"):
        return None
    if any(value for key, value in select.args.items() if key not in _ONLY):
        return None
    limit, offset, order = (select.args.get(key) for key in ("limit", "offset", "order"))
    if not isinstance(limit, exp.Limit) or not isinstance(order, exp.Order):
        return None
    rows, skipped = _count(limit.expression), _count(offset.expression) if offset is not None else 0
    if rows is None or skipped is None or rows + skipped > _MOST:
        return None
    if len(order.expressions) != 1 or any(value for key, value in limit.args.items() if key != "expression"):
        return None
    names: dict[str, str | None] = {}
    for item in select.expressions:
        if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
            if any(item.args.get(key) for key in ("except_", "replace", "rename")):
                return None
            continue
        if item.find(*_CHANGING):
            return None
        plain = item.unalias()
        names[item.alias_or_name.casefold()] = plain.name if isinstance(plain, exp.Column) else None
    column = order.expressions[0].this
    if not isinstance(column, exp.Column) or not isinstance(column.this, exp.Identifier):
        return None
    name = column.name
    if column.table:
        if column.table.casefold() != (table.alias or table.name).casefold() or column.args.get("db"):
            return None
    elif name.casefold() != (names.get(name.casefold(), name) or "").casefold():
        return None  # an alias comes first, and it is another column
    return Top(name, bool(order.expressions[0].args.get("desc")), rows + skipped)


def _count(expression: exp.Expr | None) -> int | None:
    plain = isinstance(expression, exp.Literal) and not expression.is_string and expression.name.isdigit()
    return int(expression.name) if plain and expression is not None else None
