"""Owns the rows that an engine is checked with: an Arrow table, its DuckDB types and the target."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mindsql import database
from mindsql.database import Database
from mindsql.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class TrainingData:
    """Rows to train on and to ask for.

    Attributes:
        table: The rows, the target among the columns.
        schema: The DuckDB types of the columns.
        target: The column to predict; one that `table` does not have for an engine that needs none.
    """

    table: pa.Table
    schema: Schema
    target: str

    @classmethod
    def of(cls, rows: pd.DataFrame | pa.Table, target: str) -> TrainingData:
        """From a DataFrame or an Arrow table, with the types that DuckDB gives to its columns."""
        memory = Database(":memory:", read_only=False)
        raw = memory.cursor()
        try:
            raw.register("training_rows", rows)
            sql = "SELECT * FROM training_rows"
            return cls(database.table(raw, sql), database.describe(raw, sql), target)
        finally:
            raw.close()
            memory.close()


def training_data(
    task: Literal["regression", "classification", "anomaly"] = "regression",
    rows: int = 60,
    *,
    dates: bool = False,
) -> TrainingData:
    """A small table of flats: `rooms` BIGINT, `size` DOUBLE, `furnished` BOOLEAN, `place` VARCHAR.

    Args:
        task: The target: `rent` DOUBLE, which follows from the other columns; `wanted` VARCHAR, 'yes' or
            'no'; or none.
        rows: How many.
        dates: Add a column `built` DATE.
    """
    import pyarrow as pa

    places = ("harbour", "old town", "hill")
    columns: dict[str, list[Any]] = {
        "rooms": [1 + i * 7 % 5 for i in range(rows)],
        "size": [24.5 + i * 37 % 91 for i in range(rows)],
        "furnished": [i % 3 == 0 for i in range(rows)],
        "place": [places[i * 5 % 7 % 3] for i in range(rows)],
    }
    if dates:
        columns["built"] = [dt.date(1950, 1, 1) + dt.timedelta(days=401 * i) for i in range(rows)]
    rents = [
        180.0 * rooms + 9.5 * size + (75 if furnished else 0) + 20 * len(place)
        for rooms, size, furnished, place in zip(*list(columns.values())[:4], strict=True)
    ]
    target = {"regression": "rent", "classification": "wanted", "anomaly": "outlier"}[task]
    if task == "regression":
        columns[target] = rents
    elif task == "classification":
        columns[target] = ["yes" if rent < 1200 else "no" for rent in rents]
    return TrainingData.of(pa.table(columns), target)
