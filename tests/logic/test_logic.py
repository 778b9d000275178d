"""Runs every `.test` file through every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import cli_door
from .runner import FILES, HERE, PLAIN, Embedded, Record, check, read

DOORS = {"embedded": lambda: Embedded(), "plain": lambda: Embedded(PLAIN)}
BY_COMMAND = [
    *("where", "outputs", "join", "on_mapping", "where_on_inputs", "several_models", "versions", "nested"),
    *("relational", "write", "sources"),
]
"""Files whose statements do the same on the command line; the others read types or plans."""


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path: Path, name: str) -> None:
    door = DOORS[name]()
    failures = []
    try:
        for record in read(path):
            if isinstance(record, Record):
                try:
                    check(record, door)
                except AssertionError as error:
                    failures.append(str(error))
    finally:
        door.close()
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("stem", BY_COMMAND)
def test_command_line(stem: str, tmp_path: Path) -> None:
    failures = list(cli_door.failures(HERE / f"{stem}.test", tmp_path))
    assert not failures, "\n\n".join(failures)
