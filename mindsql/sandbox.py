"""Owns what a database that is closed to the machine may still reach: folders, memory, threads, settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

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
