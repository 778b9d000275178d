"""Owns what a remote statement may do: the roles, and the check that every statement of every door passes
first; `plans` looks once more, at what DuckDB makes of it.

DuckDB itself refuses files, extensions and settings (`mindsql.database.Sandbox`). This module refuses what DuckDB has
no rule for: statements above a role, the catalog's own tables, and functions that reach past the query they stand in.
What a statement does is told by parsers, DuckDB's and ours, never by its first word; where the two could read a text
differently, both readings must pass.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql import database
from mindsql.binder.tree import generate
from mindsql.catalog import SCHEMA, TABLES
from mindsql.database import Database, LexedToken
from mindsql.errors import AccessError, MindSQLError, TooLargeError
from mindsql.sandbox import FREE_SETTINGS, Sandbox
from mindsql.server import functions, plans
from mindsql.server.principal import Principal, Role
from mindsql.statements import is_verb, leading_word

if TYPE_CHECKING:
    from mindsql.connection import Connection
    from mindsql.session import Session


class Needs(NamedTuple):
    """What a text needs.

    Attributes:
        role: The role that may run it.
        stays: Whether it leaves something in its session: a setting, a transaction, a prepared statement.
    """

    role: Role
    stays: bool


_LONG, _MOST = 10_000, 2_000
_MOST_STATEMENTS = 10_000
_KEPT: WeakKeyDictionary[Database, dict[tuple[str, int], Needs]] = WeakKeyDictionary()

_KINDS = {
    "SELECT": Role.READ,
    "EXPLAIN": Role.READ,
    "MULTI": Role.READ,
    "PREPARE": Role.READ,
    "EXECUTE": Role.READ,
    "TRANSACTION": Role.READ,
    "SET": Role.READ,
    "PRAGMA": Role.READ,
    "CALL": Role.READ,
    "INSERT": Role.WRITE,
    "UPDATE": Role.WRITE,
    "DELETE": Role.WRITE,
    "MERGE_INTO": Role.WRITE,
    "CREATE": Role.WRITE,
    "DROP": Role.WRITE,
    "ALTER": Role.WRITE,
    "COPY": Role.WRITE,
    "VACUUM": Role.WRITE,
}
"""DuckDB's statements; what is not listed (ATTACH, LOAD, EXPORT, …) nobody may run through a server."""

_STATEMENTS: dict[type[grammar.Statement], Role] = {
    grammar.Query: Role.READ,
    grammar.Show: Role.READ,
    grammar.Describe: Role.READ,
    grammar.DuckDB: Role.READ,  # DuckDB's own kind tells
    grammar.Explain: Role.READ,  # so does the statement in it
    grammar.Use: Role.READ,
    grammar.Evaluate: Role.PREDICT,
    grammar.CreateModel: Role.WRITE,
    grammar.Retrain: Role.WRITE,
    grammar.Finetune: Role.WRITE,
    grammar.SetActive: Role.WRITE,
    grammar.SetExecutor: Role.ADMIN,
    grammar.CreateView: Role.WRITE,
    grammar.CreateProject: Role.WRITE,
    grammar.Drop: Role.WRITE,
    grammar.CreateEngine: Role.ADMIN,
    grammar.CreateDatabase: Role.ADMIN,
}
_PASSING = frozenset({"SELECT", "EXPLAIN", "INSERT", "UPDATE", "DELETE", "MERGE_INTO"})
_PASSING_OURS = (grammar.Query, grammar.Show, grammar.Describe, grammar.Explain, grammar.Evaluate)
"""What leaves nothing behind in its session."""
_ADMIN_DROPS = frozenset({"ml_engine", "database"})

_CHANGING = frozenset({"insert", "update", "delete", "merge", "truncate", "copy"})
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"})
_CHANGING_TREES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.Command,
)
_READING_TREES = (exp.Query, exp.Values, exp.Condition, exp.Describe, exp.Summarize)
_QUERYING = frozenset(
    {"SELECT", "WITH", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT", "DESCRIBE", "SUMMARIZE"}
)
_PRAGMAS = functions.names(
    "collations functions platform show show_databases show_tables show_tables_expanded "
    "table_info user_agent version"
)
_ADMIN_PRAGMAS = functions.names("database_list database_size")
"""They tell where on the machine things lie."""
_SECRET = re.compile(r"(?:create|drop) (?:(?:or|replace|persistent|temporary|temp|if|not|exists) )*secret\b")
_CATALOG_SCHEMA = re.compile(
    rf"(?:create|drop|alter) (?:(?:or|replace|if|not|exists) )*schema .*\b{SCHEMA}\b"
)
_OWN_TABLES = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(TABLES))})(?!\w)")


def enter(connection: Connection, principal: Principal) -> None:
    """Make a connection that of a principal: below PREDICT its queries cannot name models, wherever they stand."""
    session = connection._session
    writes = principal.role >= Role.WRITE
    inspector = session.settings.inspect  # of a connection that was used before: it remembers what it has seen
    if not isinstance(inspector, plans.Inspector) or inspector.writes != writes:
        inspector = plans.Inspector(session, writes)
    session.settings = replace(session.settings, models=principal.role >= Role.PREDICT, inspect=inspector)


def check(
    connection: Connection, text: str, principal: Principal, on_time: Callable[[], None] = lambda: None
) -> Needs:
    """What a text needs; refuse one that this principal, or anybody at a distance, must not run.

    `on_time` is called between its statements, and may raise.

    A text that no parser can read passes: it cannot run either, and the error of running it says where it is wrong.

    Raises:
        AccessError: It may not.
        StatementError: It is no text that could be read at all.
    """
    session = connection._session
    found = []
    for piece in _pieces(text):
        on_time()
        found.append(_kept(session, piece))
    needed = max((each.role for each in found), default=Role.READ)
    if needed > principal.role:
        raise AccessError(
            f"the role {principal.role.name.lower()} may not do this",
            hint=f"it needs a token with the role {needed.name.lower()}",
        )
    return Needs(needed, any(each.stays for each in found))


def _pieces(text: str) -> list[str]:
    """The statements as `Connection.execute` cuts them."""
    if ";" not in text.rstrip().rstrip(";"):
        return [text]
    if text.count(";") > _MOST_STATEMENTS and grammar.has_more_than(text, _MOST_STATEMENTS):
        raise TooLargeError(
            f"the text holds more than {_MOST_STATEMENTS} statements", hint="send it in parts, or rows as parameters"
        )
    return [piece.text for piece in grammar.split(text)]


def _kept(session: Session, text: str) -> Needs:
    """As `_needs`, remembered while the catalog stays what it is: in a transaction, nothing is."""
    if session.in_transaction or len(text) > _LONG:
        return _needs(session, text)
    kept = _KEPT.setdefault(session.database, {})
    key = text, session.database.catalog_version
    needs = kept.get(key)
    if needs is None:
        needs = _needs(session, text)
        if len(kept) >= _MOST:
            kept.clear()
        kept[key] = needs
    return needs


def _needs(session: Session, text: str) -> Needs:
    """What one statement needs. Raises AccessError when nobody may run it."""
    tokens = _read(session, text)
    try:
        kinds: list[tuple[str, str]] | None = database.statement_kinds(session.raw, text)
    except MindSQLError:
        kinds = None
    except ValueError:
        raise _refused("this statement") from None
    for _, piece in kinds or ():
        if piece != text:
            _read(session, piece)  # what DuckDB has made of the text, and will run
    ours = _ours(session, text, unread=kinds is None)
    roles = [_role_of_ours(session, statement) for statement in ours]
    if not any(isinstance(statement, grammar.Use) for statement in ours):
        roles += [_role_of(session, kind, piece) for kind, piece in kinds or ()]
    elif re.search(rf"\.\W*{SCHEMA}\b", "".join(token.word for token in tokens)):
        raise _own()  # the project of that name is no schema, but `file.mindsql` is
    if any(name in functions.CHANGING for name, _ in functions.calls(tokens)):
        roles.append(Role.WRITE)
    if functions.tells_places(tokens):
        roles.append(Role.ADMIN)
    passes = {kind for kind, _ in kinds or ()} <= _PASSING and all(
        type(each) in _PASSING_OURS for each in ours
    )
    return Needs(max(roles, default=Role.READ), not passes)


def _read(session: Session, text: str) -> list[LexedToken]:
    """The tokens of a text that names nothing it must not. Raises AccessError, StatementError."""
    if _OWN_TABLES.search(unicodedata.normalize("NFKC", text).casefold()):
        raise _own()
    tokens = database.tokens(text)
    for token in tokens:
        if token.kind == "string_const":
            if _OWN_TABLES.search(unicodedata.normalize("NFKC", grammar.string_value(token.text)).casefold()):
                raise _own()  # a string may name a table, and an escape hide the name
        elif not token.text.startswith('"') and any(map(_is_blank, token.text)):
            raise AccessError(
                "the statement holds a character that cannot be seen, outside of strings and quoted names",
                hint="write a plain space",
                span=(token.start, token.start + len(token.text)),
                text=text,
            )
    functions.check(session.raw, tokens, _sandbox(session))
    return tokens


def _is_blank(character: str) -> bool:
    """Whether one lexer may take a character for a part of a name, and another for a space or for nothing."""
    return character > "\x7f" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Zs")


def _sandbox(session: Session) -> Sandbox:
    return session.database.sandbox or Sandbox()


def _own() -> AccessError:
    return AccessError(
        f"the catalog's own tables (schema {SCHEMA}) are not available through a server",
        hint="SHOW MODELS, or SELECT * FROM information_schema.models",
    )


def _refused(what: str) -> AccessError:
    return AccessError(f"{what} is not available through a server")


# Ours -----------------------------------------------------------------------------------------------------


def _ours(session: Session, text: str, unread: bool) -> list[grammar.Statement]:
    """The statements as our grammar reads them; none when only DuckDB would."""
    if not (unread or is_verb(text, leading_word(text)) or session.names_ours(text)):
        return []
    try:
        return list(grammar.parse(text))
    except grammar.ParseError:
        return []


def _role_of_ours(session: Session, statement: grammar.Statement) -> Role:
    """The role that a statement of our grammar needs. Raises AccessError."""
    role = _STATEMENTS.get(type(statement))
    if role is None:
        raise _refused("this statement")
    for value in _values(statement):
        if isinstance(value, grammar.Env):
            role = max(role, Role.ADMIN)  # it could be sent to where the model lies
        elif isinstance(value, grammar.Native):
            role = max(role, _role_of_native(session, value))
        elif isinstance(value, exp.Expr):
            role = max(role, _role_of_tree(session, value))
        elif isinstance(value, grammar.Statement):
            role = max(role, _STATEMENTS.get(type(value), Role.ADMIN))
            if isinstance(value, grammar.Drop) and value.kind in _ADMIN_DROPS:
                role = max(role, Role.ADMIN)
    return role


def _role_of_tree(session: Session, tree: exp.Expr) -> Role:
    """What our parser makes of a text is written in DuckDB's words, and read as DuckDB will read it."""
    _read(session, generate(tree))
    if tree.find(exp.Copy):
        raise _refused("COPY TO")
    reads = isinstance(tree, _READING_TREES) and tree.find(*_CHANGING_TREES) is None
    return Role.READ if reads else Role.WRITE


def _role_of_native(session: Session, native: grammar.Native) -> Role:
    """A native query is given to its source as it stands: it must be a query there too. A project's is one of ours."""
    try:
        if session.snapshot().own_query(native.source) is not None:
            query = grammar.parse_query(native.text)
            return max(_needs(session, native.text).role, _role_of_ours(session, query))
        kinds = database.statement_kinds(session.raw, native.text)
    except AccessError:
        raise
    except (MindSQLError, grammar.ParseError, ValueError):
        raise AccessError("the native query cannot be read, so it is not run") from None
    if any(kind != "SELECT" for kind, _ in kinds):
        raise _refused("a native query that is no SELECT")
    return _needs(session, native.text).role


def _values(value: Any) -> Iterator[Any]:
    """A value and all that lies in it."""
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _values(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _values(item)


# DuckDB's -------------------------------------------------------------------------------------------------


def _role_of(session: Session, kind: str, text: str) -> Role:
    """The role that a statement of DuckDB needs. Raises AccessError."""
    tokens = database.tokens(text)
    words = [token.word for token in tokens if token.text != ";"]
    role = _KINDS.get(kind)
    if role is None:
        raise _refused(words[0].upper() if words else "this statement")
    rule = _RULES.get(kind)
    if rule is not None:
        role = rule(session, text, tokens, words)
    nodes = _nodes(session, kind, text, tokens)
    if "COPY" in nodes:
        raise _refused("COPY TO")
    return max(role, Role.WRITE) if nodes else role


def _nodes(session: Session, kind: str, text: str, tokens: Sequence[LexedToken]) -> set[str]:
    """What the common table expressions of a statement do beside reading: `INSERT`, `COPY`, …"""
    if kind == "SELECT":
        nodes = database.query_nodes(session.raw, text)
        if nodes is not None:
            return {node.removesuffix("_QUERY_NODE") for node in nodes - _READING_NODES}
    return {
        token.word.upper()
        for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if token.word in _CHANGING and _is_bare(token) and before.text in ("(", ")") and after.text not in (",", ")")
    }


def _is_bare(token: LexedToken) -> bool:
    return not token.text.startswith(('"', "'"))


def _inner(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """EXPLAIN and PREPARE are what they hold."""
    rest = tokens[1:]
    if words[0] == "prepare":
        rest = tokens[words.index("as") + 1 :]
    elif rest and rest[0].word in ("analyze", "analyse"):
        rest = rest[1:]
    while rest:
        inner = text[rest[0].start :]
        try:
            kinds = database.statement_kinds(session.raw, inner)
        except (MindSQLError, ValueError):
            # `(FORMAT json)` stands before the statement.
            closing = next((i for i, token in enumerate(rest) if token.text == ")"), None)
            if rest[0].text != "(" or closing is None:
                break
            rest = rest[closing + 1 :]
            continue
        return max((_role_of(session, kind, piece) for kind, piece in kinds), default=Role.READ)
    raise _refused("this statement")


def _multi(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """PIVOT becomes several statements, and so does what holds one."""
    return Role.READ if words[0].strip("(").upper() in _QUERYING or words[0] == "(" else Role.WRITE


def _set(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """SET, RESET and USE, of what belongs to the session."""
    if words[0] == "use":
        if SCHEMA in "".join(words[1:]):
            raise _own()
        return Role.READ
    rest = words[2:] if words[1:2] == ["session"] else words[1:]
    free = {name.casefold() for name in FREE_SETTINGS} | {"variable", "time"}
    if not rest or rest[0] not in free:
        raise AccessError(
            f"the setting {rest[0] if rest else ''} cannot be changed through a server",
            hint=f"a session may SET {', '.join(FREE_SETTINGS)} and VARIABLE",
        )
    return Role.READ


def _pragma(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    if words[0] == "pragma" and words[1] in _ADMIN_PRAGMAS:
        return Role.ADMIN
    if words[0] != "pragma" or words[1] not in _PRAGMAS or "=" in words:
        raise _refused(" ".join(words[:2]).upper())
    return Role.READ


def _call(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """CALL reads; CHECKPOINT, which is a call too, ends the transactions of others."""
    return Role.READ if words[0] == "call" else Role.ADMIN


def _copy(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """COPY … FROM a file in a declared folder."""
    depth = 0
    for index, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in ("from", "to") and _is_bare(tokens[index]):
            if word == "to":
                break
            after = [token for token in tokens[index + 1 :] if token.word != "with"]
            _sandbox(session).admit(functions.string(after))
            return Role.WRITE
    raise _refused("COPY TO")


def _define(session: Session, text: str, tokens: list[LexedToken], words: list[str]) -> Role:
    """CREATE, DROP and ALTER of all but secrets, databases and the catalog's schema."""
    said = " ".join(words)
    if words[0] == "deallocate":
        return Role.READ
    if _SECRET.match(said) or words[:2] == ["alter", "database"]:
        raise _refused(" ".join(words[:2]).upper())
    if _CATALOG_SCHEMA.match(said):
        raise _own()
    # A view of the project of that name is ours; and a database may have the name, too.
    if "view" not in words[:4] and session.database.name.casefold() != SCHEMA and _in_catalog(words):
        raise _own()
    made = _macro(words)
    if made is not None and functions.is_built_in(session.raw, made):
        raise AccessError(
            f"{made} is the name of a built-in function, and its place cannot be taken",
            hint="give the macro another name",
        )
    return Role.WRITE


def _in_catalog(words: Sequence[str]) -> bool:
    """Whether what is made, altered or dropped would stand in the catalog's schema."""
    ends = [words.index(word) for word in ("as", "(", "on", "set", "add") if word in words]
    head = words[: min(ends, default=len(words))]
    return any(pair == (SCHEMA, ".") for pair in itertools.pairwise(head))


def _macro(words: Sequence[str]) -> str | None:
    """The name of the macro that a CREATE makes."""
    at = next((index for index, word in enumerate(words[:4]) if word in ("macro", "function")), None)
    if words[0] != "create" or at is None:
        return None
    name = [word for word in words[at + 1 : words.index("(", at) if "(" in words[at:] else None]]
    return name[-1] if name else None


_RULES: dict[str, Callable[[Session, str, list[LexedToken], list[str]], Role]] = {
    "EXPLAIN": _inner,
    "PREPARE": _inner,
    "MULTI": _multi,
    "SET": _set,
    "PRAGMA": _pragma,
    "CALL": _call,
    "COPY": _copy,
    "CREATE": _define,
    "DROP": _define,
    "ALTER": _define,
}
