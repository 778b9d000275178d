"""The documentation runs, and names everything there is: hooks, options, error codes, settings, flags, commands."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mindsql
from mindsql import cli, errors
from mindsql.connection import Connection
from mindsql.engine import ANY_OPTION, BaseMLEngine, Capabilities, Engine, Option, Summary
from mindsql.errors import MindSQLError
from mindsql.formats import FORMATS
from mindsql.registry import Registry
from mindsql.repl.commands import COMMANDS
from mindsql.secrets import KEY_VARIABLE
from mindsql.settings import Settings
from mindsql.testing import CHECKS

ROOT = Path(__file__).resolve().parent.parent
README, ENGINES, TESTS = (
    (ROOT / path).read_text(encoding="utf-8")
    for path in ("README.md", "engines/README.md", "tests/README.md")
)


class Block(NamedTuple):
    """A fenced block: only those marked `sql` or `python` run; `console` and `text` do not."""

    line: int
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(text.count("\n", 0, match.start(2)), match[1], match[2]) for match in found]


# Running ------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.chdir(tmp_path)
    with mindsql.connect() as connection:
        yield connection


@pytest.mark.parametrize("name", ["README.md", "engines/README.md"])
def test_the_examples_run(name: str, session: Connection) -> None:
    """One page's SQL shares a connection, its Python a namespace, each in the order of the page."""
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks((ROOT / name).read_text(encoding="utf-8")):
        if block.language == "sql":
            try:
                session.execute(block.text).fetchall()
            except MindSQLError as error:
                pytest.fail(f"{name}, the block at line {block.line}: {error}")
        elif block.language == "python":
            # As many empty lines before it as the page has, for the line numbers in a traceback.
            exec(compile("\n" * block.line + block.text, name, "exec"), namespace)
    for value in namespace.values():
        if isinstance(value, Connection):
            value.close()


def test_the_readme_shows_each_way_in() -> None:
    languages = [block.language for block in blocks(README)]
    assert {"sql", "python", "console"} <= set(languages)
    assert "" not in languages, "a block without a language: say sql, python, console or text"


def test_the_readme_engine_is_short() -> None:
    (engine,) = (block for block in blocks(README) if "mindsql.Engine)" in block.text)
    (cls,) = re.findall(r"^class .*?(?=^\S)", engine.text, re.DOTALL | re.MULTILINE)
    assert len([line for line in cls.splitlines() if line.strip()]) <= 30


def test_ci_runs_the_command_of_the_readme() -> None:
    (command,) = (line for block in blocks(README) if block.language == "console" for line in block.text.splitlines()
                  if "pytest" in line)  # fmt: skip
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "engines" / "README.md", ROOT / "grammar" / "README.md",
                 ROOT / "tests" / "README.md", *(ROOT / ".github" / "decisions").glob("*.md")]:  # fmt: skip
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (path.parent / target).exists(), f"{path.name}: {target}"


# Naming -------------------------------------------------------------------------------------------------------


def public(cls: type[Any]) -> list[str]:
    """The names that a class itself defines or declares."""
    return sorted(name for name in {**vars(cls), **inspect.get_annotations(cls)} if not name.startswith("_"))


def missing(names: list[str], text: str) -> list[str]:
    """The names that a page has nowhere in back quotes."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    quoted = " ".join([*re.findall(r"`([^`]+)`", prose), *(block.text for block in blocks(text))])
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", quoted)]


def test_hooks_are_documented() -> None:
    assert missing(public(Engine), ENGINES) == []
    assert missing(sorted(set(public(BaseMLEngine))), ENGINES) == []
    for cls in (Capabilities, Summary, Option):
        assert missing([field.name for field in dataclasses.fields(cls)], ENGINES) == [], cls


def test_options_of_handlers_are_documented() -> None:
    for handler in Registry():
        cls = Registry().handler_class(handler.name)
        section = re.search(rf"^## [^\n]*`{handler.name}`[^\n]*$(.*?)(?=^## |\Z)", ENGINES, re.DOTALL | re.MULTILINE)
        assert section is not None, f"engines/README.md has no section on {handler.name}"
        options = (*cls.options, *cls.engine_options, *cls.predict_options)
        names = [option.name for option in options if option != ANY_OPTION]
        assert missing(names, section[1]) == [], handler.name


def test_error_codes_are_documented() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, MindSQLError)
    ]
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\| (\d+) \|$", README, re.MULTILINE))
    assert rows == {cls.code: str(cls.exit_status) for cls in classes if cls is not MindSQLError}


def test_settings_flags_and_formats_are_documented() -> None:
    assert missing([field.name for field in dataclasses.fields(Settings)], README) == []
    flags = [
        flag
        for action in cli._parser()._actions
        for flag in action.option_strings
        if flag not in ("-h", "--help")
    ]
    assert missing(flags, README) == []
    assert missing(list(FORMATS), README) == []
    assert missing(list(COMMANDS), README) == []
    assert missing([KEY_VARIABLE], README) == []


def test_the_commands_in_the_readme_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    started = [line.split()[0] for block in blocks(README) if block.language == "console"
               for line in block.text.splitlines()]  # fmt: skip
    assert set(started) <= {*scripts, "python", "pip", "curl", "mariadb"}
    the_map = README[README.index("## The map") :].split("\n## ")[0]
    for folder in re.findall(r"^\| `([a-z_./]+)` \|", the_map, re.MULTILINE):
        assert (ROOT / folder).exists(), f"the map names {folder}"


def test_the_suite_is_described() -> None:
    assert missing([check.name for check in CHECKS], TESTS) == []
    folders = [
        path.name + "/" for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"
    ]
    files = [path.name for path in (ROOT / "tests").glob("test_*.py")]
    assert missing(sorted(folders + files), TESTS) == []
