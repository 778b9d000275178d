"""Runs every `.test` file through every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runner import FILES, PLAIN, Embedded, Record, check, read

DOORS = {"embedded": lambda: Embedded(), "plain": lambda: Embedded(PLAIN)}


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
