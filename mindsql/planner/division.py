"""Owns which part of a plan can be answered in parts, each over some rows of its files, and why another cannot.

Only what gives the same rows whatever the parts are is divided: a scan of files row by row, with tables joined to it,
and the models that answer row by row above it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import sqlglot
from sqlglot import TokenType
from sqlglot import expressions as exp

from mindsql.binder.tree import generate
from mindsql.bound import BoundModel
from mindsql.planner.file_relations import Whole, is_of_files, reads_files
from mindsql.planner.operators import (
    Aggregate,
    Kept,
    Operator,
    Output,
    Plan,
    Predict,
    Project,
    Scan,
    inputs_of,
    operators,
)

_WHOLE: tuple[type[exp.Expr], ...] = (
    exp.AggFunc, exp.Window, exp.Group, exp.Having, exp.Order, exp.Limit, exp.Offset, exp.Distinct, exp.Qualify,
    exp.TableSample, exp.Lateral, exp.Unnest, exp.With, exp.Pivot,
)  # fmt: skip
_MOMENTS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Functions that are called without parentheses."""


SameEverywhere: TypeAlias = Callable[[list[str]], str | None]
"""Given names of functions, the first that is not the same function of one row wherever it is computed, if one is."""


@dataclass(frozen=True)
class Divided:
    """What is answered in parts.

    Attributes:
        top: The last operator of the chain, whose first one is a scan; it may be the scan itself.
        files: The node of its FROM that reads the files.
        columns: The columns of the rows that `top` gives.
    """

    top: Aggregate | Predict | Project | Scan
    files: exp.Table
    columns: tuple[str, ...]


@dataclass
class Division:
    """Which operators of a plan are answered in parts, and why the others are not.

    Attributes:
        parts: By the `id` of the top operator.
        reasons: By the `id` of an operator: why it is answered here.
    """

    parts: dict[int, Divided] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def inside(self, operator: Operator) -> bool:
        """Whether an operator belongs to what is answered in parts."""
        return any(operator is other for part in self.parts.values() for other in chain(part.top))


def divide(
    plan: Plan,
    model_reason: Callable[[BoundModel], str | None],
    same_everywhere: SameEverywhere,
    whole: str | None = None,
    scans: bool = False,
) -> Division:
    """Find what can be answered in parts.

    Args:
        plan: The plan.
        model_reason: Why a model must be asked here; None when it need not.
        same_everywhere: Tells which function must be computed here.
        whole: Why nothing of it may be divided; None when it may.
        scans: Whether a mere scan may be divided, too.
    """
    found = Division()
    seen: set[int] = set()

    def visit(operator: Operator) -> None:
        if id(operator) in seen:
            return
        seen.add(id(operator))
        writes = isinstance(plan.root.tree, exp.Copy)
        if isinstance(operator, (Aggregate, Predict, Project)) or (
            isinstance(operator, Scan) and (scans or (writes and _innermost(operator.tree)[1]))
        ):
            try:
                if whole is not None:
                    raise Whole(whole)
                found.parts[id(operator)] = _divided(operator, model_reason, same_everywhere)
                return
            except Whole as reason:
                found.reasons[id(operator)] = str(reason)
        for child in inputs_of(operator):
            visit(child)

    for kept in plan.kept:
        visit(kept)
    visit(plan.root)
    if not plan.root.inputs and reads_files(plan.root.tree):
        found.reasons[id(plan.root)] = "DuckDB answers it alone, as fast as rows would arrive"
    for key, divided in found.parts.items():
        found.parts[key] = replace(divided, columns=_read(plan, divided))
    return found


def _read(plan: Plan, divided: Divided) -> tuple[str, ...]:
    """The columns of what is answered in parts that anything reads; one at least, to count rows by."""
    wanted: set[str] = set()
    for operator in operators(plan):
        if isinstance(operator, (Aggregate, Predict, Project)) and operator.source is divided.top:
            return divided.columns
        if not isinstance(operator, (Scan, Output, Kept)):
            continue
        names = {name for name, source in operator.inputs.items() if source is divided.top}
        if names and any(not isinstance(star.parent, exp.Count) for star in operator.tree.find_all(exp.Star)):
            return divided.columns
        wanted |= {node.name for node in operator.tree.find_all(exp.Column) if names and node.table in {*names, ""}}
        if names and operator is plan.root and plan.direct is not None:
            wanted |= {source for _, source in plan.direct}
    return tuple(name for name in divided.columns if name in wanted) or divided.columns[:1]


def row_wise_copy(plan: Plan, division: Division) -> Divided | None:
    """What is answered in parts, when the plan is a COPY of nothing but its rows, each by itself; else None."""
    tree = plan.root.tree
    frames = list(plan.root.inputs.items())
    if not isinstance(tree, exp.Copy) or len(frames) != 1 or plan.kept or plan.natives:
        return None
    name, operator = frames[0]
    divided = division.parts.get(id(operator))
    query = tree.this
    while isinstance(query, exp.Subquery):
        query = query.this
    if divided is None or not isinstance(query, exp.Select) or any(query.find(kind) for kind in _WHOLE):
        return None
    tables = list(query.find_all(exp.Table))
    whole = len(list(query.find_all(exp.Select, exp.SetOperation))) > 1 or query.args.get("joins")
    return None if whole or len(tables) != 1 or tables[0].name != name else divided


def _divided(
    top: Aggregate | Predict | Project | Scan,
    model_reason: Callable[[BoundModel], str | None],
    same_everywhere: SameEverywhere,
) -> Divided:
    columns: list[str] = []
    texts: list[str] = []
    scan: Scan | None = None
    for operator in chain(top):
        if isinstance(operator, Predict):
            version = operator.model.version
            if not version.summary.get("row_wise", True):
                raise Whole(f"the answers of {version.model} depend on each other")
            if operator.outputs and (reason := model_reason(operator.model)):
                raise Whole(reason)
            columns += operator.outputs.values()
        elif isinstance(operator, Project):
            columns += operator.columns
            texts += map(generate, operator.columns.values())
        elif isinstance(operator, Aggregate):
            continue
        elif isinstance(operator, Scan):
            scan = operator
            texts.append(generate(scan.tree))
            columns += [value.alias_or_name for value in scan.tree.expressions]
        else:
            raise Whole("its rows are no rows of files")
    assert scan is not None
    if scan.inputs:
        raise Whole("its rows are made of other models' answers")
    for part in [scan.tree, *(value for op in chain(top) if isinstance(op, Project) for value in op.columns.values())]:
        whole = next((kind for kind in _WHOLE if part.find(kind)), None)
        if whole is not None:
            raise Whole(f"{whole.key.upper()} needs all rows")
    _, levels = _innermost(scan.tree)
    if sum(1 for _ in scan.tree.find_all(exp.Select, exp.SetOperation)) > levels + 1:
        raise Whole("a subquery is answered here")
    if (reason := computed_here(texts, same_everywhere)) is not None:
        raise Whole(reason)
    files, _ = relations(scan.tree)
    return Divided(top, files, tuple(columns))


def computed_here(texts: Iterable[str], same_everywhere: SameEverywhere) -> str | None:
    """Why some of these pieces of SQL must be computed in this process; None when all may be computed anywhere."""
    called: list[str] = []
    for text in texts:
        tokens = sqlglot.tokenize(text, read="duckdb")
        for token, after in itertools.zip_longest(tokens, tokens[1:]):
            name = token.text.casefold()
            if token.token_type in (TokenType.STRING, TokenType.NUMBER):
                continue
            if after is not None and after.token_type == TokenType.L_PAREN:
                called.append(name)
            elif name in _MOMENTS and token.token_type != TokenType.IDENTIFIER:
                return f"{name} is the time of this process"
    found = same_everywhere(called)
    return f"{found} is computed here" if found is not None else None


def _innermost(tree: exp.Select) -> tuple[exp.Select, int]:
    """The SELECT that reads relations, below those of models that are computed as SQL, and how many these are."""
    levels = 0
    while True:
        below = tree.args["from_"].this if tree.args.get("from_") is not None else None
        if not isinstance(below, exp.Subquery) or tree.args.get("joins") or not isinstance(below.this, exp.Select):
            return tree, levels
        tree, levels = below.this, levels + 1


def chain(operator: Operator) -> Iterator[Operator]:
    """An operator and what feeds it, down to the first."""
    yield operator
    while isinstance(operator, (Aggregate, Predict, Project)):
        operator = operator.source
        yield operator


def relations(scan: exp.Select) -> tuple[exp.Table, tuple[exp.Table, ...]]:
    """The one relation of a scan that is of files, and the tables. Raises Whole."""
    tree, _ = _innermost(scan)
    if tree.args.get("from_") is None:
        raise Whole("it reads no Parquet or CSV files")
    first = tree.args["from_"].this
    found = [first, *(join.this for join in tree.args.get("joins") or [])]
    if not all(isinstance(relation, exp.Table) for relation in found):
        raise Whole("a relation of its FROM is read here")
    of_files = [relation for relation in found if is_of_files(relation)]
    if len(of_files) != 1:
        raise Whole("it reads no Parquet or CSV files" if not of_files else "it reads several sets of files")
    (files,) = of_files
    if not files.alias and len(found) > 1:
        raise Whole("its files have no alias")
    for relation in found:
        plain = isinstance(relation.this, exp.Identifier)
        if relation is not files and not plain:
            raise Whole(f"{relation.alias_or_name} is read here")
    for join in tree.args.get("joins") or []:
        kind, side = str(join.args.get("kind") or "").upper(), str(join.args.get("side") or "").upper()
        kept = side == "LEFT" or kind in ("SEMI", "ANTI")
        if join.args.get("method") or kind == "POSITIONAL" or side not in ("", "LEFT") or (kept and files is not first):
            raise Whole(f"{' '.join(filter(None, [join.args.get('method'), side, kind]))} JOIN needs all rows")
    return files, tuple(relation for relation in found if relation is not files)
