"""Equal rows within a batch: which are found, and that the answers are those of every row asked for."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mindsql
from mindsql.executor import deduplicate
from mindsql.executor.deduplicate import Deduplicator
from mindsql.settings import Settings

_NAN = float("nan")
VALUES: dict[str, pa.Array] = {
    "whole": pa.array([1, 2, None]),
    "real": pa.array([0.0, -0.0, _NAN, None]),
    "single": pa.array([0.0, -0.0, 1.5], pa.float32()),
    "text": pa.array(["a", "", None, "Ü"]),
    "words": pa.array(["a", "b", None]).dictionary_encode(),
    "truth": pa.array([True, False, None]),
    "money": pa.array([Decimal("1.50"), None]),
    "day": pa.array([dt.date(2024, 2, 29), None]),
    "nothing": pa.nulls(2),
}


def batch_of(rows: int, seed: int = 0, names: Any = VALUES) -> pa.RecordBatch:
    """Rows that take their values from `VALUES`."""
    random = np.random.default_rng(seed)
    arrays = [VALUES[name].take(pa.array(random.integers(0, len(VALUES[name]), rows))) for name in names]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def spelt(batch: pa.RecordBatch) -> list[str]:
    """Each row as text, which tells -0.0 from 0.0."""
    return [repr(tuple(row.values())) for row in batch.to_pylist()]


@pytest.mark.parametrize("name", [*VALUES, "all"])
def test_the_distinct_rows_and_where_they_stand(name: str) -> None:
    rows = 5000 if name != "all" else 200_000
    batch = batch_of(rows, names=VALUES if name == "all" else [name])
    found = Deduplicator().find(batch)
    assert found is not None
    first, place = found
    distinct = spelt(batch.take(first))
    assert len(set(distinct)) == len(distinct)
    assert [distinct[at] for at in place.to_pylist()] == spelt(batch)
    assert first.to_pylist() == sorted(first.to_pylist())  # so an error names the first row that has it


def test_many_columns_do_not_overflow() -> None:
    one = batch_of(3000, names=["text"]).column(0)
    batch = pa.RecordBatch.from_arrays([one] * 70, names=[f"c{i}" for i in range(70)])
    found = Deduplicator().find(batch)
    assert found is not None and len(found[0]) == 4


def test_few_repetitions_end_the_looking() -> None:
    different, nested = pa.record_batch({"x": range(4096)}), pa.record_batch({"x": [[1]] * 4096})
    for batch in (different, nested):
        looking = Deduplicator()
        assert looking.find(batch) is None
        assert looking.find(batch_of(4096)) is None
    assert Deduplicator().find(batch_of(deduplicate.FEWEST - 1)) is None


def test_a_query_asks_for_equal_rows_once() -> None:
    """Through SQL: fewer rows are asked for, and the answers are those of the rule switched off."""
    found = []
    for settings in (Settings(), Settings(without_rules=frozenset({"equal_rows_once"}))):
        with mindsql.connect(settings=settings) as con:
            con.execute(
                "CREATE TABLE t AS SELECT i, i % 7 AS a, ['x', 'yy', NULL][1 + i % 3] AS b, "
                "(a + coalesce(length(b), 3)) * 1.0 AS y FROM range(100000) r(i);"
                "CREATE MODEL m FROM (SELECT a, b, y FROM t WHERE i < 500) PREDICT y "
                "USING estimator = 'KNeighborsRegressor', n_neighbors = 2"
            )
            query = "SELECT t.i, m.y FROM t JOIN m ORDER BY i"
            plan = con.execute(f"EXPLAIN ANALYZE {query}").fetchone()
            assert plan is not None
            assert ("equal rows: asked for once" in plan[1]) == (" hits" in plan[1]) == (not found)
            found.append(con.execute(query).fetchall())
    assert found[0] == found[1]
