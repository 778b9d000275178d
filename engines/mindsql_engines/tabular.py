"""Owns what the engines of tabular libraries have in common: their target, the rows held out, the scores on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mindsql.engine import Storage, Summary, Task
from mindsql.errors import DataError, EngineError, StatementError, UnknownNameError
from mindsql.schema import Column, Schema, family, is_integer

if TYPE_CHECKING:
    import pandas as pd

_FEW_CLASSES = 20
_HELD_OUT = 0.2
_FEW = 20
"""Of fewer rows none is held out."""


@dataclass
class TrainingFrame:
    """Rows to train on.

    Attributes:
        rows: Those with a target.
        held: Those of them to score on; may be empty.
        learn: The others.
        task: What kind of answer the target is.
        answer: The column of the answer.
        inputs: The other columns, with the types that they had.
        left_out: How many rows had no target.
    """

    rows: pd.DataFrame
    learn: pd.DataFrame
    held: pd.DataFrame
    task: Task
    answer: Column
    inputs: Schema
    left_out: int


def training_frame(
    target: str, df: pd.DataFrame | None, schema: Schema, task: str | None, seed: int
) -> TrainingFrame:
    """The rows of a statement, split.

    Args:
        task: What the statement says; told from the target when it does not.

    Raises:
        StatementError, DataError: There is nothing to learn from.
    """
    import numpy as np

    if df is None:
        raise StatementError("there are no rows to train on", hint="add FROM (SELECT …)")
    name = next((str(column) for column in df.columns if str(column).casefold() == target.casefold()), None)
    if name is None:
        raise UnknownNameError.of("target column", target, map(str, df.columns))
    rows = df[df[name].notna()].reset_index(drop=True)
    if len(rows) < 2:
        raise DataError("the rows have no target", hint=f"{target} is NULL in each")
    known = schema.find(name) or Column(name, "VARCHAR")
    numeric = known.family == "number"
    found: Task = "regression" if numeric and rows[name].nunique() > _FEW_CLASSES else "classification"
    if task in ("regression", "classification"):
        found = "regression" if task == "regression" else "classification"
    if found == "regression" and not numeric:
        raise StatementError(
            f'"{name}" is {known.type}, and a regression answers numbers', hint=f"CAST({name} AS DOUBLE)"
        )
    kind = "DOUBLE" if found == "regression" else known.type if known.family in ("number", "boolean") else "VARCHAR"
    order = np.random.default_rng(seed).permutation(len(rows))
    held = order[: int(len(rows) * _HELD_OUT)] if len(rows) >= _FEW else order[:0]
    return TrainingFrame(
        rows,
        rows.iloc[np.sort(order[len(held) :])].reset_index(drop=True),
        rows.iloc[np.sort(held)].reset_index(drop=True),
        found,
        Column(name, kind),
        schema.without(name),
        len(df) - len(rows),
    )


def scores(frame: TrainingFrame, predicted: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The scores of answers to the rows held out, and those of the mean or the most frequent class."""
    import numpy as np

    name = frame.answer.name
    if frame.task == "regression":
        truth = frame.held[name].to_numpy(dtype=float)
        found = np.asarray(predicted, dtype=float)
        spread = float(((truth - truth.mean()) ** 2).sum()) or 1.0
        mean = float(frame.learn[name].astype(float).mean())
        return (
            {"r2": 1 - float(((truth - found) ** 2).sum()) / spread, "mae": float(np.abs(truth - found).mean())},
            {"r2": 1 - float(((truth - mean) ** 2).sum()) / spread, "mae": float(np.abs(truth - mean).mean())},
        )
    wanted = [label_text(value) for value in frame.held[name]]
    given = [label_text(value) for value in predicted]
    common = label_text(frame.learn[name].mode().iloc[0])
    right = [one == other for one, other in zip(wanted, given, strict=True)]
    return {"accuracy": float(np.mean(right))}, {"accuracy": float(np.mean([one == common for one in wanted]))}


def stored(storage: Storage) -> dict[str, Any]:
    """What training kept of a model. Raises EngineError."""
    found: dict[str, Any] | None = storage.json_get("model")
    if found is None:
        raise EngineError("the model has nothing stored", hint="RETRAIN it")
    return found


def summary(meta: Mapping[str, Any], estimator: str) -> Summary:
    """What training kept, for the executor."""
    return Summary(
        Schema.of(map(tuple, meta["inputs"])),
        Schema.of(map(tuple, meta["outputs"])),
        task=meta["task"],
        rows=meta["rows"],
        rows_left_out=meta["left_out"],
        metrics=meta["metrics"],
        baseline=meta["baseline"],
        accuracy=meta["metrics"].get("r2", meta["metrics"].get("accuracy")),
        notes=tuple(f"left out: {name} ({why})" for name, why in meta["columns_left_out"].items()),
        left_out=meta["columns_left_out"],
        estimator=estimator,
    )


def is_key(column: Column, values: Any) -> bool:
    """Whether a text column has a different text in every row, of which nothing can be learnt."""
    return column.family == "text" and len(values) >= _FEW and values.nunique(dropna=False) == len(values)


def label_text(value: Any) -> str:
    """A label as text, alike for the same value of whatever type: 1, 1.0 and `'1'`, True and `'true'`."""
    if hasattr(value, "item"):  # numpy's own
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if text in ("True", "False"):
        return text.lower()
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def labels(values: Any, kind: str) -> list[Any]:
    """Labels, however a library spells them, as values of the answer's type."""
    made: list[Any] = []
    for value in values:
        if value is None or value != value:
            made.append(None)
            continue
        text = label_text(value)
        if family(kind) == "boolean":
            made.append(text in ("true", "1"))
        elif family(kind) == "number":
            made.append(float(text) if "." in text or "e" in text else int(text))
        else:
            made.append(text)
    return made


def typed_rows(columns: Schema, df: pd.DataFrame) -> pd.DataFrame:
    """A frame with these columns, spelt as they were in training and of the same types: a whole number is one whether
    there are NULLs beside it or not. Columns that are not given are NULL."""
    import pandas as pd

    folded = {str(name).casefold(): name for name in df.columns}
    found = {}
    for column in columns:
        name = folded.get(column.name.casefold())
        values = df[name].reset_index(drop=True) if name is not None else pd.Series([None] * len(df), dtype=object)
        found[column.name] = _typed(values, column)
    return pd.DataFrame(found)


def _typed(values: Any, column: Column) -> Any:
    import pandas as pd

    if column.family not in ("number", "boolean"):
        return values
    known = values.notna()
    kind = bool if column.family == "boolean" else int if is_integer(column.type) else float
    if kind is float or not known.any():
        return values.astype(float)
    if known.all():
        return values.astype(kind)
    pairs = zip(values, known, strict=True)
    return pd.Series([kind(value) if there else None for value, there in pairs], dtype=object)
