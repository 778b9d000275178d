"""Owns secrets and signatures: `env('NAME')` is resolved when it is used; literals are encrypted before they are
stored; what only the owner of this machine may say is signed, so that a file from elsewhere cannot say it.

The key comes from MINDSQL_KEY (a Fernet key), or from a file that only its owner can read, made when first needed.
Cipher: Fernet (https://github.com/fernet/spec), from the package cryptography.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mindsql_grammar as grammar
from mindsql.errors import CatalogError, StatementError

KEY_VARIABLE = "MINDSQL_KEY"
_ENV, _SECRET, _SIGNED = "$env", "$secret", "$signed"
MASK = "********"


def key_file() -> Path:
    """Where the key lies when the environment does not give it."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "mindsql" / "key"


def encrypted(options: Mapping[str, Any], is_secret: Callable[[str], bool]) -> dict[str, Any]:
    """Options as they may be stored: references as references, secret literals encrypted."""
    return {key: _seal(value, is_secret(key)) for key, value in options.items()}


def decrypted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Stored options as an engine needs them. Raises StatementError, CatalogError."""
    return {key: _open(value) for key, value in options.items()}


def signed(value: str, purpose: str) -> dict[str, str]:
    """A value as it may be stored, with proof that a statement of this key's owner gave it for a purpose."""
    return {_SIGNED: _signature(value, purpose), "value": value}


def is_signed(stored: Any, purpose: str) -> bool:
    """Whether a stored value was signed for a purpose, by the key of this process."""
    if not isinstance(stored, Mapping) or not {_SIGNED, "value"} <= stored.keys():
        return False
    return hmac.compare_digest(str(stored[_SIGNED]), _signature(str(stored["value"]), purpose))


def _signature(value: str, purpose: str) -> str:
    return hmac.new(_key(), json.dumps([purpose, value]).encode(), hashlib.sha256).hexdigest()


def redact_secrets(text: str) -> str:
    """A text of foreign origin without the secrets that were ever handed out: an exception may quote them."""
    for secret in sorted(_handed_out, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _hand_out(secret: str) -> str:
    if len(secret) > 3:  # a shorter one would be found everywhere
        _handed_out.add(secret)
    return secret


_handed_out: set[str] = set()


def redact_options(value: Any) -> Any:
    """A stored value as it may be shown."""
    if isinstance(value, Mapping):
        if _ENV in value:
            return f"env('{value[_ENV]}')"
        if _SECRET in value:
            return MASK
        if _SIGNED in value:
            return value["value"]
        return {key: redact_options(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact_options(item) for item in value]
    return value


def _seal(value: Any, secret: bool) -> Any:
    if isinstance(value, grammar.Env):
        _environment(value.name)
        return {_ENV: value.name}
    if secret and isinstance(value, str):
        return {_SECRET: _cipher().encrypt(value.encode()).decode()}
    if isinstance(value, Mapping):
        return {key: _seal(item, secret) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_seal(item, secret) for item in value]
    return value


def _open(value: Any) -> Any:
    if isinstance(value, grammar.Env):
        return _hand_out(_environment(value.name))
    if isinstance(value, Mapping):
        if _ENV in value:
            return _hand_out(_environment(value[_ENV]))
        if _SECRET in value:
            return _hand_out(_decrypt(value[_SECRET]))
        if _SIGNED in value:
            return value["value"]
        return {key: _open(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise StatementError(f"the environment has no variable {name}", hint=f"export {name}=…")
    return value


def _decrypt(token: str) -> str:
    from cryptography.fernet import InvalidToken

    try:
        clear: bytes = _cipher().decrypt(token.encode())
        return clear.decode()
    except InvalidToken as error:
        raise CatalogError(
            "a stored secret cannot be decrypted: this key did not encrypt it",
            hint=f"set {KEY_VARIABLE} to the key it was stored with, or give the secret anew",
        ) from error


def _cipher() -> Any:
    from cryptography.fernet import Fernet

    return Fernet(_key())


def _key() -> bytes:
    from cryptography.fernet import Fernet

    key = os.environ.get(KEY_VARIABLE)
    path = key_file()
    try:
        if key is None and path.exists():
            if path.stat().st_mode & 0o077:
                raise CatalogError(f"others can read the key file {path}", hint=f"chmod 600 {path}")
            key = path.read_text().strip()
        if key is None:
            key = Fernet.generate_key().decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(key)
        Fernet(key.encode())  # raises ValueError
        return key.encode()
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"there is no usable key for secrets: {error}",
            hint=f"set {KEY_VARIABLE} to the output of: "
            'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"',
        ) from error
