"""Secrets are stored encrypted or by reference, shown redact_options, and lost without their key."""

from __future__ import annotations

import json
import stat

import pytest

import mindsql_grammar as grammar
from mindsql.errors import CatalogError, StatementError
from mindsql.secrets import KEY_VARIABLE, MASK, decrypted, encrypted, key_file, redact_options


@pytest.fixture(autouse=True)
def _key(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "from outside")
    given = {"key": "abc123", "size": 5, "token": grammar.Env("TOKEN_OF_TEST"), "more": {"path": ["a"]}}
    stored = json.loads(json.dumps(encrypted(given, lambda name: name == "key")))
    assert "abc123" not in json.dumps(stored) and "from outside" not in json.dumps(stored)
    assert decrypted(stored) == {**given, "token": "from outside"}
    shown = {"key": MASK, "size": 5, "token": "env('TOKEN_OF_TEST')", "more": {"path": ["a"]}}
    assert redact_options(stored) == shown
    monkeypatch.setenv("TOKEN_OF_TEST", "changed")
    assert decrypted(stored)["token"] == "changed"


def test_the_key_file_is_its_owners() -> None:
    assert not key_file().exists()
    stored = encrypted({"key": "abc"}, lambda name: True)
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    key_file().chmod(0o644)
    with pytest.raises(CatalogError, match="others can read the key file"):
        decrypted(stored)


def test_another_key_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.fernet import Fernet

    stored = encrypted({"key": "abc"}, lambda name: True)
    monkeypatch.setenv(KEY_VARIABLE, Fernet.generate_key().decode())
    with pytest.raises(CatalogError, match="cannot be decrypted: this key did not encrypt it") as caught:
        decrypted(stored)
    assert KEY_VARIABLE in str(caught.value.hint)
    monkeypatch.setenv(KEY_VARIABLE, "no key")
    with pytest.raises(CatalogError, match="there is no usable key"):
        decrypted(stored)


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(StatementError, match="the environment has no variable NO_SUCH_VARIABLE"):
        encrypted({"key": grammar.Env("NO_SUCH_VARIABLE")}, lambda name: True)
