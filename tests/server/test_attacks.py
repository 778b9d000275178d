"""Attacks: each is refused with the right status, and leaves the server alive and everything as it was."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.attackers import SECRET, Target, redirecting, target
from tests.server.attacks import STATEMENTS, Attack, model_at
from tests.server.attacks_on_doors import DOORS

ATTACKS = [*STATEMENTS, *DOORS]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("attacks")) as victim:
        yield victim


@pytest.fixture(scope="module")
def before(victim: Target) -> Any:
    return victim.state()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_refused(attack: Attack, victim: Target, before: Any) -> None:
    how = attack.how
    answer = victim.sql(attack.role, how) if isinstance(how, str) else how(victim, attack.role)
    right = attack.status if isinstance(attack.status, tuple) else (attack.status,)
    assert answer.status in right, answer.text[:2000]
    assert attack.code in ("", answer.code), answer.text[:2000]
    assert SECRET not in answer.text and "Traceback" not in answer.text
    assert victim.http(None, "GET", "/health").status == 200


def test_all_is_as_it_was(victim: Target, before: Any) -> None:
    assert victim.state() == before
    assert victim.server.process.poll() is None
    log = (victim.folder / "server.log").read_text()
    assert "Traceback" not in log and SECRET not in log


def test_a_redirect_leads_nowhere_else(tmp_path: Path) -> None:
    """The host that may be asked sends the server to one that may not."""
    options = ("--private-hosts", "--allow-host", "localhost")
    with (
        target(tmp_path, *options) as victim,
        redirecting(f"http://127.0.0.1:{victim.inside.port}/p") as port,
    ):
        made = victim.sql("write", model_at(f"http://localhost:{port}/p"))
        assert made.status == 200, made.text
        answer = victim.sql("write", "SELECT y FROM led WHERE a = 1")
        assert answer.status >= 400 and "307" in answer.text, answer.text
        direct = victim.sql("write", model_at(f"http://127.0.0.1:{victim.inside.port}/p"))
        assert (direct.status, direct.code) == (403, "ACCESS")
        assert victim.inside.hits == 0


def test_secrets_never_leave(victim: Target) -> None:
    secret = "hunter2-hunter2-hunter2"
    model = (
        "CREATE MODEL keeper PREDICT label USING engine = 'hf_api', task = 'text-classification', "
        f"base_url = 'https://example.com', input_column = 'text', api_key = '{secret}'"
    )
    made = victim.sql("write", model)
    assert made.status == 200, made.text
    looks = [
        "DESCRIBE keeper",
        "SELECT * FROM information_schema.models",
        "SELECT * FROM mindsql.models",
        "SHOW MODELS",
        "EXPLAIN SELECT label FROM keeper WHERE text = 'a'",
        "SELECT * FROM information_schema.model_columns",
        f"SELECT {secret.replace('-', '_')} FROM nowhere USING api_key = '{secret}'",
        f"CREATE MODEL keeper PREDICT label USING api_key = '{secret}'",
    ]
    said = [victim.sql("admin", text).text for text in looks]
    keeper = [f"/models/keeper{view}" for view in ("", "?_model", "?_params", "?_opts")]
    said += [
        victim.http("admin", "GET", path).text
        for path in (*keeper, "/models", "/metrics", "/jobs", "/tokens")
    ]
    said += [victim.mysql("admin", text).text for text in ("SHOW PROCESSLIST", "DESCRIBE keeper")]
    assert [text for text in said if secret in text] == []
    assert all(
        secret not in text for each in victim.tokens.values() for text in said for secret in (each, each[22:])
    )
    assert victim.sql("write", "DROP MODEL keeper").status == 200
    for file in ("server.log", "shop.duckdb.audit.jsonl"):
        text = (victim.folder / file).read_text()
        assert secret not in text and all(each not in text for each in victim.tokens.values()), file
    assert secret.encode() not in (victim.folder / "shop.duckdb").read_bytes()


def test_a_head_that_never_ends(victim: Target) -> None:
    """Clients that send a byte now and then do not keep others out, and are shown the door."""
    where = urlsplit(victim.server.url)
    slow = [socket.create_connection((where.hostname, where.port), timeout=60) for _ in range(50)]
    for sock in slow:
        sock.sendall(b"POST /api/sql/query HTTP/1.1\r\nHost: localhost\r\nX-A: ")
    assert victim.sql("read", "SELECT 1").status == 200
    ended = 0
    for sock in slow:
        with contextlib.suppress(OSError):
            while not ended:  # the first one drips until it is told to go
                sock.sendall(b"a")
                sock.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    ended += not sock.recv(100)
        sock.settimeout(60)
        with sock, contextlib.suppress(OSError):
            ended += not sock.recv(100)
    assert ended >= 50
    assert victim.sql("read", "SELECT 1").status == 200
