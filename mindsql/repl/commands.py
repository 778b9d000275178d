"""Owns the dot-commands of the prompt: a small registry of functions, from which `.help` is written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mindsql.errors import StatementError, UnknownNameError
from mindsql.formats import FORMATS

if TYPE_CHECKING:
    from mindsql.repl import Repl

_ON_OFF = {"on": True, "off": False}


class Quit(Exception):
    """The user wants to leave."""


@dataclass(frozen=True)
class Command:
    """A dot-command: how it is called, what it does, and the function that gets the rest of the line."""

    usage: str
    help: str
    run: Callable[[Repl, str], None]


COMMANDS: dict[str, Command] = {}


def command(usage: str, help: str) -> Callable[[Callable[[Repl, str], None]], Callable[[Repl, str], None]]:
    """Register a function as the dot-command that `usage` begins with."""

    def register(run: Callable[[Repl, str], None]) -> Callable[[Repl, str], None]:
        COMMANDS[usage.split()[0]] = Command(usage, help, run)
        return run

    return register


def dispatch(repl: Repl, line: str) -> None:
    """Run a line that begins with a dot."""
    name, _, rest = line.strip().rstrip(";").partition(" ")
    found = COMMANDS.get(name.lower())
    if found is None:
        raise UnknownNameError.of("command", name, COMMANDS, hint=_near(name))
    found.run(repl, rest.strip())


def _near(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return (f"did you mean {near[0]}? " if near else "") + ".help lists the commands"


@command(".help [STATEMENT]", "show this list, or what a statement looks like")
def _help(repl: Repl, rest: str) -> None:
    if rest:
        import mindsql_grammar as grammar

        section = grammar.section(rest.removesuffix(";"))
        if section is None:
            raise UnknownNameError.of("statement", rest, grammar.sections())
        repl.say(f"{section[0]}\n\n{section[1]}")
        return
    width = max(len(found.usage) for found in COMMANDS.values())
    for found in COMMANDS.values():
        repl.say(f"{found.usage:<{width}}  {found.help}")
    repl.say("\nStatements end with a semicolon. Tab completes, Ctrl-C stops a statement, Ctrl-D leaves.")


@command(".tables [PATTERN]", "list tables and views; the pattern is as in LIKE")
def _tables(repl: Repl, rest: str) -> None:
    repl.show(f"""
        SELECT schema_name AS "schema", name, kind, columns, "rows" FROM (
            SELECT database_name, schema_name, table_name AS name, 'table' AS kind, column_count AS columns,
                   estimated_size AS "rows"
            FROM system.main.duckdb_tables() WHERE NOT internal
            UNION ALL
            SELECT database_name, schema_name, view_name, 'view', column_count, NULL
            FROM system.main.duckdb_views() WHERE NOT internal)
        WHERE schema_name <> 'mindsql' AND name ILIKE {_literal(rest or "%")} ORDER BY 1, 2""")


@command(".models [PATTERN]", "list models; the pattern is as in LIKE")
def _models(repl: Repl, rest: str) -> None:
    repl.show(f"""
        SELECT name, project, version, status, predict, accuracy, engine, created_at
        FROM information_schema.models WHERE name ILIKE {_literal(rest or "%")} ORDER BY project, name""")


@command(".schema [NAME]", "show how tables and views were made, and what models take and give")
def _schema(repl: Repl, rest: str) -> None:
    made = repl.query("""
        SELECT name, sql FROM (
            SELECT schema_name, table_name AS name, sql FROM system.main.duckdb_tables() WHERE NOT internal
            UNION ALL SELECT schema_name, view_name, sql FROM system.main.duckdb_views() WHERE NOT internal)
        WHERE schema_name <> 'mindsql' ORDER BY name""")
    shown = [(name, str(sql).rstrip()) for name, sql in made]
    models: dict[str, dict[str, list[str]]] = {}
    columns = "SELECT model, role, name, type FROM information_schema.model_columns"
    for model, role, name, kind in repl.query(columns):
        # Versions of a model mostly have the same columns; each is told once.
        lines = models.setdefault(model, {"input": [], "output": []})[role]
        if (line := f"    {role:<6}  {name} {kind}") not in lines:
            lines.append(line)
    for model, roles in models.items():
        lines = [*roles["input"], *roles["output"]]
        shown.append((model, f"MODEL {model} (\n" + "\n".join(lines) + "\n);"))
    wanted = [text for name, text in shown if not rest or name.casefold() == rest.strip('"').casefold()]
    if rest and not wanted:
        raise UnknownNameError.of("table, view or model", rest, (name for name, _ in shown))
    for text in wanted:
        repl.say(text)


@command(".mode [FORMAT]", "set the output format: " + ", ".join(FORMATS))
def _mode(repl: Repl, rest: str) -> None:
    if not rest:
        repl.say(f"mode: {repl.settings.format}")
    elif rest in FORMATS:
        repl.settings.format = rest
    else:
        raise UnknownNameError.of("format", rest, FORMATS)


@command(".timer [on|off]", "show how long each statement takes")
def _timer(repl: Repl, rest: str) -> None:
    repl.settings.timer = _switch(repl, "timer", rest, repl.settings.timer)


@command(".bail [on|off]", "stop .read at the first error")
def _bail(repl: Repl, rest: str) -> None:
    repl.settings.bail = _switch(repl, "bail", rest, repl.settings.bail)


@command(".read FILE", "run the statements in a file")
def _read(repl: Repl, rest: str) -> None:
    path = _path(rest, ".read")
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        raise StatementError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    repl.runner.run(text, path)


@command(".output [FILE]", "write answers to a file; without FILE, to the screen again")
def _output(repl: Repl, rest: str) -> None:
    path = _path(rest, ".output") if rest else None
    try:
        repl.output(path)
    except OSError as error:
        raise StatementError(f"cannot write {path}: {error.strerror or error}") from error


@command(".explain SQL", "show how a query would be run")
def _explain(repl: Repl, rest: str) -> None:
    if not rest:
        raise StatementError(".explain needs a query", hint=".explain SELECT …")
    repl.explain(rest)


@command(".quit", "leave (so does Ctrl-D)")
def _quit(repl: Repl, rest: str) -> None:
    raise Quit


COMMANDS[".exit"] = Command(".exit", "leave", _quit)


PLAIN_WORDS = {
    "quit": ".quit", "exit": ".quit", "\\q": ".quit", "help": ".help", "?": ".help", "\\?": ".help", "\\h": ".help",
    "\\d": ".tables", "\\dt": ".tables",
}  # fmt: skip
"""What users of other prompts type, and the command that it means."""


def _switch(repl: Repl, name: str, rest: str, now: bool) -> bool:
    if not rest:
        repl.say(f"{name}: {'on' if now else 'off'}")
        return now
    if rest.lower() not in _ON_OFF:
        raise StatementError(f'.{name} takes on or off, not "{rest}"')
    return _ON_OFF[rest.lower()]


def _path(rest: str, name: str) -> str:
    try:
        parts = shlex.split(rest)
    except ValueError as error:
        raise StatementError(f"{name}: {error}") from error
    if len(parts) != 1:
        raise StatementError(f"{name} needs one file name", hint="put a name with spaces in quotes")
    return os.path.expanduser(parts[0])


def _literal(text: str) -> str:
    return "'" + text.strip("'").replace("'", "''") + "'"
