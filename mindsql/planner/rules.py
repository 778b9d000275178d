"""Owns the optional rules: each makes a plan do less, none changes its rows, any can be left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from sqlglot import expressions as exp

from mindsql.binder.joins import kind_of
from mindsql.binder.tree import and_terms, from_items, generate, set_where
from mindsql.bound import SCOPE
from mindsql.planner.frame import Draft, frame_columns
from mindsql.planner.operators import Cell, Output, Values
from mindsql.planner.translation import models_as_sql
from mindsql.schema import Schema
from mindsql_grammar import verbatim


class Rule(Protocol):
    """A rule."""

    @property
    def name(self) -> str:
        """What it is called in EXPLAIN and in the settings."""
        ...

    def draft(self, draft: Draft) -> bool:
        """Change a scope's draft in place. Returns whether it did."""
        ...


@dataclass(frozen=True)
class _ConsumeConstants:
    """`m.x = 5` made the input 5 by construction: it need not be asked again."""

    name: str = "consume_constants"

    def draft(self, draft: Draft) -> bool:
        if not _keeps_left(draft.finish):
            return False
        terms = _where(draft.finish)
        rest = [
            term for term in terms if not any(term is done for done in draft.consumed if _is_certain(done))
        ]
        if len(rest) == len(terms):
            return False
        set_where(draft.finish, rest)
        if not draft.scope.data:
            # A parameter may be NULL, and `= NULL` is never true: the row is then left out where it is made.
            parameters = [
                side.copy()
                for term in terms
                if not any(term is kept for kept in rest) and isinstance(term, exp.EQ)
                for side in (term.this, term.expression)
                if isinstance(side, exp.Placeholder)
            ]
            # A text that is no value of the input's type is an error, also where nobody reads the input.
            texts = [value.this.copy() for value in draft.scan.expressions if _is_cast_text(value.this)]
            given: list[exp.Expr] = [
                exp.Not(this=exp.Is(this=cell, expression=exp.Null())) for cell in [*parameters, *texts]
            ]
            set_where(draft.scan, _where(draft.scan) + given)
        return True


@dataclass(frozen=True)
class _PushFilters:
    """A term of WHERE that reads only the data is true or false before the models are asked."""

    name: str = "push_filters"

    def draft(self, draft: Draft) -> bool:
        if not draft.scope.data or not _keeps_left(draft.finish) or not _row_wise(draft):
            return False
        if draft.finish.args.get("sample"):
            return False  # the sample is one of all rows
        columns = draft.scan_columns
        pushed: list[exp.Expr] = []
        rest: list[exp.Expr] = []
        for term in _where(draft.finish):
            (pushed if _reads_only(term, draft, columns) else rest).append(term)
        if not pushed:
            return False
        set_where(draft.finish, rest)
        set_where(draft.scan, _where(draft.scan) + [_to_scan(term, draft, columns) for term in pushed])
        return True


@dataclass(frozen=True)
class _PrunePredictions:
    """An output that nobody reads is not computed; a model whose outputs nobody reads is not asked."""

    name: str = "prune_predictions"

    def draft(self, draft: Draft) -> bool:
        read = frame_columns(draft.finish, draft.name)
        changed = False
        for step in reversed(list(draft.steps)):
            wanted = {output: name for output, name in step.outputs.items() if name in read}
            changed |= len(wanted) < len(step.outputs)
            if not wanted and not read.intersection(step.computed):
                draft.steps.remove(step)
                continue
            step.outputs = wanted
            read |= {name for name in step.inputs.values() if name is not None}
            for value in step.computed.values():
                read |= frame_columns(value, draft.name)
        return changed


@dataclass(frozen=True)
class _PruneColumns:
    """Only what the models and the user's SELECT read is scanned."""

    name: str = "prune_columns"

    def draft(self, draft: Draft) -> bool:
        read = frame_columns(draft.finish, draft.name)
        for step in draft.steps:
            read |= {name for name in step.inputs.values() if name is not None}
            for value in step.computed.values():
                read |= frame_columns(value, draft.name)
        if draft.scan.args.get("distinct"):
            return False  # DISTINCT counts rows by all its columns
        if not draft.scope.data:
            # A constant that does not fit its input is an error, whether it is read or not.
            read |= {name for name, value in draft.scan_columns.items() if not value.find(exp.Null)}
        return draft.keep_columns(read)


@dataclass(frozen=True)
class _PushLimit:
    """LIMIT, with an ORDER BY of the data alone, picks the rows before the models are asked."""

    name: str = "push_limit"

    def draft(self, draft: Draft) -> bool:
        finish = draft.finish
        limit = finish.args.get("limit")
        if not isinstance(limit, exp.Limit) or not draft.scope.data or finish.args.get("joins"):
            return False
        if finish.args.get("sample") or not _row_wise(draft):
            return False
        if limit.args.get("percent") or limit.find(exp.Query):
            return False
        if any(
            finish.args.get(key) for key in ("where", "group", "having", "qualify", "distinct", "windows")
        ):
            return False
        for projection in finish.expressions:
            if projection.find(exp.AggFunc, exp.Window, exp.Unnest, exp.Explode, exp.Anonymous, exp.Query):
                return False
        order = finish.args.get("order")
        columns = draft.scan_columns
        if order is not None:
            if not all(_reads_only(term.this, draft, columns, strict=True) for term in order.expressions):
                return False
            draft.scan.set("order", _to_scan(order, draft, columns))
        for key in ("limit", "offset"):
            if finish.args.get(key) is not None:
                draft.scan.set(key, finish.args[key].copy())
                finish.set(key, None)
        return True


@dataclass(frozen=True)
class _ConstantValues:
    """One row of constants needs no query: `Scan` becomes `Values`."""

    name: str = "constant_values"

    def draft(self, draft: Draft) -> bool:
        return self.values(draft) is not None

    def values(self, draft: Draft) -> Values | None:
        """The `Values` that stands for the draft's scan, or None."""
        scan = draft.scan
        if draft.scope.data or scan.args.get("from_") or scan.args.get("distinct"):
            return None
        required: set[str] = set()
        for term in _where(scan):
            cell = _cell(term.this.this) if isinstance(term, exp.Not) and isinstance(term.this, exp.Is) else None
            if not isinstance(cell, Cell):
                return None
            required |= {cell.parameter} if cell.parameter is not None else set()
        declared = {
            column: item.type
            for step in draft.steps
            for name, column in step.inputs.items()
            if not step.model.version.summary.get("casts") and (item := step.model.version.inputs.find(name))
        }
        cells: list[Cell] = []
        for projection in scan.expressions:
            cell = _cell(projection.this)
            if not isinstance(cell, Cell):
                return None
            if cell.parameter is not None and cell.type is None and declared.get(projection.alias) in _CELL_TYPES:
                cell = replace(cell, type=declared[projection.alias])
            cells.append(cell)
        names = [projection.alias for projection in scan.expressions]
        return Values(names, cells, frozenset(required)) if names else None


@dataclass(frozen=True)
class _DirectProjection:
    """A `Output` that only picks columns needs no second query."""

    name: str = "direct_projection"

    def draft(self, draft: Draft) -> bool:
        return False

    def columns(self, root: Output, schema: Schema) -> list[tuple[str, str]] | None:
        """New name → frame column, or None when the statement does more, or has a type that only DuckDB can hand
        to Python."""
        tree = root.tree
        if any(column.type not in _PLAIN_TYPES for column in schema):
            return None
        if not isinstance(tree, exp.Select) or len(root.inputs) != 1:
            return None
        (frame,) = root.inputs
        if any(value for key, value in tree.args.items() if key not in ("expressions", "from_", "with_")):
            return None
        source = next((item for item, _ in from_items(tree)), None)
        if not isinstance(source, exp.Table) or source.name != frame:
            return None
        picked = []
        for projection in tree.expressions:
            value = projection.this if isinstance(projection, exp.Alias) else projection
            if not isinstance(value, exp.Column) or value.table != frame:
                return None
            picked.append((projection.alias_or_name, value.name))
        return picked


@dataclass(frozen=True)
class _EqualRowsOnce:
    """A model that answers equal rows alike is asked once for those of a batch; the executor sees where that pays."""

    name: str = "equal_rows_once"

    def draft(self, draft: Draft) -> bool:
        if not draft.scope.data:
            return False
        for step in draft.steps:
            step.once = bool(step.model.version.summary.get("repeatable")) and step.translation is None
        return any(step.once for step in draft.steps)


@dataclass(frozen=True)
class _InlineScans:
    """A frame that no engine touches is a subquery of the user's statement: DuckDB does all of it."""

    name: str = "inline_scans"

    def draft(self, draft: Draft) -> bool:
        return False  # it is about whole plans: the planner asks for it by name


consume_constants = _ConsumeConstants()
push_filters = _PushFilters()
prune_predictions = _PrunePredictions()
prune_columns = _PruneColumns()
push_limit = _PushLimit()
constant_values = _ConstantValues()
direct_projection = _DirectProjection()
equal_rows_once = _EqualRowsOnce()
inline_scans = _InlineScans()

RULES: tuple[Rule, ...] = (
    consume_constants,
    push_filters,
    push_limit,
    prune_predictions,
    prune_columns,
    models_as_sql,
    equal_rows_once,
    constant_values,
    inline_scans,
    direct_projection,
)

_NO_CELL = object()

_PLAIN_TYPES = frozenset(
    (
        *(
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "UTINYINT",
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
        ),
        *("FLOAT", "DOUBLE", "VARCHAR", "JSON"),
    )
)
"""Types whose Arrow values become the same Python values as DuckDB's."""

_CELL_TYPES = _PLAIN_TYPES - {"JSON"} | {"TEXT", "INT", "DATE", "TIMESTAMP"}
"""Types that constants are given without asking DuckDB."""


def _cell(value: exp.Expr) -> Any:
    """A constant as a `Cell`, or `_NO_CELL`."""
    if isinstance(value, exp.Cast) and not isinstance(value, exp.TryCast):
        kind, inner = generate(value.args["to"]), _cell(value.this)
        plain = kind in _CELL_TYPES and isinstance(inner, Cell) and inner.type is None
        return Cell(inner.value, inner.parameter, kind) if plain else _NO_CELL
    if isinstance(value, exp.Placeholder):
        return Cell(parameter=str(value.this.name if isinstance(value.this, exp.Expr) else value.this))
    if isinstance(value, exp.Null):
        return Cell()
    if isinstance(value, exp.Boolean):
        return Cell(bool(value.this))
    if isinstance(value, exp.Neg) and isinstance(value.this, exp.Literal) and not value.this.is_string:
        inner = _cell(value.this)
        return inner if inner is _NO_CELL else Cell(-inner.value)
    if isinstance(value, exp.Literal):
        if value.is_string:
            return Cell(value.this)
        if value.this.isdigit():
            return Cell(int(value.this)) if len(value.this) < 19 else _NO_CELL
        return Cell(float(value.this) if "e" in value.this.lower() else Decimal(value.this))
    return _NO_CELL


def _is_cast_text(value: exp.Expr) -> bool:
    if not isinstance(value, exp.Cast) or isinstance(value, exp.TryCast):
        return False
    return isinstance(value.this, exp.Literal) and bool(value.this.is_string)


def _where(select: exp.Select) -> list[exp.Expr]:
    where = select.args.get("where")
    return and_terms(where.this) if where is not None else []


def _is_certain(term: exp.Expr) -> bool:
    """Whether a consumed term is surely true. `x = NULL` is not, and a subquery may give NULL."""
    if isinstance(term, (exp.Is, exp.NullSafeEQ)):
        return True
    values = (term.this, term.expression) if isinstance(term, exp.EQ) else ()
    for value in values:
        if isinstance(value, exp.Column):
            continue
        return isinstance(value, (exp.Literal, exp.Boolean, exp.Placeholder, exp.Neg))
    return False


def _row_wise(draft: Draft) -> bool:
    """Whether every model answers a row without regard to the others."""
    return all(step.model.version.summary.get("row_wise", True) for step in draft.steps)


def _keeps_left(select: exp.Select) -> bool:
    """Whether the joins after the models keep or drop whole rows of the frame, never make new ones or count them."""
    kinds = [kind_of(join) for join in select.args.get("joins") or []]
    return not any(word in kind for kind in kinds for word in ("RIGHT", "FULL", "POSITIONAL"))


def _reads_only(term: exp.Expr, draft: Draft, columns: dict[str, exp.Expr], strict: bool = False) -> bool:
    """Whether an expression reads nothing but scanned columns."""
    if any(node.name in draft.frames and not node.db for node in term.find_all(exp.Table)):
        return False
    nested = term.find(exp.Query) is not None
    if nested and (strict or draft.scope.select.parent is not None):
        return False
    if strict and not frame_columns(term, draft.name):
        return False
    for part in term.find_all(exp.Column):
        if part.table == draft.name:
            if part.name not in columns:
                return False
        elif part.meta.get(SCOPE) == draft.scope.key:
            return False  # of a relation that is joined after the models
        elif part.find_ancestor(exp.Query) is None or part.find_ancestor(exp.Query) is draft.finish:
            return False
    return True


def _to_scan(node: exp.Expr, draft: Draft, columns: dict[str, exp.Expr]) -> exp.Expr:
    """An expression over the frame as one over the scanned relations."""
    copy = node.copy()
    for part in list(copy.find_all(exp.Column)):
        if part.table == draft.name:
            value = columns[part.name].copy()
            if not isinstance(value, (exp.Column, exp.Literal, exp.Null, exp.Cast)):
                value = exp.Paren(this=value)
            verbatim.take_place(value, part)
            if part is copy:
                return value
            part.replace(value)
    return copy
