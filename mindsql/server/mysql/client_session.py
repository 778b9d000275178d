"""Owns what one client has said so far: its variables, current database, transaction; and answers its statements.

Everything here blocks, and runs in a worker thread.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import mindsql_grammar as grammar
from mindsql.database import literal
from mindsql.errors import CatalogError, MindSQLError, UnknownNameError
from mindsql.result import Result
from mindsql.server.mysql import compatibility, information_schema
from mindsql.server.mysql.compatibility import Relation
from mindsql.server.mysql.errors import MySQLError, number
from mindsql.server.mysql.lexer import Token, normalized, tokens
from mindsql.server.mysql.login import Login
from mindsql.server.mysql.variables import BACKSLASH_MODE, Value, Variables
from mindsql.statements import leading_word

if TYPE_CHECKING:
    from mindsql.server.service import RemoteSession

_WRITING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "REPLACE", "TRUNCATE"})
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.I)
_QUESTION_WORDS = frozenset({"SHOW", "DESCRIBE", "DESC", "EXPLAIN"})
_KILL = re.compile(r"KILL\s+(?:HARD\s+|SOFT\s+)?(?:(?P<kind>CONNECTION|QUERY)\s+)?(?P<id>\d+)", re.I)
_BEGIN = re.compile(r"(?:BEGIN|START\s+TRANSACTION)\b(?P<rest>.*)", re.I | re.S)
_TRANSACTION = re.compile(
    r"SET\s+(?:(?P<scope>SESSION|GLOBAL|LOCAL)\s+)?TRANSACTION\s+(?P<what>.+)", re.I | re.S
)
_NAMES = re.compile(
    r"SET\s+(?:NAMES|CHARACTER\s+SET|CHARSET)\s+(?P<name>'\w+'|\"\w+\"|\w+)(?:\s+COLLATE\s+\S+)?", re.I
)
_ASSIGNMENT = re.compile(
    r"(?:(?P<scope>SESSION|LOCAL|GLOBAL|PERSIST|PERSIST_ONLY)\s+"
    r"|@@(?:(?P<dotted>session|local|global|persist|persist_only)\s*\.\s*)?)?"
    r"(?P<name>@?`?[\w.$]+`?)\s*(?::=|=|\sTO\s)\s*(?P<value>.+)",
    re.I | re.S,
)

_NOTE = 1105  # ER_UNKNOWN_ERROR, the number for what has none


class Host(Protocol):
    """The listener, as one of its conversations sees it. Its methods may be called from any thread."""

    def kill(self, number: int, whole: bool, by: RemoteSession) -> None:
        """Stop a connection's statement, or the connection as a whole. Raises MySQLError (1094, 1095)."""

    def processes(self, by: RemoteSession) -> list[tuple[int, str, str, str, str, int, str, str | None]]:
        """The open connections that a client may see, as SHOW PROCESSLIST lists them."""


class ClientSession:
    """The state between a client and its session.

    Attributes:
        session: The service's session: what it executes is checked, limited and audited.
        id: The connection's number.
        home: The database of the open file.
        database: The current database.
        warnings: Of the last statement: (level, number, message).
        affected: The rows that the last statement changed.
    """

    def __init__(self, session: RemoteSession, host: Host, number: int, login: Login) -> None:
        self.session = session
        self.host = host
        self.id = number
        self.user = login.user
        self._login = login
        self.variables = self._fresh()
        self.warnings: list[tuple[str, int, str]] = []
        self.affected = 0
        row = session.connection.execute("SELECT system.main.current_database()").fetchone()
        assert row is not None
        self.home: str = row[0]
        self.database = self.home

    def _fresh(self) -> Variables:
        """The variables of a client that has said nothing yet."""
        variables = Variables()
        variables.set_names(self._login.charset)
        if self._login.escapes_blindly:
            variables.set("sql_mode", BACKSLASH_MODE)
        return variables

    def processes(self) -> list[tuple[int, str, str, str, str, int, str, str | None]]:
        """The open connections."""
        return self.host.processes(self.session)

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own, unless one was begun."""
        return bool(self.variables.get("autocommit"))

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.session.connection.in_transaction

    # Statements -------------------------------------------------------------------------------------------

    def statements(self, text: str) -> list[str]:
        """The statements of a text, in DuckDB's dialect."""
        text = normalized(text, self.variables.backslashes)
        if ";" not in text.rstrip().rstrip(";"):
            return [text] if any(token.significant and token.text != ";" for token in tokens(text)) else []
        return [piece.text for piece in grammar.split(text)]

    def answer(self, text: str, parameters: list[Any] | None = None) -> Result:
        """Run one statement. Raises MindSQLError."""
        self.session.count()
        word = leading_word(text)
        if not (word == "SHOW" and re.search(r"\b(?:WARNINGS|ERRORS)\b", text, re.I)):
            self.warnings = []
        try:
            result = self._answer(word, text, parameters)
        except MindSQLError as error:
            self.affected = -1
            self.warnings = [("Error", number(error)[0], error.message)]
            raise
        self.affected = max(result.rowcount, 0)
        self.warnings += [("Note", _NOTE, note) for note in result.notes]
        return result

    def _answer(self, word: str, text: str, parameters: list[Any] | None) -> Result:
        if word == "SET":
            done = self._set(_bare(text))
            if done is not None:
                return done
        elif word == "USE":
            return self.use(_bare(text)[3:].strip())
        elif word == "KILL":
            return self._kill(_bare(text))
        elif word in ("BEGIN", "START"):
            return self._begin(_bare(text))
        elif word in ("COMMIT", "ROLLBACK", "END", "ABORT"):
            return self._end(word, _bare(text))
        elif word in _QUESTION_WORDS:
            question = compatibility.question(text, self)
            if question is not None:
                return self.session.execute(question, parameters)
        elif word == "SELECT" and (preview := compatibility.preview(text, self)) is not None:
            self.warnings.append(("Note", _NOTE, "a model has no rows of its own: ask it by WHERE, or JOIN a table"))
            return self.session.execute(preview, parameters)
        text = compatibility.rewritten(text, self)
        if not self.autocommit and not self.in_transaction and self._opens(word, text):
            self.session.execute("BEGIN TRANSACTION")
        return self.session.execute(text, parameters)

    def _opens(self, word: str, text: str) -> bool:
        """Whether a statement begins a transaction when autocommit is off.

        A reading one does not, unless reads are to be repeatable: it would hold on to a snapshot for as long as the
        client is idle. Nor does one that makes or drops something: in MySQL that commits by itself.
        """
        if word in _WRITING or (word == "WITH" and _WRITES.search(text) is not None):
            return True
        reading = word in ("SELECT", "WITH", "FROM", "VALUES", "TABLE")
        return reading and self.variables.get("transaction_isolation") == "REPEATABLE-READ"

    # Transactions -----------------------------------------------------------------------------------------

    def _begin(self, text: str) -> Result:
        found = _BEGIN.fullmatch(text)
        rest = found["rest"].upper() if found is not None else ""
        if self.in_transaction:
            self.session.execute("COMMIT")  # as MySQL does
        read_only = "READ ONLY" in rest or self.variables.get("transaction_read_only")
        return self.session.execute("BEGIN TRANSACTION" + (" READ ONLY" if read_only else ""))

    def _end(self, word: str, text: str) -> Result:
        if re.search(r"\bTO\b", text, re.I):
            raise MySQLError("there are no savepoints", 1235, "42000", hint="ROLLBACK undoes the transaction")
        result = Result.of(kind="done")
        if self.in_transaction:
            result = self.session.execute("COMMIT" if word in ("COMMIT", "END") else "ROLLBACK")
        if re.search(r"\bAND\s+CHAIN\b", text, re.I) and not re.search(r"\bNO\s+CHAIN\b", text, re.I):
            return self.session.execute("BEGIN TRANSACTION")
        return result

    def reset(self) -> None:
        """Forget what was said: the transaction is rolled back, variables get their defaults."""
        if self.in_transaction:
            self.session.execute("ROLLBACK")
        self.variables = self._fresh()
        self.warnings = []

    # USE, SET, KILL ---------------------------------------------------------------------------------------

    def use(self, name: str) -> Result:
        """Make a project, a database or a schema the current one. Raises MySQLError (1049)."""
        plain = compatibility.unquoted(name)
        if plain.lower() == "information_schema":
            self.database = plain.lower()
            return Result.of(kind="done")
        try:
            result = self.session.execute(f"USE {grammar.quote_name(plain.split('.'))}")
        except (UnknownNameError, CatalogError) as error:
            raise MySQLError(
                f'unknown database "{plain}"', 1049, "42000", hint="SHOW DATABASES lists them"
            ) from error
        self.database = plain
        return result

    def has_model(self, name: str) -> bool:
        """Whether a model of any project has that name."""
        return any(model.name.lower() == name.lower() for model in self.session.connection.snapshot().models)

    def relation(self, database: str | None, name: str) -> Relation | None:
        """A table, view or model of the current database, or of another. Of several, the one a query would mean."""
        connection = self.session.connection
        places = [database] if database is not None else [self.database, self.home, connection.project]
        query = (
            f'SELECT "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE" FROM ({information_schema.PLAIN_TABLES}) '
            f'WHERE lower("TABLE_NAME") = lower({literal(name)})'
        )
        found = [Relation(*row) for row in connection.execute(query).fetchall()]
        snapshot = connection.snapshot()
        found += [Relation(m.project, m.name, "MODEL") for m in snapshot.models]
        found += [Relation(v.project, v.name, "VIEW") for v in snapshot.views]
        for place in places:
            for each in found:
                if (each.database.lower(), each.name.lower()) == (place.lower(), name.lower()):
                    return each
        return None

    def _kill(self, text: str) -> Result:
        found = _KILL.fullmatch(text)
        if found is None:
            raise MySQLError("KILL takes the number of a connection", 1064, "42000", hint="SHOW PROCESSLIST")
        self.host.kill(int(found["id"]), (found["kind"] or "").upper() != "QUERY", self.session)
        return Result.of(kind="done")

    def _set(self, text: str) -> Result | None:
        """SET of MySQL's variables; None when it is not MySQL's."""
        found = _NAMES.fullmatch(text)
        if found is not None:
            name = found["name"].strip("'\"")
            self.variables.set_names("utf8mb4" if name.upper() == "DEFAULT" else name)
            return Result.of(kind="done")
        found = _TRANSACTION.fullmatch(text)
        if found is not None:
            return self._set_transaction(found["what"])
        parts = _split(text[3:])
        matches = [_ASSIGNMENT.fullmatch(part.strip()) for part in parts]
        first = matches[0]
        if first is None or not (
            first["name"].startswith("@") or "@@" in parts[0] or Variables.knows(first["name"].strip("`"))
        ):
            return None
        for part, match in zip(parts, matches, strict=True):
            if match is None:
                raise MySQLError(f"SET takes name = value, not {part.strip()}", 1064, "42000")
            self._assign(match)
        return Result.of(kind="done")

    def _assign(self, found: re.Match[str]) -> None:
        name = found["name"].strip("`")
        if (found["scope"] or found["dotted"] or "").upper() in ("GLOBAL", "PERSIST", "PERSIST_ONLY"):
            raise MySQLError(
                f'"{name}" can be set for a session only', 1227, "42000", hint=f"SET SESSION {name} = …"
            )
        value = self._value(found["value"])
        if name.startswith("@"):
            self.variables.user[name[1:].lower()] = value
            return
        warning = self.variables.set(name, value)
        if warning is not None:
            self.warnings.append(("Warning", 1235, warning))
        if name.lower() == "autocommit" and self.autocommit and self.in_transaction:
            self.session.execute("COMMIT")

    def _value(self, text: str) -> Value:
        """What stands to the right of an assignment."""
        if text.upper() == "DEFAULT":
            return None
        if re.fullmatch(r"[A-Za-z_][\w-]*", text):
            return text
        if re.fullmatch(r"@\w+", text):
            return self.variables.user.get(text[1:].lower())
        row = self.session.execute(f"SELECT {compatibility.rewritten('SELECT ' + text, self)[7:]}").fetchone()
        assert row is not None
        found = row[0]
        return found if found is None or isinstance(found, (str, bool, int)) else str(found)

    def _set_transaction(self, what: str) -> Result:
        for part in what.split(","):
            words = " ".join(part.upper().split())
            if words.startswith("ISOLATION LEVEL "):
                self.variables.set("transaction_isolation", words.removeprefix("ISOLATION LEVEL "))
            elif words in ("READ ONLY", "READ WRITE"):
                self.variables.set("transaction_read_only", words == "READ ONLY")
            else:
                raise MySQLError(f"SET TRANSACTION does not know {part.strip()}", 1064, "42000")
        return Result.of(kind="done")


def _bare(text: str) -> str:
    """A statement without comments and its semicolon."""
    return (
        "".join(" " if token.kind == "comment" else token.text for token in tokens(text)).strip().rstrip("; ")
    )


def _split(text: str) -> list[str]:
    """The parts of a text between commas outside of parentheses and strings."""
    parts, depth = [""], 0
    for token in tokens(text):
        if token.kind == "other":
            depth += (token.text in "([{") - (token.text in ")]}")
        if token == Token("other", ",") and depth == 0:
            parts.append("")
        else:
            parts[-1] += token.text
    return parts
