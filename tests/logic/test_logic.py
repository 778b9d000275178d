"""Runs every `.test` file through every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindsql.planner import RULES
from mindsql.settings import Settings

from . import cli_door
from .runner import FILES, HERE, PLAIN, Embedded, Record, check, read

DOORS: dict[str, Settings | None] = {
    "embedded": None,
    "plain": PLAIN,
    "kept": Settings(stream=False),
    "planned apart": Settings(lift_constants=False),
    **{f"without {rule.name}": Settings(without_rules=frozenset({rule.name})) for rule in RULES},
}
"""With everything on, with nothing optional, and with each fast path off."""
_NOT_OF_PLANS = {
    *("errors", "outputs", "passthrough", "show_describe", "sources", "transactions", "types", "versions"),
}
"""Files that say little of plans, and take most of the time: run with everything on, and with nothing optional."""
_RUNS = [
    pytest.param(path, name, id=f"{path.stem}-{name}")
    for path in FILES
    for name in (list(DOORS)[:2] if path.stem in _NOT_OF_PLANS else DOORS)
]
BY_COMMAND = [
    *("where", "outputs", "join", "on_mapping", "where_on_inputs", "several_models", "versions", "nested"),
    *("relational", "write", "sources"),
]
"""Files whose statements do the same on the command line; the others read types or plans."""


@pytest.mark.parametrize(("path", "name"), _RUNS)
def test_file(path: Path, name: str) -> None:
    door = Embedded(DOORS[name])
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
