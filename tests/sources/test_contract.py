"""Every source of ours passes the suite that strangers' sources are given."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mindsql import source
from mindsql.source import Rows
from mindsql.testing import CheckFailed, check_source
from mindsql_sources.sqlite import SQLite
from tests.sources.conftest import Server


def test_servers_keep_the_contract(server: Server) -> None:
    found = source.find(server.engine)
    assert found is not None
    check_source(found.load(), server.parameters)


def test_sqlalchemy_keeps_the_contract(mariadb: Server) -> None:
    words = mariadb.parameters
    url = f"mysql+pymysql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/test_data?charset=utf8mb4"
    check_source(importlib.import_module("mindsql_sources.sqlalchemy").SQLAlchemy, {"url": url})


def test_files_keep_the_contract(tmp_path: Path) -> None:
    import deltalake

    rows = pa.table({"a": [1, None, 3], "b": ["x", "y", None], "c": [0.5, 1, 2]})
    deltalake.write_deltalake(str(tmp_path / "t"), rows)
    check_source(importlib.import_module("mindsql_sources.delta").Delta, {"uri": str(tmp_path)})


class Losing(SQLite):
    """It takes a condition for more than it is."""

    def scan(self, table: Any, columns: Any, where: Any) -> Rows:
        rows = super().scan(table, columns, where)
        return Rows(rows.schema, (batch.slice(1) for batch in rows.batches)) if where else rows


class Empty(SQLite):
    """It tells no tables."""

    def tables(self) -> list[str]:
        return []


class Hasty(SQLite):
    """It writes what it has got so far."""

    def write(self, table: Any, rows: Rows, mode: Any = "append", types: Any = ()) -> int:
        got = []
        try:
            got.extend(rows.batches)
        except Exception:  # that is what is wrong with it
            got = got or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
        return super().write(table, Rows(rows.schema, iter(got)), mode, types)


@pytest.mark.parametrize(("cls", "words"), [(Losing, "other rows"), (Empty, "there are none"), (Hasty, "none of")])
def test_a_source_that_breaks_it_is_told(sqlite: Server, cls: type[SQLite], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        check_source(cls, sqlite.parameters)
