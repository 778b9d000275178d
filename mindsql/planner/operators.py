"""Owns the operators of a plan: `Scan`, `Values`, `Predict`, `Output` …: data flows from inputs to the last.

Roughly the same in Python, for `SELECT t.a, m.y FROM t JOIN m WHERE m.y > 3`:

    batches = scan("SELECT t.a, t.x FROM t")                 # Scan
    batches = (append(b, predict(b)) for b in batches)       # Predict
    rows    = finish("SELECT a, y FROM p0 WHERE y > 3", p0=batches)   # Output
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlglot import expressions as exp

from mindsql.bound import BoundModel
from mindsql.schema import Schema


@dataclass
class Scan:
    """Rows out of DuckDB or a source: `tree`, a SELECT over tables and over `inputs`."""

    tree: exp.Select
    inputs: dict[str, Operator] = field(default_factory=dict)


@dataclass
class Values:
    """One input row of constants, without asking DuckDB.

    Attributes:
        names: The frame's column names.
        cells: What they hold.
        required: Parameters that give no row when they are NULL, as `= NULL` is never true.
    """

    names: list[str]
    cells: list[Cell]
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cell:
    """A constant.

    Attributes:
        value: As Python has it.
        parameter: The parameter whose value it is instead.
        type: The DuckDB type it is to have; None leaves it to the value.
    """

    value: Any = None
    parameter: str | None = None
    type: str | None = None


@dataclass
class Predict:
    """Appends a model's columns to each batch.

    Attributes:
        source: Where the batches come from.
        model: The model version, with the options of the query.
        inputs: The model's input → the frame's column that it is taken from; None when it is not given.
        outputs: The model's output → the frame's column that it becomes. Only what is read.
        once: Rows of a batch that are equal are asked for once, where that pays.
        fallback_reason: Why DuckDB does not compute it, if there is something to say.
    """

    source: Operator
    model: BoundModel
    inputs: dict[str, str | None]
    outputs: dict[str, str]
    once: bool = False
    fallback_reason: str = ""


@dataclass
class Project:
    """Expressions between two models: `columns` are appended, computed from the frame. A small `Output`."""

    source: Operator
    name: str
    columns: dict[str, exp.Expr]


@dataclass
class Aggregate:
    """Groups of the rows of `source`, which the `Output` groups once more: `tree` is a SELECT over the frame `name`."""

    source: Operator
    name: str
    tree: exp.Select


@dataclass
class Output:
    """The user's own statement over the registered `inputs`."""

    tree: exp.Expr
    inputs: dict[str, Operator]


@dataclass
class Kept:
    """A common table expression that is evaluated once, into a temporary table.

    Attributes:
        name: The table's name.
        tree: The SELECT of its rows.
        writes: The INSERT, UPDATE, DELETE or MERGE that it is; None when it only reads.
    """

    name: str
    tree: exp.Query
    writes: exp.Expr | None = None
    inputs: dict[str, Operator] = field(default_factory=dict)


Operator: TypeAlias = "Scan | Values | Predict | Project | Aggregate | Output | Kept"


@dataclass
class Plan:
    """What the executor runs.

    Attributes:
        root: The last operator, always a `Output`.
        direct: When the `Output` only picks and renames columns of its one input: new name → frame column, in order.
            It then needs no second query.
        natives: Native queries by the name of the table that stands for them: `(source, text)`.
        schema: The columns of the answer; empty when the statement gives none.
        rules: The names of the optional rules that changed it.
        parameters: The names of the parameters that must have a value.
        notes: Which models DuckDB computes itself.
        missing: Sentences about inputs that are not given.
        creates: Whether it makes a table, so that kept plans may be wrong afterwards.
        kept: Common table expressions that are evaluated once, before anything else.
    """

    root: Output
    direct: list[tuple[str, str]] | None = None
    natives: dict[str, tuple[str, str]] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    rules: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    creates: bool = False
    kept: tuple[Kept, ...] = ()


def inputs_of(operator: Operator) -> list[Operator]:
    """The operators that feed one."""
    if isinstance(operator, (Scan, Output, Kept)):
        return list(operator.inputs.values())
    if isinstance(operator, (Predict, Project, Aggregate)):
        return [operator.source]
    return []


def walk(operator: Operator) -> Iterator[Operator]:
    """An operator and everything below it, the inputs first."""
    for child in inputs_of(operator):
        yield from walk(child)
    yield operator


def operators(plan: Plan) -> Iterator[Operator]:
    """All operators of a plan, in the order in which they begin."""
    for kept in plan.kept:
        yield from walk(kept)
    yield from walk(plan.root)
