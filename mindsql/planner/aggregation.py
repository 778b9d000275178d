"""Owns how an aggregate is computed in two steps: rows are grouped where they are, and the groups once more here.

The first step groups by every column, and every expression of GROUP BY, that the second needs. Its groups are those of
the statement or finer, so GROUP BY, ROLLUP, HAVING and ORDER BY mean over its rows what they mean over all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sqlglot import expressions as exp

from mindsql.binder.tree import column, data_type, empty_relation, generate, names_in, table, unused_name
from mindsql.errors import MindSQLError
from mindsql.planner.operators import Aggregate, Operator, Output, Plan, Predict, Project, Scan
from mindsql.planner.typing import Describe, arrow_roundtrips, carried
from mindsql.schema import Schema

_AGAIN: tuple[type[exp.Expr], ...] = (
    exp.Sum, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr, exp.BitwiseAndAgg, exp.BitwiseOrAgg, exp.BitwiseXorAgg,
)  # fmt: skip
"""Aggregates of which the whole is the same aggregate of the parts."""
_NEVER: tuple[type[exp.Expr], ...] = (
    exp.Window, exp.Unnest, exp.Lateral, exp.Pivot, exp.TableSample, exp.Qualify, exp.Subquery, exp.Query, exp.Exists,
)  # fmt: skip
_OF_COLUMNS: tuple[type[exp.Expr], ...] = (exp.Column, exp.Rollup, exp.Cube, exp.GroupingSets)
"""What rows are grouped by that needs the columns as they are."""
_ROW_WISE = frozenset({"expressions", "from_", "where"})
_CLAUSES = _ROW_WISE | {"with_", "group", "having", "order", "limit", "offset", "distinct"}


class _Whole(Exception):
    """The aggregate is computed in one step."""


@dataclass
class _Rows:
    """What the SELECT that groups reads.

    Attributes:
        item: The item of its FROM, for the first step.
        alias: What it is called.
        columns: Its columns.
    """

    item: exp.Expr
    alias: str
    columns: Sequence[str]

    def owns(self, node: exp.Column) -> bool:
        """Whether a column is one of them; else it is the name of a result. Raises _Whole where it may be either."""
        folded = {name.casefold() for name in self.columns}
        if node.table and node.table.casefold() != self.alias.casefold():
            raise _Whole
        if node.table and node.name.casefold() not in folded:
            raise _Whole
        return node.name.casefold() in folded


class _First:
    """The SELECT of the first step as it is made: results, and the columns of the second that hold them."""

    def __init__(self, frame: str, taken: set[str]) -> None:
        self.frame = frame
        self.items: dict[str, exp.Expr] = {}
        self.taken = taken

    def read(self, value: exp.Expr) -> exp.Column:
        """The column of the second step that holds a value which the first computes."""
        text = generate(value)
        if text not in self.items:
            name = unused_name("__part", self.taken)
            self.items[text] = exp.alias_(value.copy(), name, quoted=True)
        return column(self.items[text].alias, self.frame)


def in_two_steps(
    plan: Plan, top: Operator, columns: Sequence[str], describe: Describe, plain: Callable[[Collection[exp.Expr]], bool]
) -> Plan | None:
    """The plan with an `Aggregate` above an operator, so that few rows leave it; None when none can be made.

    Args:
        plan: The plan.
        top: The operator whose rows the plan groups.
        columns: The columns of its rows.
        describe: The columns of a query that reads no frame.
        plain: Whether expressions call nothing but functions of one row, which are the same everywhere.
    """
    frame = next((name for name, operator in plan.root.inputs.items() if operator is top), None)
    if frame is None or len(plan.root.inputs) != 1 or plan.kept or plan.natives or plan.direct is not None:
        return None
    tree = plan.root.tree.copy()
    tree.meta.clear()
    try:
        rows, select = _grouping(tree, frame, columns)
        names = plan.schema.names if select is tree else None
        first, second = _split(rows, select, frame, names, plain)
        stub = _stub(top)
        kinds = describe(_over(first, frame, stub))
        _carry(first, second, frame, kinds)
        whole = select.copy()
        whole.set("from_", exp.From(this=rows.item.copy()))
        arriving = empty_relation(Schema.of((kind.name, carried(kind.type)) for kind in kinds))
        if list(describe(_over(second, frame, arriving))) != list(describe(_over(whole, frame, stub))):
            return None
    except (_Whole, MindSQLError):  # where DuckDB refuses a query of a step, there are no two
        return None
    if select is not tree:
        select.replace(second)
    return replace(plan, root=Output(second if select is tree else tree, {frame: Aggregate(top, frame, first)}))


# Reading --------------------------------------------------------------------------------------------------------------


def _grouping(tree: exp.Expr, frame: str, columns: Sequence[str]) -> tuple[_Rows, exp.Select]:
    """The SELECT that groups the rows of a frame, and these rows, below what only picks and filters them."""
    reads = [node for node in tree.find_all(exp.Table) if node.name == frame and not node.db]
    if len(reads) != 1 or reads[0].alias:
        raise _Whole
    rows = _Rows(reads[0], frame, columns)
    select = _reader(reads[0])
    while not _groups(select):
        if select is tree or any(value and key not in _ROW_WISE for key, value in select.args.items()):
            raise _Whole
        names = [item.alias_or_name for item in select.expressions]
        if not all(names) or any(item.find(exp.Star, *_NEVER) for item in select.expressions):
            raise _Whole
        place, alias = _consumed(tree, select)
        inner = select.copy()
        inner.set("from_", exp.From(this=rows.item.copy()))
        made = exp.Subquery(this=inner, alias=alias.copy())
        if alias.args.get("columns"):
            names = [name.name for name in alias.args["columns"]]
        rows, select = _Rows(made, alias.name, names), _reader(place)
    return rows, select


def _reader(item: exp.Expr) -> exp.Select:
    """The SELECT that reads nothing but an item of FROM."""
    source = item.parent
    select = source.parent if isinstance(source, exp.From) else None
    if not isinstance(select, exp.Select) or any(value and key not in _CLAUSES for key, value in select.args.items()):
        raise _Whole
    return select


def _consumed(tree: exp.Expr, select: exp.Select) -> tuple[exp.Expr, exp.TableAlias]:
    """The item of a FROM that gives a SELECT's rows, and its alias."""
    parent = select.parent
    if isinstance(parent, exp.Subquery) and parent.args.get("alias") is not None:
        return parent, parent.args["alias"]
    if isinstance(parent, exp.CTE) and isinstance(parent.parent, exp.With) and not parent.parent.args.get("recursive"):
        reads = [
            node
            for node in tree.find_all(exp.Table)
            if not node.db and node.name.casefold() == parent.alias.casefold()
        ]
        if len(reads) == 1:
            name = reads[0].alias or parent.alias
            alias = parent.args["alias"].copy()
            alias.set("this", exp.to_identifier(name, quoted=True))
            if reads[0].args.get("alias") is not None and reads[0].args["alias"].args.get("columns"):
                raise _Whole
            _drop(parent)
            return reads[0], alias
    raise _Whole


def _groups(select: exp.Select) -> bool:
    return bool(select.args.get("group") or select.args.get("distinct")) or any(
        item.find(exp.AggFunc) for item in select.expressions
    )


# Splitting ------------------------------------------------------------------------------------------------------------


def _split(
    rows: _Rows,
    select: exp.Select,
    frame: str,
    names: Sequence[str] | None,
    plain: Callable[[Collection[exp.Expr]], bool],
) -> tuple[exp.Select, exp.Select]:
    """The SELECT of each part, and the one over the rows of all parts."""
    second = select.copy()
    where, others = second.args.get("where"), second.args.get("with_")
    second.set("where", None)
    second.set("with_", None)  # nothing of these is read here
    second.set("from_", exp.From(this=table(frame)))
    _name_results(second, names)
    _check(rows, second, where)
    keys = _keys(rows, second)
    first = _First(frame, names_in(select) | {name.casefold() for name in rows.columns})
    put: dict[str, exp.Expr] = {}

    def rewritten(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Filter) or (isinstance(node, exp.AggFunc) and not isinstance(node.this, exp.Distinct)):
            combined = _combined(node, first)
            stand_in = exp.to_identifier(unused_name("__whole", first.taken), quoted=True)
            put[stand_in.name] = combined
            return stand_in
        if (isinstance(node, exp.Column) and rows.owns(node)) or any(node == key for key in keys):
            return first.read(node)
        return node

    second.transform(rewritten, copy=False)
    read = [*([where] if where is not None else []), rows.item, second, *first.items.values()]
    if not first.items or not plain([_without_aggregates(part) for part in read]):
        raise _Whole
    for node in list(second.find_all(exp.Identifier)):
        if node.name in put:
            node.replace(put[node.name])
    made = exp.Select(
        expressions=list(first.items.values()), from_=exp.From(this=rows.item.copy()), where=where and where.copy()
    )
    if any(not item.find(exp.AggFunc) for item in first.items.values()):
        made.set("group", exp.Group(all=True))
    elif second.args.get("group"):  # of no rows there is no group
        made.set("having", exp.Having(this=exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(0))))
    second.set("with_", others)
    return made, second


def _name_results(select: exp.Select, names: Sequence[str] | None) -> None:
    """Have each result keep its name when it is computed in another way."""
    for at, item in enumerate(list(select.expressions)):
        if item.is_star:
            raise _Whole
        if isinstance(item, exp.Alias):
            continue
        if not isinstance(item, exp.Column) and names is None:
            raise _Whole
        item.replace(exp.alias_(item.copy(), item.name if names is None else names[at], quoted=True))


def _check(rows: _Rows, select: exp.Select, where: exp.Expr | None) -> None:
    """Raise _Whole where a name may be a column or a result, or a clause has what is looked at as a whole."""
    clauses = [part for key, part in select.args.items() if key not in ("from_", "expressions", "distinct")]
    parts = [part for part in [*clauses, *select.expressions, where] if isinstance(part, exp.Expr)]
    if any(part.find(*_NEVER) is not None for part in parts):
        raise _Whole
    results = {
        item.alias.casefold()
        for item in select.expressions
        if not (isinstance(item.this, exp.Column) and item.this.name.casefold() == item.alias.casefold())
    }
    for part in parts:
        for node in part.find_all(exp.Column):
            of_rows = part is where or node.find_ancestor(exp.AggFunc, exp.Filter) is not None
            mine = rows.owns(node)
            if (mine and not node.table and node.name.casefold() in results) or (of_rows and not mine):
                raise _Whole


def _keys(rows: _Rows, select: exp.Select) -> list[exp.Expr]:
    """The expressions that rows are grouped by, but for plain columns."""
    results = [item.this for item in select.expressions]
    group = select.args.get("group")
    found: list[exp.Expr] = []
    if group is None or group.args.get("all"):
        found = [value for value in results if not value.find(exp.AggFunc)]
    for value in group.expressions if group is not None else ():
        if isinstance(value, exp.Literal) and value.name.isdigit() and 0 < int(value.name) <= len(results):
            value = results[int(value.name) - 1]
        elif isinstance(value, exp.Column) and not rows.owns(value):
            value = next((item.this for item in select.expressions if item.alias == value.name), value)
        found.append(value)
    return [
        value.copy()
        for value in found
        if not isinstance(value, _OF_COLUMNS) and any(map(rows.owns, value.find_all(exp.Column)))
    ]


def _combined(node: exp.Expr, first: _First) -> exp.Expr:
    """An aggregate of all rows, made of those of the parts."""
    call = node.this if isinstance(node, exp.Filter) else node
    extra = any(value for key, value in call.args.items() if key not in ("this", "big_int"))
    if extra or call.find(exp.Order, exp.Distinct) is not None:
        raise _Whole

    def of_part(made: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Filter):
            made = exp.Filter(this=made, expression=node.expression.copy())
        return first.read(made)

    if isinstance(call, exp.Count | exp.CountIf):
        total = exp.Coalesce(this=exp.Sum(this=of_part(call.copy())), expressions=[exp.Literal.number(0)])
        return exp.Cast(this=total, to=data_type("BIGINT" if isinstance(call, exp.Count) else "HUGEINT"))
    if isinstance(call, exp.Avg):
        parts = [exp.Sum(this=call.this.copy()), exp.Count(this=call.this.copy())]
        value, count = (exp.Cast(this=exp.Sum(this=of_part(part)), to=data_type("DOUBLE")) for part in parts)
        return exp.Paren(this=exp.Div(this=value, expression=count))
    if isinstance(call, _AGAIN):
        return type(call)(this=of_part(call.copy()))
    raise _Whole


def _without_aggregates(part: exp.Expr) -> exp.Expr:
    """An expression whose aggregates, all of them known, are no calls."""
    copy = part.copy()
    for node in list(copy.find_all(exp.AggFunc)):
        node.replace(exp.Tuple(expressions=[node.this]) if node.this is not None else exp.Null())
    return copy


def _carry(first: exp.Select, second: exp.Select, frame: str, kinds: Schema) -> None:
    """Have values cross from the first step to the second in types that Arrow keeps."""
    for item, kind in zip(first.expressions, kinds, strict=True):
        if carried(kind.type) != kind.type:
            item.set("this", exp.Cast(this=item.this, to=data_type(carried(kind.type))))
    for node in list(second.find_all(exp.Column)):
        found = kinds.find(node.name) if node.table == frame else None
        if found is not None and not arrow_roundtrips(found.type):
            node.replace(exp.Cast(this=node.copy(), to=data_type(found.type)))


def _drop(cte: exp.CTE) -> None:
    """Take a common table expression out of its WITH."""
    clause = cte.parent
    assert clause is not None
    cte.pop()
    if not clause.expressions:
        clause.pop()


# Types ----------------------------------------------------------------------------------------------------------------


def _stub(operator: Operator) -> exp.Select:
    """A query with the columns of an operator, for DuckDB to describe."""
    if isinstance(operator, Scan):
        return operator.tree.copy()
    assert isinstance(operator, Predict | Project)
    if isinstance(operator, Project):
        made, name = {name: value.copy() for name, value in operator.columns.items()}, operator.name
    else:
        version, name = operator.model.version, "__rows"
        types = {item.name: item.type for item in version.answers}
        made = {
            at: exp.Cast(this=exp.Null(), to=data_type(types[output])) for output, at in operator.outputs.items()
        }
    return exp.Select(
        expressions=[exp.Star(), *(exp.alias_(value, at, quoted=True) for at, value in made.items())],
        from_=exp.From(this=_named(_stub(operator.source), name)),
    )


def _over(query: exp.Select, frame: str, stub: exp.Query) -> exp.Select:
    """A query whose frame is another query."""
    copy = query.copy()
    for node in list(copy.find_all(exp.Table)):
        if node.name == frame and not node.db:
            node.replace(_named(stub, frame))
    return copy


def _named(query: exp.Query, name: str) -> exp.Subquery:
    return exp.Subquery(this=query.copy(), alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
