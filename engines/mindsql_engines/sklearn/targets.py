"""Owns the target: which task it makes, its values as the estimator wants them, the type of the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mindsql.engine import Task
from mindsql.errors import DataError, StatementError
from mindsql.schema import family, is_integer
from mindsql_engines.sklearn import columns, estimators

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_CLASSES = 20
"""A whole-number target with more distinct values is a quantity."""


@dataclass
class Target:
    """The target of the training rows.

    Attributes:
        task: The kind of answer.
        why: How the task was found, as a sentence for DESCRIBE; empty when the statement said it.
        kept: Which rows have a target.
        values: One value per kept row: class codes, or doubles; None when rows have no target.
        classes: The labels of the codes, as JSON values.
        answer_type: The DuckDB type of the answers.
    """

    task: Task
    kept: NDArray[np.bool_]
    values: NDArray[Any] | None = None
    classes: list[Any] = field(default_factory=list)
    answer_type: str = "DOUBLE"
    why: str = ""
    notes: list[str] = field(default_factory=list)

    def rows_with(self, array: pa.Array) -> pa.Array:
        """The values of a column in the rows that have a target."""
        return array if self.kept.all() else array.filter(pa.array(self.kept))


def find_task(name: str, array: pa.Array, duckdb_type: str, wanted: Task | None, by: str) -> tuple[Task, str]:
    """Classification or regression, and a sentence that says why.

    A BOOLEAN or text target is classified. A whole-number target is classified when it has at most 20
    distinct values and either each comes 20 times on average, or they are 0…k or 1…k and each comes twice.
    Every other number is a quantity.

    Args:
        wanted: The task that the statement or its estimator asks for.
        by: Who asks, for the messages.
    """
    kind = family(duckdb_type)
    if kind not in ("number", "boolean", "text"):
        hint = f"predict a number instead, as in epoch({name})" if kind == "time" else None
        raise StatementError(
            f'the target "{name}" is of type {duckdb_type}, which cannot be predicted', hint=hint
        )
    if wanted == "regression" and kind != "number":
        hint = "leave it out, or take a classifier"
        raise StatementError(f'{by} asks for regression, but the target "{name}" is {duckdb_type}', hint=hint)
    if wanted is not None:
        return wanted, ""
    if kind != "number":
        return "classification", f"task: classification, because target {name} is {duckdb_type}"
    found: Task = "regression"
    distinct = ""
    if is_integer(duckdb_type):
        values = array.filter(columns.known(array))
        several = values.unique()
        rows, count = len(values), len(several)
        steps = sorted(int(value) for value in several.to_pylist()) if count <= FEW_CLASSES else []
        counted = (
            bool(steps) and steps[0] in (0, 1) and steps[-1] - steps[0] == count - 1 and rows >= 2 * count
        )
        if 0 < count <= FEW_CLASSES and (rows >= 20 * count or counted):
            found = "classification"
        distinct = f" with {count} distinct value{'s' if count != 1 else ''}"
    other = "regression" if found == "classification" else "classification"
    return found, (
        f"task: {found}, because target {name} is {duckdb_type}{distinct}; "
        f"say task = '{other}' to change that"
    )


def prepare(name: str, array: pa.Array, duckdb_type: str, task: Task, why: str) -> Target:
    """The target's values, rows without one left out.

    Raises:
        DataError: No row has a target, or a classifier would have one class only.
    """
    if task == "classification":
        codes, labels = columns.labels_of(array, duckdb_type)
        kept = codes >= 0
        target = Target(task, kept, codes[kept], labels, duckdb_type.strip(), why)
        if len(labels) == 1:
            only = columns.label_text(labels[0])
            raise DataError(
                f'the target "{name}" has only one value, {only}; a classifier needs at least two'
            )
        rows = int(kept.sum())
        if len(labels) > 1000 or (len(labels) > FEW_CLASSES and len(labels) > rows / 2):
            numeric = family(duckdb_type) == "number"
            raise DataError(
                f'the target "{name}" has {len(labels)} distinct values in {rows} rows, '
                "too many for classes",
                hint="say task = 'regression'" if numeric else None,
            )
    else:
        values = columns.numbers(array, name)
        kept = ~np.isnan(values)
        answer = "FLOAT" if duckdb_type.strip().upper() == "FLOAT" else "DOUBLE"
        target = Target(task, kept, values if kept.all() else values[kept], [], answer, why)
        if answer == "DOUBLE" and duckdb_type.strip().upper() != "DOUBLE":
            target.notes.append(
                f"answers are DOUBLE, because a mean of {duckdb_type} values is rarely one of them"
            )
    if not kept.any():
        raise DataError(f'no row has a value of the target "{name}"')
    return target


def check_task(task: Any, estimator: str | None, anomaly: bool) -> Task | None:
    """The task that the options ask for; None leaves it to the target."""
    wanted: Task | None = "anomaly" if anomaly else task
    if estimator is None:
        return wanted
    own = estimators.task_of(estimator)
    if wanted is not None and wanted != own:
        alike = [name for name, (kind, _) in estimators.ESTIMATORS.items() if kind == wanted]
        said = "CREATE ANOMALY DETECTION MODEL" if anomaly else f"task = '{task}'"
        raise StatementError(
            f"{estimators.lookup(estimator)} does {own}, but {said} asks for {wanted}",
            hint=f"for example estimator = '{estimators.DEFAULT_FOR[wanted]}'" if alike else None,
        )
    return own
