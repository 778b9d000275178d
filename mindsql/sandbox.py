"""Owns what a database that is closed to the machine may still reach: folders, memory, threads, settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mindsql.errors import AccessError


@dataclass(frozen=True)
class Sandbox:
    """What statements may reach outside the database; DuckDB itself refuses the rest, and no SET changes it.

    Attributes:
        folders: Folders whose files may be read, absolute.
        memory: The most memory, as DuckDB writes it (`4GB`); None leaves it at DuckDB's own limit.
        threads: How many threads DuckDB computes with; None for one per core.
    """

    folders: tuple[str, ...] = ()
    memory: str | None = None
    threads: int | None = None

    def admit(self, path: object) -> None:
        """Let a path pass that lies in one of the folders, symbolic links followed. Raises AccessError.

        Args:
            path: A string; anything else is a path that is not written out, and does not pass.
        """
        path = path.removeprefix("file://") if isinstance(path, str) else path
        if not self.folders:
            raise AccessError(
                "files are not available here", hint="mindsql serve --allow-folder names folders"
            )
        if not isinstance(path, str) or "\0" in path:
            raise AccessError("the path of a file must be written out as one string")
        real = os.path.realpath(path)
        for folder in map(os.path.realpath, self.folders):
            if real == folder or real.startswith(os.path.join(folder, "")):
                return
        raise AccessError(f'the file "{path}" lies outside the folders that may be read')


def paths_in(value: object, name: str) -> Iterator[object]:
    """The paths of files that an option names: a path, a URL where it is called so, or an object of words and both.

    A URL of a store or a server names none but in what stands after its `?`. Words that are secrets may hold anything.
    """
    if isinstance(value, Mapping):
        for word, inner in value.items():
            if not _SECRET.search(str(word)):
                found = paths_in(inner, "url") if isinstance(inner, str | Mapping) else ()
                yield from (path for path in found if not isinstance(path, str) or _is_path(path))
        return
    scheme, separator, rest = str(value).partition("://")
    if name not in ("uri", "url") or not separator:
        yield value
    elif scheme.casefold() in _FILES:
        yield os.sep + rest.split("?")[0].lstrip("/")
    else:
        yield from (given for _, given in parse_qsl(urlsplit(str(value)).query) if _is_path(given))


def _is_path(word: str) -> bool:
    return os.sep in word or word.startswith(("~", "."))


_FILES = frozenset(["file", "sqlite", "local"])
"""Schemes of URLs that name a file of this machine."""
_SECRET = re.compile(r"secret|token|password|credential|(?:^|[._-])key(?:$|[._-]id)", re.I)
FREE_SETTINGS = ("TimeZone", "Calendar")
"""What a session may still SET in a sandbox."""


def start_options(path: str, sandbox: Sandbox) -> dict[str, Any]:
    """How DuckDB is started for a sandbox."""
    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
    }
    if path != ":memory:":
        # Rows that do not fit into memory go here: nobody else may read them.
        config["temp_directory"] = folder = spill_folder(path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
    else:
        config["temp_directory"] = ""
    if sandbox.memory is not None:
        config["memory_limit"] = sandbox.memory
    if sandbox.threads is not None:
        config["threads"] = sandbox.threads
    return config


def spill_folder(path: str) -> str:
    """Where rows go that do not fit into memory."""
    return os.path.abspath(path) + ".tmp"
