"""The log of requests and statements, and the page that browsers log in to."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.conftest import Serve


def test_requests_and_statements_are_logged(serve: Serve, tmp_path: Path) -> None:
    server = serve("--no-mysql", "--access-log", "access.jsonl")
    server.rows("SELECT * FROM range(5)")
    assert server.post("SELEC").status_code == 400
    assert server.stop() == 0
    lines = [json.loads(line) for line in (tmp_path / "access.jsonl").read_text().splitlines()]
    statements = [line for line in lines if "statement" in line]
    assert [(line["statement"], line["rows"], line["who"]) for line in statements] == [
        ("SELECT * FROM range(5)", 5, "local"), ("SELEC", 0, "local")]  # fmt: skip
    assert [line["status"] for line in lines if "path" in line] == [200, 400]
    assert all(line["seconds"] > 0 and line["time"].endswith("+00:00") for line in lines)


def test_fast_statements_are_left_out(serve: Serve, tmp_path: Path) -> None:
    server = serve("--no-mysql", "--access-log", "access.jsonl", "--slow", "3600")
    server.rows("SELECT 1")
    assert server.stop() == 0
    assert "statement" not in (tmp_path / "access.jsonl").read_text()


def test_the_page_needs_no_other_address_and_a_login_that_browsers_know(serve: Serve) -> None:
    server = serve("--no-mysql")
    page = server.request("GET", "/docs")
    assert page.status_code == 200 and "//" not in page.text.replace("//", "", 0).split("<body>")[0].replace("</", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert server.request("GET", f"/docs/files/{name}").status_code == 200
    secret = server.request("POST", "/tokens", json={"name": "root", "role": "admin"}).json()["secret"]
    asked = server.request("GET", "/docs", headers={"Accept": "text/html"})
    assert asked.status_code == 401 and asked.headers["WWW-Authenticate"].startswith("Basic ")
    assert server.http.get(server.url + "/docs", auth=("anybody", secret), timeout=60).status_code == 200
    assert server.http.get(server.url + "/docs", auth=("anybody", "wrong"), timeout=60).status_code == 401
