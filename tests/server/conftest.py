"""Owns how server tests meet a server: a real `mindsql serve` in a process of its own, on ports that were free."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

_READY = re.compile(r"at (https?://\S+)(?: and mysql://\S+:(\d+))?")


@dataclass
class Served:
    """A running server.

    Attributes:
        url: Where HTTP is.
        mysql_port: Where the MySQL wire is.
        process: The process.
        file: Its database.
        token: Sent with each request, when there is one.
    """

    url: str
    mysql_port: int
    process: subprocess.Popen[str]
    file: Path
    token: str | None = None
    http: requests.Session = field(default_factory=requests.Session)

    def request(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """One request."""
        headers = dict(keywords.pop("headers", None) or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.http.request(method, self.url + path, headers=headers, timeout=60, **keywords)

    def post(self, sql: str, params: Any = None, headers: dict[str, str] | None = None) -> requests.Response:
        """The answer to a statement."""
        return self.request("POST", "/api/sql/query", json={"query": sql, "params": params}, headers=headers)

    def rows(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement. Fails when it does."""
        answer = self.post(sql, params)
        assert answer.status_code == 200, answer.text
        return [tuple(row) for row in answer.json().get("data", [])]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Stop it and give its exit status."""
        self.http.close()
        self.process.send_signal(how)
        with self.process:
            return self.process.wait(60)


Serve = Callable[..., Served]


@contextlib.contextmanager
def serving(
    folder: Path, *options: str, file: str = "shop.duckdb", token: str | None = None
) -> Iterator[Served]:
    """Run `mindsql serve` in a folder."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    log = folder / "server.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mindsql.cli",
                "serve",
                file,
                "--port",
                "0",
                "--mysql-port",
                "0",
                *options,
            ],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = _READY.search(line)
        assert found is not None, log.read_text()
        yield Served(found[1], int(found[2] or 0), process, folder / file, token)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        process.stdout.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers in the test's folder; what still runs at its end is killed."""
    with contextlib.ExitStack() as stack:
        yield lambda *options, **keywords: stack.enter_context(serving(tmp_path, *options, **keywords))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module, with a table `flats` and a model `rent` of it."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        server.rows(
            "CREATE TABLE flats AS SELECT 300 + i * 7 % 900 AS sqft, ['good', 'poor', 'great'][1 + i % 3] AS place, "
            "(300 + i * 7 % 900) * 2.0::DOUBLE + (i % 3) * 100 AS rent FROM range(300) r(i)"
        )
        server.rows(
            "CREATE MODEL rent FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'LinearRegression'"
        )
        yield server
