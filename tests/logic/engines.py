"""Owns the engines of the text tests: two whose answers a reader can work out by hand, and some that misbehave.

The score of a row is the sum over its inputs, in order, of `position * value`. A number counts as itself, a boolean
as 0 or 1, a text as its length, NULL as 0.5, and anything else as 2.

- `linear` answers `scale * (offset + score)`: `offset` is an option of the model, `scale` one of the query. Its
  confidence is 1 / (1 + number of NULL inputs), its explanation `{"score": …}`.
- `bands` answers `low` below 5, `high` from 10 on, else `mid`; NULL when its first input is NULL.
- `ordinal` numbers the rows it is given from 1 on, so it must be given all of them at once.
- `strict` is `linear` that refuses NULL and missing inputs.

Training looks at nothing but the columns. `calls` counts the rows that each model's `predict` was asked for.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from mindsql.database import quote
from mindsql.engine import Args, Capabilities, Engine, Option, Summary, Translation
from mindsql.errors import StatementError
from mindsql.schema import Column, Schema, family

calls: Counter[str] = Counter()


def score(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """The score of each row."""
    total = np.zeros(len(frame))
    for position, name in enumerate(frame.columns, 1):
        column = frame[name]
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            values = column.to_numpy(dtype="float64", na_value=np.nan)
        else:
            values = np.array([_value(cell) for cell in column], dtype="float64")
        total += position * np.where(np.isnan(values), 0.5, values)
    return total


def _value(cell: Any) -> float:
    if isinstance(cell, str):
        return float(len(cell))
    if isinstance(cell, (list, dict, np.ndarray)):
        return 2.0
    if cell is None or pd.isna(cell):
        return 0.5
    return float(cell) if isinstance(cell, (bool, int, float)) or hasattr(cell, "__float__") else 2.0


class Toy(Engine):
    """What the engines here have in common: columns, options, and no training."""

    options = (Option("offset", "float", default=0.0), Option("api_key", "string", secret=True))
    engine_options = (
        Option("api_key", "string", secret=True),
        Option("region", "string", choices=("eu", "us")),
    )
    predict_options = (Option("scale", "float", default=1.0),)
    target_type = "DOUBLE"
    extras = (("_confidence", "DOUBLE"), ("_explain", "JSON"))

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        if connection_args.get("api_key") == "refused":
            raise ValueError("the key was refused")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        assert args is not None
        schema: Schema = args["schema"]
        found = schema.find(target)
        self.columns = schema.without(target)
        self.target = found.name if found is not None else target
        self.rows = 0 if df is None else len(df)
        self.model_storage.json_set("offset", args["using"].get("offset") or 0.0)

    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        assert self.base_model_storage is not None and args is not None
        self.create(args["target"], df, args)
        self.model_storage.json_set("offset", self.base_model_storage.json_get("offset") + self.rows)

    def summary(self) -> Summary:
        outputs = [Column(self.target, self.target_type)]
        outputs += [Column(self.target + suffix, kind) for suffix, kind in self.extras]
        return Summary(self.columns, Schema(outputs), task="regression", rows=self.rows)

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        assert args is not None
        calls[self.model_storage.get_info()["name"]] += len(df)
        return self.answer(df, args["target"], args)

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        raise NotImplementedError


class Linear(Toy):
    """`scale * (offset + score)`."""

    title = "A sum"
    capabilities = Capabilities(thread_safe=True)

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        scores = score(df)
        scale = args["predict_params"].get("scale") or 1.0
        found = {target: scale * (self.model_storage.json_get("offset") + scores)}
        if f"{target}_confidence" in args["columns"]:
            found[f"{target}_confidence"] = 1 / (1 + df.isna().sum(axis=1).to_numpy())
        if f"{target}_explain" in args["columns"]:
            found[f"{target}_explain"] = [json.dumps({"score": float(value)}) for value in scores]
        return pd.DataFrame(found)


class Bands(Toy):
    """`low`, `mid` or `high`."""

    target_type = "VARCHAR"
    capabilities = Capabilities(batch_rows=7)

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        scores = score(df)
        bands: Any = np.select([scores < 5, scores >= 10], ["low", "high"], "mid").astype(object)
        bands[df.iloc[:, 0].isna().to_numpy()] = None
        return pd.DataFrame(
            {
                target: bands,
                f"{target}_confidence": np.where(scores < 10, 0.5, 0.75),
                f"{target}_explain": [json.dumps({"score": float(value)}) for value in scores],
            }
        )


class _AsSQL(Toy):
    """What lets DuckDB compute a toy itself: the score as an expression."""

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        super().create(target, df, args)
        self.model_storage.json_set("inputs", list(self.columns.pairs()))

    def score_sql(self) -> dict[str, str]:
        """The score as a step of a translation."""
        terms = [
            f"{position}e0 * {_value_sql(quote(name), family(kind))}"
            for position, (name, kind) in enumerate(self.model_storage.json_get("inputs"), 1)
        ]
        return {"__score": " + ".join(terms)}


def _value_sql(name: str, kind: str) -> str:
    if kind == "number":
        number = f"CAST({name} AS DOUBLE)"
        return f"CASE WHEN {number} IS NULL OR isnan({number}) THEN 0.5e0 ELSE {number} END"
    value = {"boolean": f"CAST({name} AS INTEGER)", "text": f"length(CAST({name} AS VARCHAR))"}.get(kind, "2")
    return f"CASE WHEN {name} IS NULL THEN 0.5e0 ELSE {value} END"


class LinearAsSQL(_AsSQL, Linear):
    """`linear`, computed by DuckDB where it may be."""

    def translation(self, args: Args | None = None) -> Translation:
        target = self.model_storage.get_info()["target"]
        offset = self.model_storage.json_get("offset")
        return Translation({target: f"CAST({offset} AS DOUBLE) + __score"}, (self.score_sql(),), "a sum")


class BandsAsSQL(_AsSQL, Bands):
    """`bands`, computed by DuckDB where it may be."""

    def translation(self, args: Args | None = None) -> Translation:
        target = self.model_storage.get_info()["target"]
        name, kind = self.model_storage.json_get("inputs")[0]
        missing = f"{quote(name)} IS NULL"
        if family(kind) == "number":
            missing += f" OR isnan(CAST({quote(name)} AS DOUBLE))"
        by_score = "WHEN __score < 5 THEN 'low' WHEN __score >= 10 THEN 'high' ELSE 'mid' END"
        band = f"CASE WHEN {missing} THEN NULL {by_score}"
        confidence = "CASE WHEN __score < 10 THEN 0.5e0 ELSE 0.75e0 END"
        return Translation({target: band, f"{target}_confidence": confidence}, (self.score_sql(),), "bands")


class Strict(Linear):
    """`linear`, but NULL is not accepted."""

    capabilities = Capabilities(accepts_missing=False)


class Ordinal(Toy):
    """1, 2, 3 …"""

    target_type = "BIGINT"
    extras = ()
    capabilities = Capabilities(row_wise=False)

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        return pd.DataFrame({target: range(1, len(df) + 1)})


class Untrainable(Toy):
    """Fails in `create`."""

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        raise RuntimeError("no such luck")


class Picky(Toy):
    """Refuses its rows: the user's mistake, not the engine's."""

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        raise StatementError("the column b must not be there", hint="leave b out of the query")


class Raising(Linear):
    """Fails in `predict`, with a secret in its message."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        raise ValueError("the crystal ball is broken")


class Short(Linear):
    """Forgets the last row."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        return super().answer(df, target, args).iloc[:-1]


class Misnamed(Linear):
    """Calls its answer otherwise."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        return super().answer(df, target, args).rename(columns={target: "prediction"})


class Mistyped(Linear):
    """Answers text where it promised numbers."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        return super().answer(df, target, args).assign(**{target: "many"})


class Frameless(Linear):
    """Answers no frame at all."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        return [1, 2, 3]  # type: ignore[return-value]


class Unimportable(Linear):
    """Needs a library that nobody has."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        raise ModuleNotFoundError("No module named 'crystal_ball'", name="crystal_ball")


class Hanging(Linear):
    """Never answers, until it is stopped."""

    def answer(self, df: pd.DataFrame, target: str, args: Args) -> pd.DataFrame:
        while True:
            time.sleep(0.01)


class Plain(Engine):
    """Only what an engine must have: the target is the number of columns, whatever they are."""

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        pass

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        assert args is not None
        return pd.DataFrame({args["target"]: [len(df.columns)] * len(df)})


ENGINES: dict[str, type[Engine]] = {
    cls.__name__.lower(): cls
    for cls in (
        Linear,
        Bands,
        Strict,
        Ordinal,
        Plain,
        Untrainable,
        Picky,
        Raising,
        Short,
        Misnamed,
        Mistyped,
        Frameless,
        Unimportable,
        Hanging,
    )
}
