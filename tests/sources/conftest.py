"""Owns what tests of sources meet: servers of the suite's own, and SQLite in a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mindsql
from tests.sources import servers
from tests.sources.servers import ROWS, Server, rentals, wait_for

__all__ = ["ROWS", "Server", "wait_for"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL with a schema `test_data`."""
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """MariaDB with a database `test_data`."""
    try:
        with servers.mariadb() as server:
            yield server
    except servers.NoServer as error:
        if os.environ.get("MINDSQL_TESTS_SKIP") == "no":  # .ci/run says so: there, a skip would hide what is broken
            pytest.fail(str(error))
        pytest.skip(f"{error}: MariaDB AS A SOURCE IS NOT TESTED")


@pytest.fixture
def sqlite(tmp_path: Path) -> Server:
    """SQLite in a file."""

    def run(text: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(tmp_path / "data.sqlite")
        try:
            with connection:
                return connection.execute(text).fetchall()
        finally:
            connection.close()

    for text in rentals(""):
        run(text)
    return Server("sqlite", {"db_file": str(tmp_path / "data.sqlite")}, run, lambda: 0, lambda: None)


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of them."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def con() -> Iterator[mindsql.Connection]:
    """A connection to a database in memory."""
    connection = mindsql.connect()
    yield connection
    connection.close()
