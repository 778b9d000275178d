"""Tokens: made, shown once, verified, revoked; how often; and the log of what was written with them."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

import mindsql
from mindsql.connection import Connection
from mindsql.errors import AuthenticationError, CatalogError, LimitError, StatementError, UnknownNameError
from mindsql.server import tokens as module
from mindsql.server.audit import Audit
from mindsql.server.limits import FAILURES_PER_MINUTE, Bucket, RateLimits
from mindsql.server.options import ServeOptions
from mindsql.server.principal import Principal, Role
from mindsql.server.tokens import Tokens
from tests.server.conftest import Serve


@pytest.fixture
def tokens() -> Any:
    with mindsql.connect() as connection:
        yield Tokens(connection.cursor())


def test_a_secret_is_known_and_kept_nowhere(tmp_path: Path) -> None:
    with mindsql.connect(str(tmp_path / "shop.duckdb")) as connection:
        tokens = Tokens(connection)
        assert not tokens.any()
        secret = tokens.create("ann", "write", requests_per_minute=10, body_bytes=1000)
        again = Tokens(connection)
        for each in (tokens, again):
            principal = each.authenticate(secret, "1.2.3.4")
            assert (principal.name, principal.role) == ("ann", Role.WRITE)
            assert (principal.requests_per_minute, principal.body_bytes) == (10, 1000)
        assert again.native("ann") == hashlib.sha1(hashlib.sha1(secret.encode()).digest()).digest()
        assert again.native("bob") is None
        connection.execute("CHECKPOINT")
        shown = connection.execute("FROM mindsql._tokens").fetchall()
    assert secret not in str(shown)
    for file in tmp_path.iterdir():
        assert secret.split("_", 2)[2].encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: "",
        lambda s: s[:-1],
        lambda s: s + "A",
        lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"),
        lambda s: s.upper(),
        lambda s: " " + s,
        lambda s: s + "\n",
        lambda s: s.replace("msql_", "msql_0", 1),
        lambda s: "msql_" + "0" * 16 + s[21:],
        lambda s: s[:22],
        lambda s: "é" * 50,
        lambda s: "\ud800",
        lambda s: "' OR 1=1 --",
    ],
)
def test_nothing_but_the_secret_opens(tokens: Tokens, change: Any) -> None:
    secret = tokens.create("ann", "admin")
    tokens.create("bob", "read")
    with pytest.raises(AuthenticationError):
        tokens.authenticate(change(secret), "1.2.3.4")


def test_digests_are_compared_in_constant_time(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the id is right, the secret is, or nothing: the same digest and the same comparison of 32 bytes."""
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    secret = tokens.create("ann", "read")
    for text in (secret, secret[:-5] + "AAAAA", "msql_" + "0" * 16 + secret[21:], "", "x" * 100_000):
        tokens.verify(text)
    assert compared == [(32, 32)] * 5
    assert "==" not in inspect.getsource(Tokens.verify).replace("token.id == identity", "")


def test_revoked_and_expired_tokens_open_nothing(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tokens.create("ann", "read")
    principal = tokens.authenticate(secret, "")
    tokens.check(principal)
    with pytest.raises(CatalogError, match="the last"):
        tokens.revoke("ANN")  # the server would be open to everybody
    tokens.create("root", "admin")
    with pytest.raises(CatalogError, match="the last"):
        tokens.revoke("root")
    tokens.revoke("ANN")
    for call in (lambda: tokens.authenticate(secret, ""), lambda: tokens.check(principal)):
        with pytest.raises(AuthenticationError):
            call()
    other = tokens.create("ann", "read")
    with pytest.raises(AuthenticationError):
        tokens.check(principal)  # the name is there again, and is another's
    tokens.create("short", "read", days=1)
    assert tokens.native("short") is not None
    now = module._now()
    monkeypatch.setattr(module, "_now", lambda: now + module.timedelta(days=2))
    assert tokens.native("short") is None and tokens.principal("short") is None
    assert tokens.authenticate(other, "").name == "ann"
    assert tokens.any()
    with pytest.raises(UnknownNameError):
        tokens.revoke("nobody")


def test_bad_tokens_are_not_made(tokens: Tokens) -> None:
    tokens.create("ann", "read")
    for name in ("", "local", "a b", "x" * 33, "a'b", "1a", "ann\n"):
        with pytest.raises(StatementError):
            tokens.create(name, "read")
    with pytest.raises(CatalogError):
        tokens.create("Ann", "read")
    with pytest.raises(UnknownNameError):
        tokens.create("bob", "root")
    for limits in ({"days": -1}, {"requests_per_minute": 0}, {"body_bytes": -5}, {"days": float("inf")}):
        with pytest.raises(StatementError):
            tokens.create("bob", "read", **limits)
    assert tokens.names() == ["ann"]


def test_a_token_may_send_so_many_statements() -> None:
    now = [0.0]
    bucket = Bucket(60, lambda: now[0])
    assert [bucket.take() for _ in range(60)] == [0.0] * 60
    assert bucket.take() == pytest.approx(1.0)
    now[0] += 2.0
    assert [bucket.take(), bucket.take()] == [0.0, 0.0]
    assert bucket.take() > 0

    limits = RateLimits(lambda: now[0])
    ann = Principal("ann", Role.READ, "1", requests_per_minute=2)
    bob = Principal("bob", Role.READ, "2", requests_per_minute=2)
    for who in (ann, ann, bob):
        limits.spend(who)
    with pytest.raises(LimitError) as caught:
        limits.spend(ann)
    assert caught.value.retry_after == pytest.approx(30.0)
    limits.spend(bob)
    limits.spend(Principal("any", Role.READ))


def test_wrong_tokens_of_one_address_are_slowed(tokens: Tokens) -> None:
    secret = tokens.create("ann", "read")
    for _ in range(FAILURES_PER_MINUTE):
        with pytest.raises(AuthenticationError):
            tokens.authenticate("wrong", "1.2.3.4")
    with pytest.raises(LimitError):
        tokens.authenticate("wrong", "1.2.3.4")
    with pytest.raises(AuthenticationError):
        tokens.authenticate("wrong", "5.6.7.8")
    assert tokens.authenticate(secret, "1.2.3.4").name == "ann"


def test_what_is_remembered_of_addresses_does_not_grow_for_ever() -> None:
    limits = RateLimits()
    for number in range(20_000):
        limits.failed(str(number))
    assert len(limits._buckets) <= 10_000


# The command line and the door ------------------------------------------------------------------------------


def token(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mindsql.cli", "token", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_command_makes_lists_and_revokes(tmp_path: Path, serve: Serve) -> None:
    made = token(tmp_path, "create", "--new", "shop.duckdb", "ann", "--role", "admin", "--days", "30")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("msql_") and secret not in made.stderr
    assert token(tmp_path, "create", "shop.duckdb", "bob").returncode == 0
    listed = token(tmp_path, "list", "shop.duckdb").stdout
    assert listed.splitlines()[1] == "bob\tread\tfor ever" and secret not in listed
    assert token(tmp_path, "revoke", "shop.duckdb", "bob").returncode == 0
    again = token(tmp_path, "revoke", "shop.duckdb", "bob")
    assert again.returncode == 1 and 'unknown token "bob"' in again.stderr

    server = serve(token=secret)
    busy = token(tmp_path, "create", "shop.duckdb", "eve")
    assert busy.returncode == 1 and "POST, GET and DELETE /tokens" in busy.stderr
    made_there = server.request(
        "POST", "/tokens", json={"name": "eve", "role": "write", "requests_per_minute": 1000}
    )
    assert made_there.status_code == 201
    eve = {"Authorization": f"Bearer {made_there.json()['secret']}"}
    assert server.post("CREATE TABLE t AS SELECT 1 AS a", headers=eve).status_code == 200
    for method, path in (("GET", "/tokens"), ("POST", "/tokens"), ("DELETE", "/tokens/ann")):
        answer = server.request(method, path, json={"name": "x", "role": "admin"}, headers=eve)
        assert answer.status_code == 403, answer.text
    assert [each["name"] for each in server.request("GET", "/tokens").json()] == ["ann", "eve"]
    kept = server.request("POST", "/api/sql/sessions", headers=eve).json()["session"]
    assert server.request("DELETE", "/tokens/eve").status_code == 204
    assert server.post("SELECT 1", headers=eve).status_code == 401
    assert server.post("SELECT 1", headers={**eve, "Mindsql-Session": kept}).status_code == 401
    assert server.request("DELETE", "/tokens/eve").status_code == 404
    assert server.stop() == 0
    assert token(tmp_path, "list", "shop.duckdb").stdout.startswith("ann\tadmin\tuntil ")

    lines = [json.loads(line) for line in (tmp_path / "shop.duckdb.audit.jsonl").read_text().splitlines()]
    assert [(line["who"], line["statement"], line["outcome"]) for line in lines] == [
        ("ann", "create the write token eve", "ok"),
        ("eve", "CREATE TABLE t AS SELECT 1 AS a", "ok"),
        ("eve", "create the admin token x", "ACCESS"),
        ("eve", "revoke the token ann", "ACCESS"),
        ("ann", "revoke the token eve", "ok"),
        ("ann", "revoke the token eve", "UNKNOWN_NAME"),
    ]


def test_the_limits_of_a_token(tmp_path: Path, serve: Serve) -> None:
    made = token(tmp_path, "create", "--new", "shop.duckdb", "ann", "--requests-per-minute", "2", "--max-body", "500")
    server = serve(token=made.stdout.strip())
    statuses = [server.post("SELECT 1").status_code for _ in range(4)]
    assert statuses[:2] == [200] * 2 and 429 in statuses[2:]
    refused = server.post("SELECT 1")
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    assert requests.get(server.url + "/health", timeout=60).status_code == 200
    wrong = [
        requests.post(
            server.url + "/api/sql/query", json={"query": "SELECT 1"}, headers={"X-Api-Key": "msql_x"}
        )
        for _ in range(FAILURES_PER_MINUTE + 2)
    ]
    assert {answer.status_code for answer in wrong} == {401, 429} and wrong[-1].status_code == 429


def test_the_audit_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    audit = Audit(":memory:", ServeOptions(audit=str(path)))
    ann = Principal("ann", Role.WRITE, "id")
    audit.write(
        ann, "http", "CREATE ML_ENGINE e FROM x USING api_key = 'hunter2'\n, url = 'http://u:pw@h'", None
    )
    audit.write(ann, "mysql", "CREATE SECRET s (TYPE http, bearer_token = ['hunter2'", CatalogError("no"))
    audit.close()
    audit.write(ann, "http", "after the end", None)
    assert path.stat().st_mode & 0o077 == 0
    text = path.read_text()
    assert "hunter2" not in text and ":pw@" not in text
    first, second = map(json.loads, text.splitlines())
    assert (first["who"], first["role"], first["door"], first["outcome"]) == ("ann", "write", "http", "ok")
    assert first["statement"].startswith("CREATE ML_ENGINE e FROM x USING api_key = '***'")
    assert second["outcome"] == "CATALOG"
    with pytest.raises(CatalogError):
        Audit(":memory:", ServeOptions(audit=str(tmp_path / "nowhere" / "log")))


def test_tokens_are_for_sessions_that_write_to_the_catalog(tmp_path: Path) -> None:
    """A file without a catalog gets one with its first token."""
    with mindsql.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE MODEL m FROM (SELECT i AS a, i * 2 AS y FROM range(50) r(i)) PREDICT y")
        _one(connection)
    with mindsql.connect() as connection:
        _one(connection)


def _one(connection: Connection) -> None:
    tokens = Tokens(connection.cursor())
    assert not tokens.any()
    secret = tokens.create("ann", "read")
    assert Tokens(connection.cursor()).authenticate(secret, "").name == "ann"
