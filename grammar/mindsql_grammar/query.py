"""Owns the way to the stock DuckDB parser: our clauses are cut out of a query's tokens, the rest is parsed
there, and its errors are told in our words."""

from __future__ import annotations

import itertools
import logging
import re
from contextvars import ContextVar

from sqlglot import Token, TokenType
from sqlglot import errors as sqlglot_errors
from sqlglot import expressions as exp
from sqlglot.dialects.duckdb import DuckDB as DuckDBDialect

from mindsql_grammar import values, verbatim
from mindsql_grammar.cursor import Cursor
from mindsql_grammar.errors import ParseError
from mindsql_grammar.lexer import Source, is_word
from mindsql_grammar.statements import Name, Native, Option, Query
from mindsql_grammar.words import RESERVED, nearest, word_set

NATIVE_PREFIX = "\0native_"
"""What the name of a table begins with that stands for a native query: no text can hold such a name."""

_DUCKDB = DuckDBDialect()
_READS = (exp.Query, exp.Values, exp.Pivot)
_STATEMENTS = (*_READS, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Copy)
_CLAUSES = word_set(
    "SELECT FROM JOIN LEFT RIGHT INNER FULL CROSS ON USING WHERE GROUP HAVING QUALIFY ORDER LIMIT "
    "OFFSET UNION INTERSECT EXCEPT WINDOW VALUES INTO SET AS BY DISTINCT BETWEEN AND RETURNING WITH"
)
_CLASS = re.compile(r"<class '[\w.]*?(\w+)'>")
_TOKEN = re.compile(r"<Token [^>]*>|TokenType\.\w+")

_quiet: ContextVar[bool] = ContextVar("mindsql_grammar_quiet", default=False)


def _not_ours(record: logging.LogRecord) -> bool:
    """sqlglot logs when it gives up on a statement; here that becomes an error or DuckDB's own statement."""
    return not _quiet.get()


logging.getLogger("sqlglot").addFilter(_not_ours)


def read_query(cursor: Cursor, end: int | None = None, *, reads_only: bool = False) -> Query | None:
    """The query from the cursor up to token `end`, with the USING at its end.

    Args:
        cursor: Stands at the first token of the query; is moved to `end`.
        end: The index after the query's last token.
        reads_only: Refuse INSERT, CREATE and others that give no rows.

    Returns:
        None when sqlglot knows the verb but not this form of it.
    """
    start = cursor.index
    end = cursor.end if end is None else end
    if start >= end:
        cursor.fail("expected a query")
    inner = Cursor(cursor.source, cursor.tokens, start, end)
    cut, options = _cut_using(inner)
    tokens, found = _cut_natives(cursor, cursor.tokens[start:cut])
    tokens = _without_by_position(tokens)
    tree = _stock_parse(inner, tokens, cut)
    if isinstance(tree, exp.Command):
        return None
    if not isinstance(tree, _READS if reads_only else _STATEMENTS):
        raise inner.error("expected a query", cursor.tokens[start], hint="write SELECT …")
    if isinstance(tree, exp.Select) and not tree.expressions and not tree.args.get("kind"):
        raise inner.error("SELECT needs at least one column", cursor.tokens[start], hint="write SELECT * …")
    for node in tree.find_all(exp.Identifier, exp.Select, exp.Command, exp.Into, exp.WithDataProperty):
        if isinstance(node, exp.Identifier):
            _check_name(cursor.source, node)
        elif isinstance(node, exp.Select):
            _lift_joins(node)
            if node.args.get("joins") and node.args.get("from_") is None:
                raise inner.error(
                    "this query has a JOIN or a second relation, but no FROM", cursor.tokens[start]
                )
        elif isinstance(node, exp.WithDataProperty):
            return None  # DuckDB's generator would leave it out
        else:
            hint = "write CREATE TABLE name AS SELECT …" if isinstance(node, exp.Into) else None
            what = "SELECT INTO" if isinstance(node, exp.Into) else "a part of this query"
            raise inner.error(f"{what} cannot be read", cursor.tokens[start], hint=hint)
    verbatim.annotate(tree, cursor.source.text, tokens)
    if cursor.source.base:
        # Places are told in the whole text, not in the statement's own.
        for name in tree.find_all(exp.Identifier):
            for key in ("start", "end"):
                if key in name.meta:
                    name.meta[key] += cursor.source.base
    cursor.index = end
    return Query(tree, tuple(found), options, span=cursor.span(start, end))


def _without_by_position(tokens: list[Token]) -> list[Token]:
    """`INSERT INTO t BY POSITION SELECT …` without the words for what is so anyway, which sqlglot does not read."""
    if tokens[0].token_type is TokenType.INSERT:
        for at, (token, after) in enumerate(itertools.pairwise(tokens)):
            if token.token_type in (TokenType.SELECT, TokenType.FROM, TokenType.VALUES, TokenType.WITH):
                break
            if (token.text.upper(), after.text.upper()) == ("BY", "POSITION"):
                return tokens[:at] + tokens[at + 2 :]
    return tokens


def _check_name(source: Source, name: exp.Identifier) -> None:
    """sqlglot takes keywords for names where something is missing: `FROM LEFT JOIN m`. DuckDB does not."""
    if name.quoted or name.this.upper() not in RESERVED:
        return
    parent = name.parent
    first = (isinstance(parent, exp.Column) and not parent.table) or (
        isinstance(parent, exp.Table) and not parent.db
    )
    if first and name.this.upper() not in ("ALL", "DEFAULT") and "start" in name.meta:
        start, end = name.meta["start"], name.meta["end"] + 1
        raise source.error(
            f"unexpected '{source.text[start:end]}'", start, end, "in double quotes it is a name"
        )
    # As it will be written, so that the text gives the same tree.
    name.set("quoted", True)


def _lift_joins(select: exp.Select) -> None:
    """`FROM a JOIN b SELECT …` gets the same tree as `SELECT … FROM a JOIN b`."""
    source = select.args.get("from_")
    if source is not None and source.this.args.get("joins") and not select.args.get("joins"):
        select.set("joins", source.this.args["joins"])
        source.this.set("joins", None)
    for join in (select.args.get("joins") or []) if select.args.get("sample") else ():
        condition = join.args.get("on")
        if isinstance(condition, exp.Boolean) and condition.this:
            join.set("on", None)  # the lexer's, before USING SAMPLE


def read_condition(cursor: Cursor, end: int) -> exp.Expr:
    """The condition from the cursor up to token `end`."""
    return _part(cursor, end, exp.Condition, "a condition")


def read_term(cursor: Cursor, end: int, *, ordered: bool) -> str:
    """A term of ORDER BY or GROUP BY up to token `end`, as sqlglot writes it."""
    tree = _part(cursor, end, exp.Ordered if ordered else exp.Condition, "a column")
    return tree.sql(dialect=_DUCKDB, comments=False)


def _part(cursor: Cursor, end: int, kind: type[exp.Expr], what: str) -> exp.Expr:
    if cursor.index >= end:
        cursor.fail(f"expected {what}")
    tokens = cursor.tokens[cursor.index : end]
    inner = Cursor(cursor.source, cursor.tokens, cursor.index, end)
    _refuse_semicolon(inner, tokens)
    suppress_warnings = _quiet.set(True)
    try:
        trees = _DUCKDB.parser().parse_into(kind, tokens, cursor.source.text)
    except (sqlglot_errors.SqlglotError, RecursionError) as error:
        raise _translate(inner, tokens, error) from error
    finally:
        _quiet.reset(suppress_warnings)
    tree = trees[0]
    if tree is None or tree.find(exp.Command):
        cursor.fail(f"expected {what}")
    cursor.index = end
    return tree


def _cut_using(cursor: Cursor) -> tuple[int, tuple[Option, ...]]:
    """Where the query ends without its trailing `USING key = value, …`, and what that says."""
    depth = 0
    for index in range(cursor.index, cursor.end):
        kind = cursor.tokens[index].token_type
        if kind is TokenType.L_PAREN:
            depth += 1
        elif kind is TokenType.R_PAREN:
            depth -= 1
        elif kind is TokenType.USING and values.starts_option(
            Cursor(cursor.source, cursor.tokens, index + 1, cursor.end)
        ):
            using = cursor.tokens[index]
            if depth > 0:
                raise cursor.error(
                    "USING with options cannot stand inside parentheses",
                    using,
                    hint="write it at the end of the statement",
                )
            if index == cursor.index:
                raise cursor.error("expected a query before USING", using)
            tail = Cursor(cursor.source, cursor.tokens, index + 1, cursor.end)
            options = values.options(tail)
            if not tail.done():
                again = tail.word() == "USING"
                message = (
                    "USING is given twice"
                    if again
                    else f"USING must be the last clause, but {tail.found()} follows it"
                )
                hint = "separate options with commas" if again else "move USING to the end of the statement"
                raise tail.error(message, hint=hint)
            return index, options
    return cursor.end, ()


def _cut_natives(cursor: Cursor, tokens: list[Token]) -> tuple[list[Token], list[Native]]:
    """Each `source (native text)` becomes one name, `NATIVE_PREFIX` and its number."""
    holes = cursor.source.natives
    if not holes:
        return tokens, []
    result: list[Token] = []
    found: list[Native] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.token_type is not TokenType.L_PAREN or token.start not in holes:
            result.append(token)
            index += 1
            continue
        parts = [result.pop()]
        while result and result[-1].token_type is TokenType.DOT:
            result.pop()
            parts.append(result.pop())
        text = cursor.source.text[token.start + 1 : holes[token.start]]
        if not text.strip():
            raise cursor.error(f"the query for '{parts[0].text}' is empty", token)
        first, last = parts[-1], tokens[index + 1]
        result.append(
            Token(
                TokenType.IDENTIFIER,
                f"{NATIVE_PREFIX}{len(found)}",
                last.line,
                last.col,
                first.start,
                last.end,
            )
        )
        found.append(Native(tuple(part.text for part in reversed(parts)), text))
        index += 2
    return result, found


def native_name(cursor: Cursor) -> tuple[Name, str] | None:
    """Take `source (native text)` if that comes next."""
    start = cursor.index
    name = cursor.name("a source or (")
    token = cursor.peek()
    if token is None or token.token_type is not TokenType.L_PAREN or token.start not in cursor.source.natives:
        cursor.index = start
        return None
    closing = cursor.source.natives[token.start]
    text = cursor.source.text[token.start + 1 : closing]
    if not text.strip():
        raise cursor.error(f"the query for '{'.'.join(name)}' is empty", token)
    cursor.index += 2
    return name, text


def _refuse_semicolon(cursor: Cursor, tokens: list[Token]) -> None:
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise cursor.error(
                "';' cannot stand inside parentheses", token, hint="close the parenthesis first"
            )


def _stock_parse(cursor: Cursor, tokens: list[Token], end: int) -> exp.Expr:
    _refuse_semicolon(cursor, tokens)
    token = _quiet.set(True)
    try:
        trees = _DUCKDB.parser().parse(tokens, cursor.source.text)
    except (sqlglot_errors.SqlglotError, RecursionError) as error:
        raise _translate(Cursor(cursor.source, cursor.tokens, cursor.index, end), tokens, error) from error
    finally:
        _quiet.reset(token)
    tree = trees[0] if trees else None
    if tree is None:
        cursor.fail("expected a query")
    return tree


def _translate(cursor: Cursor, tokens: list[Token], error: Exception) -> ParseError:
    """sqlglot's error in our words, at the culprit."""
    if isinstance(error, RecursionError):
        return cursor.error("the statement is nested too deeply", tokens[0])
    if not isinstance(error, sqlglot_errors.ParseError):
        # A name of a type is read once more, as a text of its own.
        return cursor.error("this statement cannot be read", tokens[0])
    details = error.errors[0] if error.errors else {}
    description = str(details.get("description") or error).strip().rstrip(".")
    place = next(
        (i for i, t in enumerate(tokens) if (t.line, t.col) == (details.get("line"), details.get("col"))),
        len(tokens) - 1,
    )
    culprit = tokens[place]
    at_end = place == len(tokens) - 1
    written = cursor.text(culprit)
    if description == "Invalid expression / Unexpected token":
        message = f"unexpected '{written}'"
    elif description.startswith("Expecting "):
        found = "the end of the query" if at_end else f"'{written}'"
        message = f"expected {description.removeprefix('Expecting ')}, found {found}"
    elif description.startswith("Expected table name"):
        found = "the end of the query" if "SENTINEL" in description else f"'{written}'"
        message = f"expected a table name, found {found}"
    elif description.startswith("Required keyword"):
        missing = _CLASS.search(description)
        message = (
            f"something is missing {'after' if at_end else 'near'} '{written}'" if missing else description
        )
    else:
        description = _CLASS.sub(r"\1", _TOKEN.sub("this", description))
        message = f"{description[:1].lower()}{description[1:]} near '{written}'"
    hint = None
    for token in (culprit, tokens[place - 1] if place else culprit):
        near = nearest(token.text, sorted(_CLAUSES)) if is_word(token) and len(token.text) > 2 else None
        if near is not None and near != token.text.upper():
            if token is not culprit:
                message = f"unexpected '{cursor.text(token)}'"
            return cursor.source.error(message, token.start, token.end + 1, f"did you mean {near}?")
    return cursor.source.error(message, culprit.start, culprit.end + 1, hint)
