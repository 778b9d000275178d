"""Owns one call of an engine's `create` or `predict`, in whatever process: how rows are handed over, what the answer
must be."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mindsql.engine import ROW_ID, BaseMLEngine, Engine, Predictor
from mindsql.errors import Cancelled, EngineContractError, spoken
from mindsql.frames import to_arrow, to_pandas

if TYPE_CHECKING:
    import pyarrow as pa


def call_create(engine: Engine, target: str | None, rows: Any, args: dict[str, Any]) -> None:
    """Have a model trained.

    A handler written for MindsDB is called as it was there: by keywords, since handlers have their parameters in any
    order, and without a target where outliers are looked for and no column of the rows has its name.

    Args:
        engine: The engine, which has its storage.
        target: The column to predict.
        rows: The training rows, a DataFrame or `TrainingRows`; None where there are none.
        args: What `create` is told.

    Raises:
        Exception: Whatever the engine raises.
    """
    if not isinstance(engine, BaseMLEngine):
        engine.create(str(target), rows, args)
        return
    named = target if not args.get("anomaly") or (rows is not None and target in rows.columns) else None
    create: Any = engine.create  # where outliers are looked for, a handler of MindsDB's takes None for the target
    accepted = inspect.signature(create).parameters
    if "df" in accepted or any(one.kind is one.VAR_KEYWORD for one in accepted.values()):
        create(named, df=rows, args=args)
    else:
        create(named, rows, args)


def call_predict(
    engine: Engine,
    predictor: Predictor | None,
    batch: pa.RecordBatch,
    types: Mapping[str, pa.DataType],
    args: dict[str, Any],
) -> dict[str, pa.Array]:
    """Have n rows answered.

    Args:
        engine: The engine.
        predictor: Its fast path, if it has one.
        batch: The rows: the model's inputs.
        types: The outputs that are wanted, with their Arrow types.
        args: What `predict` is told.

    Returns:
        One array of n values for each of `types`.

    Raises:
        EngineContractError: The answer is not what was asked for.
        Exception: Whatever the engine raises.
    """
    names = list(types)
    if predictor is not None:
        answer: Mapping[str, Any] = predictor.predict(batch, names)
    else:
        answer = _checked_frame(engine.predict(engine_frame(engine, batch), {**args, "columns": names}))
    return {name: _column(answer, name, types[name], batch.num_rows) for name in names}


def has_life(engine: Engine) -> bool:
    """Whether `load`, `close` and `memory` are the contract's: a handler written for MindsDB may call something else
    so."""
    return not isinstance(engine, BaseMLEngine)


def engine_frame(engine: Engine, rows: pa.Table | pa.RecordBatch) -> Any:
    """Rows as an engine's `predict` wants them. MindsDB's handlers find a number of the row beside the inputs, and many
    drop that column by its name."""
    frame = to_pandas(rows)
    if isinstance(engine, BaseMLEngine):
        frame[ROW_ID] = range(len(frame))
    return frame


def _checked_frame(frame: Any) -> Mapping[str, Any]:
    if not (hasattr(frame, "columns") and hasattr(frame, "__getitem__") and hasattr(frame, "__len__")):
        raise EngineContractError(
            f"predict returned {type(frame).__name__}, not a DataFrame", hint="return a pandas DataFrame"
        )
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EngineContractError(f'predict returned two columns "{twice}"', hint="return each column once")
    return {str(name): frame[name] for name in frame.columns}


def _column(answer: Mapping[str, Any], name: str, wanted: pa.DataType, rows: int) -> pa.Array:
    if name not in answer:
        raise EngineContractError(
            f'predict returned no column "{name}"', hint=f"it returned: {', '.join(answer) or 'nothing'}"
        )
    values = answer[name]
    if not hasattr(values, "__len__"):
        raise EngineContractError(f'predict returned {type(values).__name__} for "{name}", and no column')
    if len(values) != rows:
        raise EngineContractError(
            f"predict was given {rows} rows and returned {len(values)}",
            hint="an engine answers every row, in order; use NULL for what it cannot answer",
        )
    try:
        return to_arrow(values, wanted)
    except Cancelled:
        raise
    except Exception as error:  # values of an engine's own types may fail in any way
        raise EngineContractError(
            f'predict returned values for "{name}" that are no {wanted}: {spoken(error)}'
        ) from error
