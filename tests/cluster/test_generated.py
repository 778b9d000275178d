"""The generated queries of the differential test, over files: a cluster gives the rows that this process gives."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

import mindsql
from mindsql.cluster.distribution import Distribution
from mindsql.connection import Connection
from tests.cluster.conftest import MARKS, Two
from tests.logic import engines
from tests.logic.generator import Generator
from tests.logic.test_differential import comparable, prepared
from tests.logic.variations import RESET

pytestmark = MARKS

SEEDS = range(6)
QUERIES = 10
_TABLE = re.compile(r"((?:FROM|JOIN) )([tw])(?= |\)|,|$)(?! +AS )")


@pytest.fixture(scope="module")
def sides(two: Two, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, Connection, Path]]:
    """A connection whose queries go to the cluster, one whose do not, and the folder of the tables' files."""
    ray.cloudpickle.register_pickle_by_value(engines)
    folder = tmp_path_factory.mktemp("tables")
    there, here = prepared("default", None), prepared("default", None)
    for name in "tw":
        for part in range(3):
            here.execute(f"COPY (FROM {name} WHERE id % 3 = {part}) TO '{folder}/{name}{part}.parquet'")
    there.execute("SET executor = 'ray'")
    yield there, here, folder
    there.close()
    here.close()


def test_rows_are_equal(sides: tuple[Connection, Connection, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_pays", lambda self, files: True)
    *connections, folder = sides
    taken, asked = 0, 0

    def over_files(text: str) -> str:
        return _TABLE.sub(lambda found: f"{found[1]}'{folder}/{found[2]}*.parquet' AS {found[2]}", text)

    for seed in SEEDS:
        generator = Generator(random.Random(seed))
        for _ in range(QUERIES):
            query = generator.query()
            text = over_files(query.mindsql)
            found = []
            for con in connections:
                try:
                    for statement in (*RESET, *(own for own, _ in query.before)):
                        con.execute(statement)
                    if con is connections[0] and text.upper().startswith(("SELECT", "WITH")):
                        shown = con.execute(f"EXPLAIN {text}", query.parameters or None).fetchall()
                        taken, asked = taken + ("on the cluster" in str(shown)), asked + 1
                    result = con.execute(text, query.parameters or None)
                    found.append((result.columns, comparable(result.fetchall(), query.ordered)))
                except mindsql.Error as error:
                    found.append(([type(error).__name__], error.message))
                finally:
                    for statement in query.after:
                        con.execute(statement)
            there, here = found
            assert there == here, (seed, text)
    assert taken > asked / 5, "the test is worth nothing if all stays here"
