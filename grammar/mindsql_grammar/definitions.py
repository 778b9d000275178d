"""Owns the statements that define, drop and show things other than models, and CREATE TABLE's own query."""

from __future__ import annotations

from sqlglot import Token, TokenType
from sqlglot import expressions as exp

from mindsql_grammar import values
from mindsql_grammar.cursor import Cursor
from mindsql_grammar.lexer import is_word
from mindsql_grammar.models import if_not_exists, read_rows, split_version
from mindsql_grammar.query import NATIVE_PREFIX, read_condition, read_query
from mindsql_grammar.statements import (
    CreateDatabase,
    CreateProject,
    CreateView,
    Deallocate,
    Describe,
    Drop,
    DuckDB,
    Execute,
    Name,
    Prepare,
    Query,
    SetActive,
    SetExecutor,
    Show,
    Span,
    Statement,
    Use,
    Value,
)
from mindsql_grammar.words import DESCRIBED, SHOWN, nearest, word_set

_OPENS_QUERY = word_set("SELECT WITH FROM VALUES TABLE PIVOT UNPIVOT")
_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)
_SHOWN = {**{what.upper(): what for what in SHOWN}, "PREDICTORS": "models"}
_DESCRIBED = {**{kind.upper(): kind for kind in DESCRIBED}, "PREDICTOR": "model"}


def create_project(cursor: Cursor, span: Span) -> CreateProject:
    """`CREATE PROJECT` is taken already."""
    exists = if_not_exists(cursor)
    name = cursor.single_name("the name of the project")
    cursor.finish("CREATE PROJECT")
    return CreateProject(name, exists, span=span)


def create_database(cursor: Cursor, span: Span, or_replace: bool) -> CreateDatabase:
    """`CREATE [OR REPLACE] DATABASE` is taken already."""
    exists = if_not_exists(cursor, or_replace)
    name = cursor.single_name("the name of the database")
    engine: str | None = None
    parameters: dict[str, Value] | None = None
    while not cursor.done():
        cursor.accept_kind(TokenType.COMMA)
        prefix = cursor.word() in ("WITH", "USING")
        clause = cursor.word(1 if prefix else 0)
        if clause not in ("ENGINE", "PARAMETERS"):
            cursor.index += prefix
            cursor.fail("expected ENGINE or PARAMETERS", ["ENGINE", "PARAMETERS", "WITH"])
        cursor.index += 1 + prefix
        if (engine if clause == "ENGINE" else parameters) is not None:
            raise cursor.error(
                f"{clause} is given twice", cursor.tokens[cursor.index - 1], hint="leave one of them out"
            )
        cursor.accept_kind(TokenType.EQ)
        if clause == "ENGINE":
            engine = _engine_name(cursor)
        else:
            parameters = values.read_object(cursor, "PARAMETERS")
    if engine is None:
        raise cursor.error(
            "CREATE DATABASE needs ENGINE", hint="write ENGINE = 'duckdb'; CREATE PROJECT makes a project"
        )
    return CreateDatabase(name, engine, parameters or {}, or_replace, exists, span=span)


def prepare(cursor: Cursor, span: Span) -> Prepare | None:
    """`PREPARE` is taken already. None when what is prepared is DuckDB's alone."""
    name = cursor.single_name("the name of the prepared statement")
    cursor.expect("AS", f"PREPARE {name}")
    start = cursor.index
    query = read_query(Cursor(cursor.source, cursor.tokens, start, cursor.end))
    if query is None:
        return None
    return Prepare(name, query, cursor.source.text[cursor.tokens[start].start :], span=span)


def execute(cursor: Cursor, span: Span) -> Execute:
    """`EXECUTE` is taken already."""
    name = cursor.single_name("the name of the prepared statement")
    arguments: list[tuple[str, str]] = []
    if cursor.kind() is TokenType.L_PAREN:
        end = cursor.closing(cursor.index)
        cursor.take()
        while cursor.index < end:
            arguments.append(_argument(cursor, end, len(arguments) + 1))
        cursor.take()
    cursor.finish("EXECUTE")
    return Execute(name, tuple(arguments), span=span)


def _argument(cursor: Cursor, end: int, number: int) -> tuple[str, str]:
    """One value of EXECUTE, and the comma after it: what it is for, and its text."""
    name = str(number)
    if cursor.kind(1) is TokenType.COLON_EQ:
        name = cursor.name_part("the name of a parameter")
        cursor.take()
    start = cursor.index
    depth = 0
    while cursor.index < end and (depth or cursor.kind() is not TokenType.COMMA):
        kind = cursor.take().token_type
        depth += (kind in _OPENING) - (kind in _CLOSING)
    if cursor.index == start:
        cursor.fail("expected a value")
    text = cursor.source.text[cursor.tokens[start].start : cursor.tokens[cursor.index - 1].end + 1]
    if cursor.index < end:
        cursor.take()
        if cursor.index == end:
            cursor.fail("expected a value after the comma")
    return name, text


def deallocate(cursor: Cursor, span: Span) -> Deallocate:
    """`DEALLOCATE` is taken already."""
    cursor.accept("PREPARE")
    name = cursor.single_name("the name of the prepared statement")
    cursor.finish("DEALLOCATE")
    return Deallocate(name, span=span)


def _engine_name(cursor: Cursor) -> str:
    token = cursor.peek()
    if token is None or not (is_word(token) or token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)):
        cursor.fail("expected the name of an engine after ENGINE", hint="write ENGINE = 'duckdb'")
    return cursor.take().text


def create_view(cursor: Cursor, span: Span, or_replace: bool) -> CreateView | None:
    """`CREATE [OR REPLACE] VIEW` is taken already. None when it has more than a name and a query."""
    exists = if_not_exists(cursor, or_replace)
    name = cursor.name("the name of the view")
    text = cursor.source.text
    if cursor.word() == "FROM":
        return _view_of_rows(cursor, span, name, or_replace, exists)
    depth = 0
    while cursor.kind(depth) is TokenType.L_PAREN:
        depth += 1
    if depth and cursor.word(depth) not in _OPENS_QUERY:
        return None  # a list of columns
    if not cursor.accept("AS") and cursor.kind() is not TokenType.L_PAREN:
        cursor.fail("expected AS after the name of the view", ["AS"])
    start, end = cursor.index, cursor.end
    while (
        start < end
        and cursor.tokens[start].token_type is TokenType.L_PAREN
        and cursor.closing(start) == end - 1
    ):
        start, end = start + 1, end - 1
        cursor.index = start
    inner = Cursor(cursor.source, cursor.tokens, start, end)
    query = read_query(inner, reads_only=True)
    if query is None:
        return None
    query_text = text[cursor.tokens[start].start : cursor.tokens[end - 1].end + 1]
    return CreateView(name, query, or_replace, exists, text, query_text, span=span)


def _view_of_rows(cursor: Cursor, span: Span, name: Name, or_replace: bool, exists: bool) -> CreateView:
    """`CREATE VIEW name FROM source (native text)` selects all of that native query."""
    cursor.index += 1
    start = cursor.index
    for index in range(start, cursor.end - 1):  # FROM source AS (…), an older spelling
        if cursor.word(index - start) == "AS" and cursor.kind(index - start + 1) is TokenType.L_PAREN:
            cursor.tokens = cursor.tokens[:index] + cursor.tokens[index + 1 :]
            cursor.end -= 1
            break
    rows = read_rows(cursor)
    cursor.finish("CREATE VIEW")
    text = cursor.source.text
    if rows.query is not None:
        return CreateView(name, rows.query, or_replace, exists, text, rows.text.strip(), span=span)
    assert rows.native is not None
    table = exp.to_table(f"{NATIVE_PREFIX}0")
    table.this.set("quoted", True)
    query = Query(exp.select("*").from_(table), (rows.native,), span=cursor.span(start, cursor.index))
    written = text[cursor.tokens[start].start : cursor.tokens[cursor.index - 1].end + 1]
    return CreateView(name, query, or_replace, exists, text, f"SELECT * FROM {written}", span=span)


def create_table(cursor: Cursor) -> Cursor | None:
    """A cursor over all of CREATE TABLE if it has a query; `AS` may be left out, as in MindsDB and MySQL."""
    depth = 0
    for index in range(cursor.index, cursor.end):
        token = cursor.tokens[index]
        kind = token.token_type
        if depth == 0 and kind is TokenType.ALIAS:
            return Cursor(cursor.source, cursor.tokens)
        following = cursor.word(index + 1 - cursor.index)
        parenthesised = kind is TokenType.L_PAREN and following in ("SELECT", "WITH", "FROM")
        if depth == 0 and (parenthesised or (kind is TokenType.SELECT and index > cursor.index)):
            alias = Token(TokenType.ALIAS, "AS", token.line, token.col, token.start, token.start - 1)
            return Cursor(cursor.source, [*cursor.tokens[:index], alias, *cursor.tokens[index:]])
        if kind is TokenType.L_PAREN:
            depth += 1
        elif kind is TokenType.R_PAREN:
            depth -= 1
    return None


def drop(cursor: Cursor, span: Span) -> Statement:
    """`DROP` is taken already and a kind of ours follows."""
    kind = cursor.take().text.lower()
    kind = "model" if kind == "predictor" else kind
    exists = False
    if cursor.word() == "IF" and cursor.kind(1) is not TokenType.DOT and cursor.peek(1) is not None:
        cursor.index += 1
        cursor.expect("EXISTS", "IF")
        exists = True
    name = cursor.name(f"the name of the {'engine' if kind == 'ml_engine' else kind}")
    version = None
    if kind == "model":
        name, version = split_version(name)
    elif kind != "view" and len(name) > 1:
        raise cursor.error(
            f"the name of a {kind} has one part, found '{'.'.join(name)}'", cursor.tokens[cursor.index - 1]
        )
    if kind == "view" and (cursor.word() in ("CASCADE", "RESTRICT") or cursor.kind() is TokenType.COMMA):
        return DuckDB(cursor.source.text, span=span)
    cursor.finish(f"DROP {kind.upper()}")
    return Drop(kind, name, version, exists, span=span)


def describe(cursor: Cursor, span: Span) -> Statement:
    """`DESCRIBE` is taken already."""
    text = cursor.source.text
    first = cursor.peek()
    following = cursor.peek(1)
    if first is None or not (is_word(first) or first.token_type is TokenType.IDENTIFIER):
        return DuckDB(text, span=span)
    kind = None
    if following is not None and following.token_type is not TokenType.DOT and is_word(first):
        kind = _DESCRIBED.get(cursor.word())
        if kind is None:
            near = nearest(first.text, _DESCRIBED)
            if near is None or not _is_name(following) or cursor.word() in _OPENS_QUERY:
                return DuckDB(text, span=span)
            raise cursor.error(f"'{first.text}' cannot be described", hint=f"did you mean DESCRIBE {near}?")
        cursor.index += 1
    name = cursor.name("a name after DESCRIBE")
    cursor.finish("DESCRIBE")
    return Describe(name, kind, span=span)


def _is_name(token: Token) -> bool:
    return is_word(token) or token.token_type is TokenType.IDENTIFIER


def show(cursor: Cursor, span: Span) -> Statement:
    """`SHOW` is taken already. What is not ours is DuckDB's: `SHOW x` describes the table x."""
    text = cursor.source.text
    words = 2 if cursor.word() == "LOADED" and cursor.word(1) == "MODELS" else 1
    what = _SHOWN.get("LOADED MODELS" if words == 2 else cursor.word())
    if what is None or cursor.kind(1) is TokenType.DOT:
        if cursor.word(1) in ("FROM", "IN", "LIKE", "WHERE"):
            raise cursor.error(
                f"{cursor.found()} cannot be shown",
                choices=[f"{w}" for w in _SHOWN],
                hint=", ".join(w.upper() for w in SHOWN),
            )
        return DuckDB(text, span=span)
    cursor.index += words
    source: Name | None = None
    like: str | None = None
    where: exp.Expr | None = None
    task: str | None = None
    if what == "estimators" and cursor.accept("FOR"):
        (task,) = cursor.name("a task after FOR")[:1]
    elif cursor.accept("FROM") or cursor.accept("IN"):
        source = cursor.name("a name after FROM")
    if cursor.accept("LIKE"):
        if cursor.kind() is not TokenType.STRING:
            cursor.fail("expected a pattern in quotes after LIKE", hint="write LIKE 'home%'")
        like = cursor.take().text
    if cursor.accept("WHERE"):
        where = read_condition(cursor, cursor.end)
    cursor.finish(f"SHOW {what.upper()}", ("FOR", "FROM", "LIKE", "WHERE"))
    return Show(what, source, like, where, task.lower() if task is not None else None, span=span)


def set_one(cursor: Cursor, span: Span) -> Statement:
    """`SET` is taken already; only `SET active name.N` and `SET executor` are ours."""
    if cursor.word() == "EXECUTOR" and (cursor.kind(1) is TokenType.EQ or cursor.word(1) == "TO"):
        cursor.index += 2
        if cursor.kind() is not TokenType.STRING:
            raise cursor.error("expected a string after SET executor =", hint="'local', 'ray' or 'ray://host:port'")
        executor = cursor.take().text
        cursor.finish("SET executor")
        return SetExecutor(executor, span=span)
    following = cursor.peek(1)
    if cursor.word() != "ACTIVE" or following is None or not _is_name(following) or cursor.word(1) == "TO":
        return DuckDB(cursor.source.text, span=span)
    cursor.index += 1
    start = cursor.index
    name, version = split_version(cursor.name("a model and its version"))
    if version is None:
        raise cursor.error(
            f"expected a version after '{'.'.join(name)}'",
            cursor.tokens[start],
            hint=f"write SET active {'.'.join(name)}.1",
        )
    cursor.finish("SET active")
    return SetActive(name, version, span=span)


def reset(cursor: Cursor, span: Span) -> Statement:
    """`RESET` is taken already; only `RESET executor` is ours."""
    if cursor.word() != "EXECUTOR":
        return DuckDB(cursor.source.text, span=span)
    cursor.index += 1
    cursor.finish("RESET executor")
    return SetExecutor(None, span=span)


def use(cursor: Cursor, span: Span) -> Statement:
    """`USE` is taken already."""
    text = cursor.source.text
    if cursor.kind() is TokenType.STRING:
        return DuckDB(text, span=span)
    name = cursor.name("a name after USE")
    cursor.finish("USE")
    return Use(name, text, span=span)
