"""Owns models that take rows of a table: which columns they have, batches out of Arrow, answers back into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mindsql.engine import Predictor, Storage, Summary, context
from mindsql.errors import EngineError, StatementError, UnknownNameError
from mindsql.schema import Column, Schema, family, is_integer
from mindsql_engines.remote import dtypes, fanout
from mindsql_engines.remote.client import Client
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.rows import Rows
from mindsql_engines.remote.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import requests

_ARROW = {
    **{f"{u}{name}": f"{u.lower()}int{bits}" for u in ("", "U")
       for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("INTEGER", 32), ("BIGINT", 64))},
    "FLOAT": "float32", "DOUBLE": "float64", "BOOLEAN": "bool", "VARCHAR": "string", "JSON": "string",
    "DATE": "date32", "TIMESTAMP": "timestamp[us]",
}  # fmt: skip
"""DuckDB type → Arrow type of what a server can answer, beside DOUBLE[]."""
_AS_THEY_ARE = {"VARCHAR": {str, type(None)}, "DOUBLE": {float, type(None)}, "BOOLEAN": {bool, type(None)}}
_CONFIDENCE = ("confidence", "score", "probability")
_INTERVALS = ("interval", "intervals", "confidence_interval", "confidence_intervals")

Ask = Callable[[Client, Rows, bool], Mapping[str, Sequence[Any]]]
"""Sends rows, and gives the answer's columns by key; the prediction has the key `prediction`."""


def columns_of(
    target: str, given: Mapping[str, str], rows: Schema, signature: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Column → dtype of everything the model has, target included if it is known: by dtype_dict, then by the signature
    of the model, then by the training rows.

    Raises:
        StatementError: Nothing says which columns there are, or one of dtype_dict is in neither.
    """
    known = {column.name: dtypes.of_duckdb(column.type) for column in rows} or dict(signature or {})
    folded = {name.casefold(): name for name in known}
    for name in given:
        if rows and name.casefold() not in folded:
            raise UnknownNameError.of("column in dtype_dict:", name, rows.names)
    found = {folded.get(name.casefold(), name): dtype for name, dtype in given.items()}
    result = {name: found.get(name, dtype) for name, dtype in known.items()}
    result.update({name: dtype for name, dtype in found.items() if name not in result})
    if not any(name.casefold() != target.casefold() for name in result):
        raise StatementError(
            "nothing says which columns the model takes", hint='USING dtype_dict = {"column": "integer", …}'
        )
    return result


def output_name(target: str, key: str) -> str:
    """The column that a key of the answer becomes."""
    if key in ("prediction", target):
        return target
    if key in _CONFIDENCE[:1] or not key.casefold().startswith(f"{target}_".casefold()):
        return f"{target}_{key}"
    return key


def store(
    storage: Storage, target: str, inputs: Schema, types: Mapping[str, str], outputs: Schema, **more: Any
) -> None:
    """Keep what predicting needs. No secret is among it: options come with each call."""
    storage.json_set(
        "model",
        {
            "target": target,
            "inputs": list(inputs.pairs()),
            "dtypes": {column.name: types[column.name] for column in inputs},
            "outputs": list(outputs.pairs()),
            **more,
        },
    )


def stored(storage: Storage) -> dict[str, Any]:
    """What `store` kept. Raises EngineError."""
    found: dict[str, Any] | None = storage.json_get("model")
    if found is None:
        raise EngineError("the model has nothing stored", hint="RETRAIN it")
    return found


def summary(storage: Storage) -> Summary:
    """What `store` kept, for the executor."""
    found = stored(storage)
    outputs = Schema.of(found["outputs"])
    return Summary(
        Schema.of(found["inputs"]),
        outputs,
        task="regression" if family(outputs[0].type) == "number" else "classification",
        rows=found.get("rows", 0),
        notes=tuple(found.get("notes", ())),
    )


def answerable(type_name: str) -> str:
    """The type itself, or the one that stands for it in an answer: JSON has no form for many."""
    if type_name in (*_ARROW, "DOUBLE[]"):
        return type_name
    return "BIGINT" if is_integer(type_name) else "DOUBLE" if family(type_name) == "number" else "VARCHAR"


def outputs_of(target: str, type_name: str, further: Mapping[str, str]) -> Schema:
    """The target, what the answer holds beside it, and the error that a row may have instead."""
    columns = [Column(target, type_name), *(Column(output_name(target, k), t) for k, t in further.items())]
    return Schema([*columns, Column(f"{target}_error", "VARCHAR")])


def told_type(values: Iterable[Any]) -> str:
    """The DuckDB type of some answers. Whole numbers are DOUBLE: the next answer may be none."""
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, bool) for value in given):
        return "BOOLEAN"
    if all(isinstance(value, (int, float)) for value in given):
        return "DOUBLE"
    if all(isinstance(value, str) for value in given):
        return "VARCHAR"
    if all(isinstance(v, list) and all(isinstance(i, (int, float)) for i in v) for v in given):
        return "DOUBLE[]"
    return "JSON"


def spread(answer: Mapping[str, Any], target: str, rows: int) -> dict[str, Sequence[Any]]:
    """The columns of an answer by key, pairs as `lower` and `upper`. Raises RequestError."""
    found: dict[str, Sequence[Any]] = {}
    for key, values in answer.items():
        if not isinstance(values, list):
            if key in ("prediction", target):
                raise RequestError(f'"{key}" of the answer is no list', status=200)
            continue  # a status, a version: nothing of a row
        if len(values) != rows:
            raise RequestError(
                f'the server was asked for {rows} rows, and "{key}" of its answer has {len(values)}',
                status=200,
            )
        pairs = all(value is None or (isinstance(value, list) and len(value) == 2) for value in values)
        if pairs and values and key in (*_INTERVALS, "confidence"):
            found["lower"] = [value and value[0] for value in values]
            found["upper"] = [value and value[1] for value in values]
        else:
            found["prediction" if key == target else key] = values
    if "prediction" not in found:
        raise RequestError(
            'the answer has no "prediction"', status=200, hint="it has: " + (", ".join(answer) or "nothing")
        )
    return found


class TablePredictor:
    """Answers batches by asking a server.

    Args:
        meta: What `store` kept.
        url: Where to ask; key and headers go to its origin.
        settings: How to ask.
        session: Pooled connections.
        ask: Sends rows and gives the columns of the answer.
    """

    def __init__(
        self, meta: Mapping[str, Any], url: str, settings: Settings, session: requests.Session, ask: Ask
    ) -> None:
        self._meta = meta
        self._url = url
        self._settings = settings
        self._session = session
        self._ask = ask
        self._target: str = meta["target"]
        self._types: dict[str, str] = dict(meta["outputs"])

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> dict[str, Any]:
        """See `Predictor.predict`."""
        client = Client(self._settings, self._url, context(), self._session)
        target = self._target
        wanted = [name for name in columns if name != f"{target}_error"]

        def send(rows: range, again: bool) -> list[tuple[Any, ...]]:
            sent = Rows(batch.slice(rows.start, len(rows)), self._meta["dtypes"], rows.start)
            answer = spread(self._ask(client, sent, again), target, len(rows))
            by_name = {output_name(target, key): values for key, values in answer.items()}
            found = []
            for name in wanted:
                if name not in by_name:
                    raise RequestError(
                        f'the answer has nothing for "{name}"',
                        status=200,
                        hint="it has: " + ", ".join(answer),
                    )
                found.append(fitted(by_name[name], self._types[name], name))
            return list(zip(*found, strict=True)) if found else [()] * len(rows)

        answers = fanout.ask_all(client, batch.num_rows, self._settings.batch_rows, send)
        return collected(answers, wanted, columns, f"{target}_error", self._types)


def collected(
    answers: Sequence[Any],
    wanted: Sequence[str],
    columns: Sequence[str],
    error: str,
    types: Mapping[str, str],
) -> dict[str, Any]:
    """Rows of answers as Arrow columns; a failed row is NULL and has a message."""
    import pyarrow as pa

    failed = [isinstance(answer, fanout.Failed) for answer in answers]
    result: dict[str, Any] = {}
    for name in columns:
        if name == error:
            messages = [a.message if bad else None for a, bad in zip(answers, failed, strict=True)]
            result[name] = pa.array(messages, pa.string())
        else:
            i = wanted.index(name)
            values = [None if bad else a[i] for a, bad in zip(answers, failed, strict=True)]
            result[name] = _array(values, types[name])
    return result


def _array(values: Sequence[Any], type_name: str) -> Any:
    """What `fitted` gave, as Arrow. Raises pyarrow.ArrowException, OverflowError."""
    import pyarrow as pa

    if type_name == "DOUBLE[]":
        return pa.array(values, pa.list_(pa.float64()))
    kind = pa.type_for_alias(_ARROW[type_name])
    return pa.array(values, pa.string()).cast(kind) if family(type_name) == "time" else pa.array(values, kind)


def fitted(values: Sequence[Any], type_name: str, name: str) -> list[Any]:
    """Answers as values that Arrow takes for their column's type. Raises RequestError, which names the first that is
    none."""
    import pyarrow as pa

    # What JSON had as it is wanted needs no look at each value.
    if {*map(type, values)} <= _AS_THEY_ARE.get(type_name, set()):
        return list(values)

    def fit(few: Sequence[Any]) -> list[Any]:
        found = [None if value is None else _fit(value, type_name) for value in few]
        _array(found, type_name)
        return found

    wrong = (ValueError, TypeError, OverflowError, pa.ArrowException)
    try:
        return fit(values)
    except wrong:
        for value in values:
            try:
                fit([value])
            except wrong as error:
                raise RequestError(
                    f'the server answers {value!r:.80} for "{name}", which is no {type_name}',
                    status=200,
                    hint=f'give "{name}" its type in dtype_dict',
                ) from error
        raise


def _fit(value: Any, type_name: str) -> Any:
    kind = family(type_name)
    if type_name == "JSON":
        return json.dumps(value)
    if kind == "text":
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if isinstance(value, str) else json.dumps(value)
    if kind == "boolean":
        if value not in (0, 1, "true", "false", "True", "False"):
            raise ValueError
        return value in (1, "true", "True")
    if kind == "number":
        number = float(value)
        if is_integer(type_name):
            if not number.is_integer():
                raise ValueError
            return int(value) if not isinstance(value, str) else int(number)
        return number
    if type_name == "DATE":
        return dtypes.FITS["date"](value)
    return [float(item) for item in value] if kind == "nested" else str(value)


def as_frame(
    predictor: Predictor, meta: Mapping[str, Any], df: pd.DataFrame, columns: Sequence[str]
) -> pd.DataFrame:
    """What `Engine.predict` gives: the predictor's answers to a data frame."""
    import pandas as pd
    import pyarrow as pa

    folded = {str(column).casefold(): column for column in df.columns}
    names = [name for name, _ in meta["inputs"]]
    missing = [name for name in names if name.casefold() not in folded]
    if missing:
        raise UnknownNameError.of("column; the model needs", missing[0], map(str, df.columns))
    arrays = [pa.Array.from_pandas(df[folded[name.casefold()]]) for name in names]
    batch = pa.RecordBatch.from_arrays([_one(array) for array in arrays], names=names)
    answers = predictor.predict(batch, columns)
    # As objects: a missing answer stays None, whatever the type.
    frame = pd.DataFrame(
        {name: pd.Series(array.to_pylist(), dtype=object) for name, array in answers.items()}
    )
    frame.index = df.index
    return frame


def _one(array: Any) -> Any:
    return array.combine_chunks() if hasattr(array, "combine_chunks") and hasattr(array, "chunks") else array
