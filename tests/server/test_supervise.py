"""A server that dies is started anew, and ends when its parent is told to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import requests

from tests.server.conftest import Serve


def test_a_server_that_dies_is_started_anew(serve: Serve, tmp_path: Path) -> None:
    server = serve("--supervise", "--no-mysql")
    server.rows("CREATE TABLE kept AS SELECT 1 AS x")
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGSEGV)
    assert server.process.stdout is not None
    found = re.search(r"at (http://\S+)", server.process.stdout.readline())
    assert found is not None
    answer = requests.post(f"{found[1]}/api/sql/query", json={"query": "SELECT x FROM kept"}, timeout=60)
    assert answer.json()["data"] == [[1]]
    assert "is started anew" in (tmp_path / "server.log").read_text()
    assert server.stop() == 0


def test_what_cannot_be_served_is_not_tried_again(tmp_path: Path) -> None:
    from mindsql.server.supervise import supervise

    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert supervise([str(tmp_path / "nowhere" / "shop.duckdb")]) == 2
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
