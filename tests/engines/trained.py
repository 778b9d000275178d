"""Models that the sklearn engine trained as the executor has it do so, and rows to train them on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from mindsql.engine import Predictor, Storage, Summary
from mindsql.errors import UnknownNameError
from mindsql.frames import TrainingRows, compact
from mindsql.schema import Schema
from mindsql_engines.sklearn import SklearnEngine


@dataclass
class Model:
    """A trained model, as the executor sees it: stored files, and fresh engines that load them."""

    storage: Storage
    summary: Summary

    def engine(self) -> SklearnEngine:
        return SklearnEngine(model_storage=Storage(self.storage.files.get, lambda: self.storage.files))

    def answers(self, table: pa.Table, columns: list[str] | None = None) -> dict[str, pa.Array]:
        batch = table.select(self.summary.inputs.names).combine_chunks().to_batches(1 << 30)
        rows = (
            batch[0]
            if batch
            else pa.RecordBatch.from_pylist([], table.select(self.summary.inputs.names).schema)
        )
        return self.predictor.predict(rows, columns or self.summary.outputs.names)

    @cached_property
    def predictor(self) -> Predictor:
        return self.engine().predictor({})

    def notes(self) -> str:
        return "\n".join(self.summary.notes)


def options(using: dict[str, Any]) -> dict[str, Any]:
    """What the executor makes of USING: names checked, defaults filled in."""
    known = {option.name: option for option in SklearnEngine.options_for(using)}
    for name in using:
        if name not in known:
            raise UnknownNameError.of("option", name, known)
    return {name: option.default for name, option in known.items() if option.default is not None} | using


def train(
    table: pa.Table,
    types: dict[str, str],
    target: str | None,
    anomaly: bool = False,
    arrow: bool = False,
    **using: Any,
) -> Model:
    """Train on a data frame, or as the executor does on Arrow, with the DuckDB types beside."""
    storage = Storage()
    engine = SklearnEngine(model_storage=storage)
    schema = Schema.of([(name, types[name]) for name in table.column_names])
    args = {"using": options(using), "target": target, "schema": schema, "anomaly": anomaly, "trusted": False}
    rows = TrainingRows(compact(table.to_batches(97), table.schema)) if arrow else table.to_pandas()
    engine.create(target, rows, args)
    return Model(storage, engine.summary())


def passengers(rows: int = 400, seed: int = 0) -> tuple[pa.Table, dict[str, str]]:
    """Rows in the manner of the Titanic's list, with a column of every role."""
    random = np.random.default_rng(seed)
    sex = random.choice(["male", "female"], rows)
    age = np.where(random.random(rows) < 0.2, np.nan, random.integers(1, 80, rows))
    grade = random.integers(1, 4, rows)
    luck = random.normal(0, 0.4, rows)
    survived = (np.where(sex == "female", 1.0, 0.0) - 0.2 * grade + luck > 0.1).astype(int)
    names = [
        f"{title} John van der Berg, born {i}" for i, title in enumerate(random.choice(["Mr.", "Rev."], rows))
    ]
    start = dt.datetime(1912, 4, 1)
    columns: dict[str, tuple[str, Any]] = {
        "passenger": ("BIGINT", pa.array(range(1, rows + 1))),
        "grade": ("INTEGER", pa.array(grade, pa.int32())),
        "sex": ("VARCHAR", pa.array(sex.tolist())),
        "age": ("DOUBLE", pa.array(age, from_pandas=True)),
        "fare": (
            "DECIMAL(10,2)",
            pa.array([Decimal(int(n)) / 4 for n in random.integers(20, 900, rows)], pa.decimal128(10, 2)),
        ),
        "name": ("VARCHAR", pa.array(names)),
        "port": (
            "ENUM('Ängelholm', 'Cork')",
            pa.array(random.choice(["Ängelholm", "Cork"], rows).tolist()).dictionary_encode(),
        ),
        "alone": ("BOOLEAN", pa.array([None if n < 0.1 else bool(n < 0.5) for n in random.random(rows)])),
        "boarded": (
            "TIMESTAMP",
            pa.array([start + dt.timedelta(hours=int(n)) for n in random.integers(0, 900, rows)]),
        ),
        "born": (
            "DATE",
            pa.array([dt.date(1912 - int(n), 3, 5) if n else None for n in random.integers(0, 70, rows)]),
        ),
        "ship": ("VARCHAR", pa.array(["Titanic"] * rows)),
        "cabins": ("VARCHAR[]", pa.array([["C1"]] * rows)),
        "empty": ("DOUBLE", pa.nulls(rows, pa.float64())),
        "survived": ("BIGINT", pa.array(survived)),
    }
    return pa.table({n: v for n, (_, v) in columns.items()}), {n: t for n, (t, _) in columns.items()}


def column(values: Any, duckdb_type: str, rows: int = 60) -> tuple[pa.Table, dict[str, str]]:
    """A target `y` with these values, and one feature `x`."""
    x = np.linspace(0, 1, rows)
    return pa.table({"x": x, "y": values}), {"x": "DOUBLE", "y": duckdb_type}
