"""Owns the form of the text tests: how a `.test` file is read, run through a door, and filled in by `--complete`.

A file is a list of records with empty lines between. `#` begins a comment. Every file has a connection of its own.

    statement ok                      it works
    statement error [CODE] [recorded] it fails with that code; after `----` come pieces of the error's text, or
                                      `/regular expressions/`, one a line. Nothing may have changed in the database
                                      (`recorded`: except that a failed training is written down)
    query [types] [names] [rowsort]   its rows follow `----`, cells apart by tabs: NULL is NULL, an empty text is
                                      (empty). Types are a letter a column: I whole, R real, B boolean, T all others.
                                      `names`: the first line holds the columns' names. `rowsort`: the order is free
    explain [analyze]                 the text of its plan follows `----`; only run with all rules on
    parameters JSON                   the parameters of the next record

`<ignore>` stands for any text, `{dir}` for a folder of the file's own. `python -m tests.logic.runner --complete
FILE …` writes what comes out into the file: read the difference before you keep it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import mindsql
from mindsql.errors import MindSQLError
from mindsql.planner import RULES
from mindsql.schema import family, is_integer
from mindsql.settings import Settings

from .engines import ENGINES

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.test"))


@dataclass
class Record:
    """One record of a file: its head, its SQL, and what is expected."""

    file: Path
    line: int
    kind: str
    words: list[str]
    sql: str
    expected: list[str]
    parameters: Any = None
    head: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.file.name}:{self.line}"

    def text(self) -> str:
        """The record as it stands in its file."""
        lines = [*self.head, self.sql.removeprefix(f"EXPLAIN {' '.join(self.words).upper()} ")]
        if self.kind != "statement" or self.expected:
            lines += ["----", *self.expected]
        return "\n".join(lines)


def read(path: Path) -> Iterator[Record | str]:
    """The records of a file, and the comments and empty lines between them as they are."""
    lines = path.read_text(encoding="utf-8").split("\n")
    number = 0
    while number < len(lines):
        if not lines[number].strip() or lines[number].startswith("#"):
            yield lines[number]
            number += 1
            continue
        record = Record(path, number + 1, "", [], "", [])
        while lines[number].startswith("parameters "):
            record.parameters = json.loads(lines[number].removeprefix("parameters "))
            record.head.append(lines[number])
            number += 1
        record.head.append(lines[number])
        record.kind, *record.words = lines[number].split()
        if record.kind not in ("statement", "query", "explain"):
            raise ValueError(f"{path.name}:{number + 1}: unknown record {record.kind}")
        body: list[str] = []
        number += 1
        while number < len(lines) and lines[number].strip():
            body.append(lines[number])
            number += 1
        cut = body.index("----") if "----" in body else len(body)
        record.sql = "\n".join(body[:cut])
        if record.kind == "explain":
            record.sql = f"EXPLAIN {' '.join(record.words).upper()} {record.sql}"
        record.expected = body[cut + 1 :]
        yield record


# Doors --------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came out of a record: rows of text with the columns' names and types, or an error."""

    rows: list[list[str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    error: str | None = None
    code: str = ""


class Door(Protocol):
    """A way to run statements."""

    explains: bool

    def run(self, record: Record) -> Outcome: ...

    def state(self) -> Any: ...

    def close(self) -> None: ...


PLAIN = Settings(without_rules=frozenset(rule.name for rule in RULES), stream=False, lift_constants=False)
"""Nothing optional: every rule off, nothing streams, no plan is shared."""


class Embedded:
    """`mindsql.connect()`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.explains = settings is None
        self.connection = connected(settings)
        self.folder = tempfile.TemporaryDirectory()

    def run(self, record: Record) -> Outcome:
        sql = record.sql.replace("{dir}", self.folder.name)
        try:
            result = self.connection.execute(sql, record.parameters)
            found = result.fetchall() if result.kind != "done" else []
            rows = [[cell(value).replace(self.folder.name, "{dir}") for value in row] for row in found]
            return Outcome(rows, result.columns, result.types)
        except MindSQLError as error:
            return Outcome(error=str(error).replace(self.folder.name, "{dir}"), code=error.code)

    def state(self) -> Any:
        """All tables and views with their rows; None in a transaction, which an error may have ended."""
        self.connection._begin()  # close the last result: what it registered is no part of the database
        session = self.connection._session
        if session.in_transaction:
            return None
        raw = session.raw
        tables = raw.execute(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() UNION ALL "
            "SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        state: dict[str, Any] = {}
        for names in tables:
            name = ".".join('"' + part.replace('"', '""') + '"' for part in names)
            state[name] = raw.execute(f"SELECT count(*), bit_xor(hash(t)) FROM {name} AS t").fetchone()
        # The catalog as the session sees it must be what is in the file.
        assert session.snapshot() == session.catalog.snapshot()
        return state

    def close(self) -> None:
        self.connection.close()
        self.folder.cleanup()


def connected(settings: Settings | None = None, path: str = ":memory:") -> mindsql.Connection:
    """A connection that knows the engines of these tests."""
    connection = mindsql.connect(path, settings=settings)
    for name, cls in ENGINES.items():
        connection.register_engine(name, cls)
    return connection


def cell(value: Any) -> str:
    """A value as text, on one line."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value).replace("\n", "\\n").replace("\t", "\\t")
    return text or "(empty)"


# Checking --------------------------------------------------------------------------------


def check(record: Record, door: Door) -> None:
    """Run a record and compare. Raises AssertionError with `file:line`."""
    if record.kind == "explain" and not door.explains:
        return
    before = door.state() if record.words[:1] == ["error"] else None
    outcome = door.run(record)
    if record.words[:1] == ["error"]:
        _check_error(record, outcome)
        if before is not None and "recorded" not in record.words:
            assert door.state() == before, f"{record.place}: it failed, and yet it changed something"
        return
    assert outcome.error is None, f"{record.place}: {record.sql}\n{outcome.error}"
    if record.kind == "query":
        _check_types(record, outcome)
    if record.kind != "statement":
        wanted, found = record.expected, produced(record, outcome)
        if "rowsort" in record.words:
            fixed = 1 if "names" in record.words else 0
            wanted, found = wanted[:fixed] + sorted(wanted[fixed:]), found[:fixed] + sorted(found[fixed:])
        assert len(wanted) == len(found) and all(map(_fits, wanted, found)), _difference(
            record, wanted, found
        )


def produced(record: Record, outcome: Outcome) -> list[str]:
    """The lines that a record gives."""
    if record.kind == "explain":
        return [line for row in outcome.rows for line in row[-1].split("\\n")]
    lines = ["\t".join(row) for row in outcome.rows]
    return ["\t".join(outcome.names), *lines] if "names" in record.words else lines


def _fits(wanted: str, found: str) -> bool:
    if "<ignore>" not in wanted:
        return wanted == found
    return re.fullmatch(".*".join(map(re.escape, wanted.split("<ignore>"))), found) is not None


def _check_types(record: Record, outcome: Outcome) -> None:
    letters = next((word for word in record.words if re.fullmatch("[IRBT]+", word)), None)
    if letters is None:
        return
    found = "".join(_letter(name) for name in outcome.types)
    assert letters == found, (
        f"{record.place}: the columns have the types {found} ({', '.join(outcome.types)})"
    )


def _letter(type_name: str) -> str:
    if is_integer(type_name):
        return "I"
    return {"number": "R", "boolean": "B"}.get(family(type_name), "T")


def _check_error(record: Record, outcome: Outcome) -> None:
    assert outcome.error is not None, f"{record.place}: this should fail: {record.sql}"
    codes = [word for word in record.words[1:] if word != "recorded"]
    assert not outcome.code or codes in ([], [outcome.code]), (
        f"{record.place}: the code is {outcome.code}\n{outcome.error}"
    )
    for line in record.expected:
        if len(line) > 2 and line.startswith("/") and line.endswith("/"):
            assert re.search(line[1:-1], outcome.error), f"{record.place}: no {line} in\n{outcome.error}"
        else:
            assert line in outcome.error, f"{record.place}: no “{line}” in\n{outcome.error}"
    # What is made inside must not be shown outside.
    assert not re.search(r"__p\d|__native|mindsql_", outcome.error), f"{record.place}:\n{outcome.error}"


def _difference(record: Record, wanted: Sequence[str], found: Sequence[str]) -> str:
    return "\n".join([f"{record.place}: {record.sql}", "expected:", *wanted, "found:", *found])


def complete(path: Path) -> None:
    """Write what comes out into a file."""
    parts: list[str] = []
    door = Embedded()
    for record in read(path):
        if isinstance(record, str):
            parts.append(record)
            continue
        outcome = door.run(record)
        if record.words[:1] == ["error"]:
            if outcome.error is None:
                print(f"{record.place}: this should fail: {record.sql}")
            else:
                words = [word for word in record.words[1:] if word == "recorded"]
                record.head[-1] = " ".join(["statement", "error", outcome.code, *words])
                if not record.expected:
                    record.expected = [
                        line for line in outcome.error.split("\n") if not re.fullmatch(r" *\^+", line)
                    ]
        elif outcome.error is not None:
            print(f"{record.place}: {record.sql}\n{outcome.error}\n")
        elif record.kind != "statement":
            found = produced(record, outcome)
            same = len(found) == len(record.expected) and all(map(_fits, record.expected, found))
            record.expected = record.expected if same else found
        parts.append(record.text())
    door.close()
    path.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--complete"] or len(sys.argv) < 3:
        sys.exit("usage: python -m tests.logic.runner --complete FILE …")
    for argument in sys.argv[2:]:
        complete(Path(argument).resolve())
