"""Owns the options of CREATE ML_ENGINE that every handler has: whether it runs in a process of its own, and what that
may take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mindsql.engine import Engine, Environment, Option
from mindsql.errors import AccessError, StatementError
from mindsql.isolation.folder import PATH, FolderEngine
from mindsql.secrets import decrypted, is_signed, redact_options, signed

ISOLATION = (
    Option("isolated", "boolean", description="run it in a process of its own"),
    Option("python", "string", description="the Python of its environment: a version (3.12, >=3.12) or a path"),
    Option("requirements", "any", description="packages that its environment has: a text, words apart, or an array"),
    Option("memory_limit", "string", description="the most memory that its process may take: 8GB"),
    Option("idle_timeout", "float", minimum=0, description="seconds without a call after which its process ends"),
    Option("workers", "integer", minimum=1, maximum=64, description="processes that answer for one model at once"),
)
"""These names are taken: a handler's own options have others."""

ISOLATION_NAMES = frozenset(option.name for option in ISOLATION)
OWNERS = ("python", "requirements")
"""Those that install or start a program: for the owner of a local database."""



def sign_programs(handler: str, cls: type[Engine], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are stored, those signed that name code on this machine. Raises CatalogError."""
    clear = decrypted({name: stored[name] for name in _programs(cls, stored)})
    return {**stored, **{name: signed(str(value), _purpose(handler, name, value)) for name, value in clear.items()}}


def permitted(handler: str, cls: type[Engine], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored options in the clear. A database file may come from elsewhere: code on this machine that it names is only
    run when the owner of this machine's key named it.

    Raises:
        AccessError: An option names such code, and is not signed by that key.
    """
    for name in _programs(cls, stored):
        value = redact_options(stored[name])
        if not is_signed(stored[name], _purpose(handler, name, value)):
            raise AccessError(
                f"an engine of this database would run {value}: nobody allowed that here",
                hint="if it is yours, say so: CREATE OR REPLACE ML_ENGINE … with the same options",
            )
    return decrypted(stored)


def _purpose(handler: str, option: str, value: Any) -> str:
    """What a signature is for: a path from the working directory is another one in another directory."""
    return f"{handler}.{option}: {os.path.abspath(os.path.expanduser(str(value)))}"


def _programs(cls: type[Engine], stored: Mapping[str, Any]) -> list[str]:
    named = [option.name for option in cls.engine_options if cls.for_owners and option.file]
    python = stored.get("python")
    named += ["python"] if isinstance(python, Mapping) or os.sep in str(python) else []
    return [name for name in named if stored.get(name) is not None]


_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", re.I)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Isolation:
    """How an engine runs in a process of its own.

    Attributes:
        environment: The environment that it needs; None for the database's own.
        memory_limit: Bytes, 0 for any.
        idle_timeout: Seconds.
        workers: Processes for one model.
        path: Where its code is, of the handler `folder`.
    """

    environment: Environment | None = None
    memory_limit: int = 0
    idle_timeout: float = 900.0
    workers: int = 1
    path: str | None = None


def isolation_of(cls: type[Engine], options: Mapping[str, Any]) -> Isolation | None:
    """How an engine with these options of CREATE ML_ENGINE is isolated; None when it runs in the database's process.

    Raises:
        StatementError: The options do not go together.
    """
    given = {name: options[name] for name in sorted(ISOLATION_NAMES & options.keys())}
    environment = cls.environment
    if given.get("python") or given.get("requirements"):
        required = given.get("requirements") or ()
        named = required.split() if isinstance(required, str) else [str(one) for one in required]
        base = environment or Environment()
        python = str(given.get("python") or "")
        if not named and os.sep in python and (Path(python).parent.parent / "pyvenv.cfg").is_file():
            base = replace(base, requires=(), overrides=(), constraints=())  # an environment of the user's own
        environment = replace(
            base, python=str(given.get("python") or base.python), requires=(*base.requires, *named)
        )
    others = sorted(set(given) - {"isolated"})
    path = str(options[PATH]) if issubclass(cls, FolderEngine) and options.get(PATH) else None
    if issubclass(cls, FolderEngine) and path is None:
        raise StatementError("an engine of the handler folder is made first", hint="CREATE ML_ENGINE … FROM folder")
    if given.get("isolated") is False:
        if path is not None:
            raise StatementError("a handler in a folder always runs in a process of its own", hint="leave it out")
        if others:
            raise StatementError(f"{others[0]} needs isolated = true", hint="leave isolated = false out")
        return None
    if not given and environment is None and path is None:
        return None
    return Isolation(
        environment,
        memory_size(given["memory_limit"]) if "memory_limit" in given else 0,
        float(given.get("idle_timeout", Isolation.idle_timeout)),
        int(given.get("workers", 1)),
        path,
    )


def memory_size(text: str) -> int:
    """`8GB`, `512 MB` in bytes, as powers of two. Raises StatementError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise StatementError(f'memory_limit = "{text}" is no size', hint="write it as '8GB' or '512MB'")
    size = int(float(found[1]) * (1 << _UNITS[found[2].upper()]))
    if size < 64 << 20:
        raise StatementError(f'memory_limit = "{text}" is too little for a Python process', hint="64MB at least")
    return size
