"""Owns `mindsql engine`: the Python environments of engines made, listed and removed, by the owner of this machine."""

from __future__ import annotations

import argparse
import sys

from mindsql.errors import EngineError, UnknownNameError
from mindsql.isolation import environments
from mindsql.registry import Registry

_EPILOG = """\
examples:
  mindsql engine list                      which engines have an environment, and which are installed
  mindsql engine install ludwig            make the environment of the engine ludwig
  mindsql engine install ludwig --python /opt/python3.12/bin/python3
  mindsql engine remove ludwig             remove it

Environments lie below MINDSQL_HOME (~/.mindsql), made by uv where there is one, else by venv and pip. CREATE ML_ENGINE
makes the one that it needs, too.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mindsql engine",
        description="The Python environments of engines whose libraries cannot live beside the database's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="install | list | remove")
    install = actions.add_parser("install", help="make the environment of an engine", allow_abbrev=False)
    actions.add_parser("list", help="show the environments", allow_abbrev=False)
    remove = actions.add_parser("remove", help="remove the environments of an engine", allow_abbrev=False)
    for action in (install, remove):
        action.add_argument("name", metavar="ENGINE", help="a handler, as SHOW HANDLERS names it")
    install.add_argument("--python", metavar="PATH", help="the interpreter to make it with")
    return parser


def main(arguments: list[str]) -> int:
    """Run `mindsql engine` and give its exit status."""
    given = _parser().parse_args(arguments)
    if given.action == "install":
        _install(given.name, given.python)
    elif given.action == "remove":
        _remove(given.name)
    else:
        _list()
    return 0


def _install(name: str, python: str | None) -> None:
    recipe = Registry().handler_class(name).environment
    if recipe is None:
        raise EngineError(f'the engine "{name}" runs in the database\'s own environment', hint="there is nothing to do")
    made = environments.install(
        recipe, name, lambda step: print(f"{step} …", file=sys.stderr, flush=True), interpreter=python
    )
    print(made.folder)


def _remove(name: str) -> None:
    found = [one for one in environments.installed() if one.name.casefold() == name.casefold()]
    if not found:
        raise UnknownNameError.of("environment", name, {one.name for one in environments.installed()})
    for one in found:
        environments.remove(one)
        print(one.folder)


def _list() -> None:
    registry = Registry()
    for handler in registry:
        cls, _ = registry.attempt(handler.name)
        if cls is None or cls.environment is None:
            continue
        made = environments.find(cls.environment)
        what = "ready" if made is not None else f"to be installed: mindsql engine install {handler.name}"
        print(f"{handler.name}\t{what}")
    for one in environments.installed():
        print(f"{one.name}\tPython {one.version}\t{one.size >> 20} MB\t{one.folder}")
