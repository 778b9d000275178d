"""Owns where the options of `mindsql serve` come from beside the command line: the environment, and a TOML file.

The command line goes before the environment (`MINDSQL_MAX_ROWS=100`), that before the file (`max-rows = 100`).
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "MINDSQL_"
_CONFIG = "--config"
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}


def parse(parser: argparse.ArgumentParser, arguments: list[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """The options from all places. What is wrong ends the program, as argparse does, and says where it stands."""
    parser.add_argument(_CONFIG, metavar="TOML", help="a file of these options, such as max-rows = 100")
    options = {action.option_strings[-1]: action for action in parser._actions if action.option_strings}
    file = parser.parse_args(arguments).config or environment.get(PREFIX + "CONFIG")
    before: list[str] = []
    if file is not None:
        before += _from_file(parser, options, file)
    before += _from_environment(parser, options, environment)
    given = parser.parse_args([*before, *arguments])
    if given.file == parser.get_default("file") and environment.get(PREFIX + "FILE"):
        given.file = environment[PREFIX + "FILE"]
    return given


def _from_file(parser: argparse.ArgumentParser, options: Mapping[str, argparse.Action], path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            settings = tomllib.load(file)
    except OSError as error:
        parser.error(f"cannot read {path}: {error.strerror}")
    except tomllib.TOMLDecodeError as error:
        parser.error(f"{path} is no TOML: {error}")
    found: list[str] = []
    for key, value in settings.items():
        name = f"--{key.replace('_', '-')}"
        if name not in options or name == _CONFIG:
            known = ", ".join(option.removeprefix("--") for option in options if option not in (_CONFIG, "--help"))
            parser.error(f"{path}: there is no option {key}; there are: {known}")
        found += _arguments(parser, options[name], name, value, f"{path}: {key}")
    return found


def _from_environment(
    parser: argparse.ArgumentParser, options: Mapping[str, argparse.Action], environment: Mapping[str, str]
) -> list[str]:
    found: list[str] = []
    for name, action in options.items():
        key = PREFIX + name.removeprefix("--").replace("-", "_").upper()
        if name in (_CONFIG, "--help") or key not in environment:
            continue
        value: Any = environment[key]
        if isinstance(action, argparse._AppendAction):
            value = [part.strip() for part in value.split(",") if part.strip()]
        found += _arguments(parser, action, name, value, key)
    return found


def _arguments(
    parser: argparse.ArgumentParser, action: argparse.Action, name: str, value: Any, where: str
) -> Iterator[str]:
    """An option as the command line would give it."""
    if action.nargs == 0:
        on = _WORDS.get(str(value).lower())
        if on is None:
            parser.error(f"{where} is true or false, not {value!r}")
        if on:
            yield name
        return
    if isinstance(value, list) != isinstance(action, argparse._AppendAction):
        parser.error(f"{where} takes {'a list' if not isinstance(value, list) else 'one value'}")
    for each in value if isinstance(value, list) else [value]:
        yield f"{name}={each}"
