"""The proof of the planner: generated queries must give the rows that DuckDB gives when predictions are a table.

For each model there is a grid: a table with a row for every combination of its inputs' values, holding the answers.
A relation `t JOIN m` is then, for DuckDB alone, a join with the grid on all inputs; and `FROM m WHERE a = 1` reads the
grid, the inputs not given being NULL. A query is generated as a pair of texts, ours and DuckDB's, that differ in
their FROM only. Each pair runs with all rules, without any, without streaming, and without single rules; names,
parameters, settings and the statement that it stands in are varied.
"""

from __future__ import annotations

import collections
import math
import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

import mindsql
from mindsql.executor import deduplicate
from mindsql.planner import RULES
from mindsql.settings import Settings

from .engines import Bands, BandsAsSQL, Linear, LinearAsSQL
from .generator import Generator
from .relations import MODELS, ORDINAL, SETUP, grid_sql
from .runner import PLAIN, connected
from .variations import RESET

SEEDS = range(25)
QUERIES = 10

_MODES: dict[str, Settings | None] = {
    "default": None,
    "plain": PLAIN,
    "kept": Settings(stream=False),
    "as SQL": None,
    "as SQL, not inlined": Settings(without_rules=frozenset({"inline_scans"})),
    **{f"without {rule.name}": Settings(without_rules=frozenset({rule.name})) for rule in RULES},
}


def prepared(mode: str, settings: Settings | None) -> mindsql.Connection:
    """A connection with the data and the models."""
    connection = connected(settings)
    if mode.startswith("as SQL"):
        connection.register_engine("linear", LinearAsSQL).register_engine("bands", BandsAsSQL)
    connection.execute(SETUP)
    for model in MODELS:
        for statement in model.create():
            connection.execute(statement)
    connection.execute(ORDINAL)
    return connection


@pytest.fixture(scope="module")
def oracle() -> Iterator[duckdb.DuckDBPyConnection]:
    raw = duckdb.connect()
    raw.execute(SETUP)
    for model in MODELS:
        for version, offset in enumerate(model.offsets, 1):
            raw.execute(grid_sql(model, version))
            name = f"{model.name}_{version}"
            frame = raw.execute(f"SELECT * FROM {name}_inputs").df()
            engine: Any = {"linear": Linear, "bands": Bands}[model.engine]()
            engine.model_storage.json_set("offset", offset)
            engine.model_storage._info["name"] = "grid"
            outputs = [model.target + suffix for suffix in ("", "_confidence", "_explain")]
            args = {"target": model.target, "predict_params": {}, "columns": outputs}
            answers = engine.predict(frame[list(model.inputs)], args)
            for output in outputs:
                frame[output] = answers[output].to_numpy()
            raw.register("answers", frame)
            columns = [*outputs, *(f"{column}::{kind} AS {column}" for column, kind in model.inputs.items())]
            raw.execute(f"CREATE TABLE {name} AS SELECT {', '.join(columns)} FROM answers")
            raw.execute(f"ALTER TABLE {name} ALTER {model.target}_explain TYPE JSON")
    yield raw
    raw.close()


@pytest.fixture(scope="module", autouse=True)
def equal_rows_of_small_tables() -> Iterator[None]:
    """The tables here are small: equal rows are looked for in them all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplicate, "FEWEST", 4)
        yield


@pytest.fixture(scope="module")
def ours() -> Iterator[dict[str, mindsql.Connection]]:
    connections = {name: prepared(name, settings) for name, settings in _MODES.items()}
    yield connections
    for connection in connections.values():
        connection.close()


def test_the_models_are_computed_by_duckdb(ours: dict[str, mindsql.Connection]) -> None:
    """The mode is worth nothing if the translations were refused."""
    summaries = [v.summary for m in ours["as SQL"]._session.snapshot().models if m.name != "o" for v in m.versions]
    assert summaries and all("translation" in summary for summary in summaries), [
        summary.get("translation_refused") for summary in summaries
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_are_equal(
    seed: int, oracle: duckdb.DuckDBPyConnection, ours: dict[str, mindsql.Connection]
) -> None:
    generator = Generator(random.Random(seed))
    for _ in range(QUERIES):
        query = generator.query()
        for statement in (*RESET, *(theirs for _, theirs in query.before)):
            oracle.execute(statement)
        wanted = oracle.execute(query.duckdb, query.parameters or None)
        names = [item[0] for item in wanted.description]
        expected = comparable(wanted.fetchall(), query.ordered)
        for statement in query.after:
            oracle.execute(statement)
        others = list(_MODES)[3:]
        for mode in [*list(_MODES)[:3], *generator.pick.sample(others, 2)]:
            try:
                for statement in (*RESET, *(own for own, _ in query.before)):
                    ours[mode].execute(statement)
                result = ours[mode].execute(query.mindsql, query.parameters or None)
                columns, found = result.columns, comparable(result.fetchall(), query.ordered)
            except mindsql.Error as error:
                raise AssertionError(f"{mode}: {query}\n{error}") from error
            finally:
                for statement in query.after:
                    ours[mode].execute(statement)
            where = f"{mode}: {query}"
            assert columns == names, where
            assert found == expected, where


def comparable(rows: list[tuple[Any, ...]], ordered: bool) -> Any:
    """Rows such that equal ones compare equal, whatever their order if that is free."""
    plain = [tuple(_plain(value) for value in row) for row in rows]
    return plain if ordered else collections.Counter(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}")
    return str(value) if isinstance(value, (list, dict)) else value
