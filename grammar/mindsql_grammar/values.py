"""Owns the values of USING and PARAMETERS: `key = value` lists and JSON."""

from __future__ import annotations

import math

from sqlglot import Token, TokenType

from mindsql_grammar.cursor import Cursor
from mindsql_grammar.lexer import is_word
from mindsql_grammar.statements import Env, Name, Option, Parameter, Value

_LONGEST_NUMBER = 400
_CLOSING = (TokenType.COMMA, TokenType.R_BRACE, TokenType.R_BRACKET, TokenType.R_PAREN, TokenType.COLON)


def options(cursor: Cursor, after: str = "USING") -> tuple[Option, ...]:
    """`key = value[, …]`; the word USING is taken already."""
    found: list[Option] = []
    seen: set[Name] = set()
    while True:
        start = cursor.index
        if cursor.done():
            cursor.fail(f"expected an option after {after}", hint="write USING key = value")
        path = cursor.name("the name of an option")
        key = ".".join(path)
        if not cursor.accept_kind(TokenType.EQ):
            cursor.fail(f"expected = after '{key}'")
        value = read_value(cursor, f"'{key} ='")
        lower = tuple(part.lower() for part in path)
        if lower in seen:
            raise cursor.error(f"option '{key}' is given twice", cursor.tokens[start])
        seen.add(lower)
        found.append(Option(path, value, cursor.span(start, cursor.index)))
        after = "','"
        if cursor.accept_kind(TokenType.COMMA):
            continue
        if starts_option(cursor):
            raise cursor.error(f"expected ',' between options, found {cursor.found()}")
        return tuple(found)


def starts_option(cursor: Cursor, ahead: int = 0) -> bool:
    """Whether `name[.name…] =` comes next."""
    while True:
        token = cursor.peek(ahead)
        if token is None or not (is_word(token) or token.token_type is TokenType.IDENTIFIER):
            return False
        following = cursor.kind(ahead + 1)
        if following is TokenType.EQ:
            return True
        if following is not TokenType.DOT:
            return False
        ahead += 2


def read_value(cursor: Cursor, after: str) -> Value:
    """One value: string, number, true, false, null, bare word, JSON, env('NAME') or parameter."""
    token = cursor.peek()
    if token is None:
        cursor.fail(f"expected a value after {after}")
    token = cursor.take()
    kind = token.token_type
    if kind is TokenType.STRING:
        return token.text
    if kind is TokenType.IDENTIFIER:
        return _dotted(cursor, token) if cursor.text(token)[0] == "`" else token.text
    if kind in (TokenType.NUMBER, TokenType.DOT, TokenType.DASH, TokenType.PLUS):
        cursor.index -= 1
        return _number(cursor, after)
    if kind is TokenType.L_BRACE:
        return _object(cursor)
    if kind is TokenType.L_BRACKET:
        return _array(cursor)
    if kind is TokenType.PARAMETER and token.text == "$":
        return _parameter(cursor, token)
    if is_word(token):
        return _word(cursor, token)
    cursor.index -= 1
    cursor.fail(
        f"expected a value after {after}", hint="a string, number, true, false, null, {…}, […] or env('NAME')"
    )


def read_object(cursor: Cursor, after: str) -> dict[str, Value]:
    """A JSON object."""
    if not cursor.accept_kind(TokenType.L_BRACE):
        cursor.fail(f"expected {{ after {after}", hint='write {"key": "value", …}')
    return _object(cursor)


def _object(cursor: Cursor) -> dict[str, Value]:
    opening = cursor.index - 1
    result: dict[str, Value] = {}
    while not cursor.accept_kind(TokenType.R_BRACE):
        token = cursor.peek()
        if token is None:
            raise cursor.error("this { is never closed", cursor.tokens[opening])
        if not (is_word(token) or token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)):
            cursor.fail("expected a key in {…}", hint='write {"key": value, …}')
        key = cursor.take().text
        if key in result:
            raise cursor.error(f"key '{key}' is given twice", token)
        if not cursor.accept_kind(TokenType.COLON):
            cursor.fail(f"expected : after '{key}'")
        result[key] = read_value(cursor, f"'{key}:'")
        _separator(cursor, TokenType.R_BRACE, "}", opening)
    return result


def _array(cursor: Cursor) -> list[Value]:
    opening = cursor.index - 1
    result: list[Value] = []
    while not cursor.accept_kind(TokenType.R_BRACKET):
        if cursor.done():
            raise cursor.error("this [ is never closed", cursor.tokens[opening])
        result.append(read_value(cursor, "'['"))
        _separator(cursor, TokenType.R_BRACKET, "]", opening)
    return result


def _separator(cursor: Cursor, closing: TokenType, text: str, opening: int) -> None:
    """A comma, which may also stand before the closing bracket."""
    if cursor.done():
        raise cursor.error(f"this {cursor.tokens[opening].text} is never closed", cursor.tokens[opening])
    if not cursor.accept_kind(TokenType.COMMA) and cursor.kind() is not closing:
        cursor.fail(f"expected , or {text}")


def _number(cursor: Cursor, after: str) -> int | float:
    start = cursor.index
    sign = -1 if cursor.kind() is TokenType.DASH else 1
    if cursor.kind() in (TokenType.DASH, TokenType.PLUS):
        cursor.index += 1
    text = "." if cursor.accept_kind(TokenType.DOT) else ""
    if cursor.kind() is not TokenType.NUMBER:
        cursor.fail(f"expected a number after {after}")
    last = cursor.take()
    text = (text + last.text).replace("_", "")
    following = cursor.peek()
    if following is not None and following.start == last.end + 1 and is_word(following):
        raise cursor.error(
            f"'{cursor.text(last)}{following.text}' is not a number", last, hint="put text in quotes"
        )
    try:
        if len(text) <= _LONGEST_NUMBER:
            value = int(text) if text.isdigit() else float(text)
            if math.isfinite(value):
                return sign * value
    except ValueError:
        pass
    raise cursor.error("this number is out of range", cursor.tokens[start])


def _word(cursor: Cursor, token: Token) -> Value:
    upper = token.text.upper()
    if cursor.kind() is TokenType.L_PAREN:
        if upper != "ENV":
            raise cursor.error(
                f"'{token.text}(…)' is not a value",
                token,
                hint="put text in quotes; only env('NAME') is called",
            )
        return _env(cursor)
    if cursor.kind() is not TokenType.DOT:
        if upper in ("TRUE", "FALSE"):
            return upper == "TRUE"
        if upper == "NULL":
            return None
    return _dotted(cursor, token)


def _dotted(cursor: Cursor, token: Token) -> str:
    parts = [token.text]
    while cursor.accept_kind(TokenType.DOT):
        parts.append(cursor.name_part(f"a name after '{parts[-1]}.'"))
    following = cursor.peek()
    touches = following is not None and following.start == cursor.tokens[cursor.index - 1].end + 1
    if touches and cursor.kind() not in _CLOSING:
        raise cursor.error(f"unexpected {cursor.found()} in a value", hint="put text in quotes")
    return ".".join(parts)


def _env(cursor: Cursor) -> Env:
    cursor.index += 1
    if cursor.kind() not in (TokenType.STRING, TokenType.IDENTIFIER):
        cursor.fail("expected the name of an environment variable in quotes", hint="write env('NAME')")
    name = cursor.take().text
    if not cursor.accept_kind(TokenType.R_PAREN):
        cursor.fail("expected ) after the name of the environment variable")
    return Env(name)


def _parameter(cursor: Cursor, dollar: Token) -> Parameter:
    token = cursor.peek()
    if token is None or not (is_word(token) or token.token_type is TokenType.NUMBER):
        cursor.fail("expected a number or a name after $")
    return Parameter(cursor.take().text)
