"""Owns the way from a statement's text to its tokens: sqlglot's tokenizer for DuckDB plus back-ticks,
version parts (`m.3`) and `?` parameters in the form that the stock parser reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sqlglot import Token, TokenType
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import TokenError

from mindsql_grammar import natives, splitter
from mindsql_grammar.errors import ParseError


class Tokenizer(DuckDB.Tokenizer):
    """DuckDB's words, and identifiers in back-ticks too."""

    IDENTIFIERS: ClassVar = ['"', "`"]
    HEX_STRINGS: ClassVar = [("x'", "'"), ("X'", "'")]
    COMMANDS: ClassVar = set()  # no word swallows the rest of its line


_DUCKDB = DuckDB()
_NAMES = _DUCKDB.parser().ID_VAR_TOKENS | {TokenType.IDENTIFIER}
_VERSION = re.compile(r"\.\d")
_SUBSCRIPT = re.compile(r"\w\s*\[")
_SPECIAL_STRING = re.compile(r"(?<![\w$])(?:[eE]'|\$(?:[^\W\d]\w*)?\$)")
_UNREAD = re.compile(r"\?::|[bB]'|\[\s*:|\b(?:apply|reduce)\b|\bUSING\s+SAMPLE\b", re.IGNORECASE)
_COMMENT = re.compile(r"--|/\*|\{#")
_UNTERMINATED = {"'": "string", '"': "quoted name", "`": "quoted name", "$": "dollar-quoted string"}


_ESCAPE = re.compile(
    r"''|\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Source:
    """One statement's text and where it stands in the whole text, for spans and errors."""

    whole: str
    text: str
    base: int
    natives: natives.Natives

    def error(self, message: str, start: int, end: int, hint: str | None = None) -> ParseError:
        """An error at offsets `[start, end)` of this statement."""
        return ParseError(message, (self.base + start, self.base + end), self.whole, hint)


def tokenize(whole: str, text: str, base: int) -> tuple[Source, list[Token]]:
    """The tokens of one statement; native texts are blank, comments are gone."""
    source = Source(whole, text, base, natives.find(text))
    visible = natives.blank(text, source.natives) if source.natives else text
    try:
        tokens = Tokenizer(dialect=_DUCKDB).tokenize(visible)
    except TokenError as error:
        raise _token_error(source, visible) from error
    if _COMMENT.search(visible):
        for token in tokens:
            token.comments.clear()
    if _UNREAD.search(visible):
        tokens = list(_readable(visible, tokens))
    if _SPECIAL_STRING.search(visible):
        tokens = [_plain_string(visible, token) for token in tokens]
    if "?" in visible:
        tokens = _number_parameters(source, tokens)
    if _VERSION.search(visible):
        tokens = _name_versions(tokens)
    if _SUBSCRIPT.search(visible):
        tokens = _name_columns(tokens)
    return source, tokens


def parameters(text: str) -> list[tuple[str, int, int, str]]:
    """The parameters of a statement in order: name or number, start, end, and the word or sign before it."""
    _, tokens = tokenize(text, text, 0)
    return [
        (tokens[at + 1].text, token.start, tokens[at + 1].end + 1, tokens[at - 1].text if at else "")
        for at, token in enumerate(tokens[:-1])
        if token.token_type is TokenType.PARAMETER and token.text == "$"
    ]


def is_word(token: Token) -> bool:
    """Whether a token is written as a bare word, keyword or not."""
    kind = token.token_type
    if kind is TokenType.VAR:
        return True
    if kind in _QUOTED or not token.text:
        return False
    return token.text[0].isalpha() or token.text[0] == "_"


_QUOTED = frozenset(
    (
        TokenType.STRING,
        TokenType.IDENTIFIER,
        TokenType.NUMBER,
        TokenType.HEREDOC_STRING,
        TokenType.BYTE_STRING,
        TokenType.RAW_STRING,
        TokenType.NATIONAL_STRING,
        TokenType.UNICODE_STRING,
        TokenType.HEX_STRING,
        TokenType.BIT_STRING,
    )
)


def _readable(text: str, tokens: list[Token]) -> Iterator[Token]:
    """Tokens that the stock parser can read, in place of those that only DuckDB reads. The text stays as it is: what
    stands for its words in the tree is written in its words."""
    joined = False  # whether a JOIN waits for its condition
    index = 0
    while index < len(tokens):
        token = tokens[index]
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        kind, word = token.token_type, token.text.upper()
        if kind is TokenType.QDCOLON:  # ?::
            yield _as(token, TokenType.PLACEHOLDER, "?", token.start, token.start)
            yield _as(token, TokenType.DCOLON, "::", token.start + 1, token.end)
        elif word == "B" and after and after.token_type is TokenType.STRING and after.start == token.end + 1:
            yield _as(token, TokenType.STRING, after.text, token.start, after.end)  # a BIT
            index += 1
        elif kind is TokenType.COLON and tokens[index - 1].token_type is TokenType.L_BRACKET:
            # [:x] begins with the first; so does [0:x], which is no parameter :x
            yield _as(token, TokenType.NUMBER, "0", token.start, token.start)
            yield token
        elif word in ("APPLY", "REDUCE") and after is not None and after.token_type is TokenType.L_PAREN:
            yield _as(token, TokenType.VAR, f"list_{word.lower()}", token.start, token.end)
        else:
            sample = kind is TokenType.USING and after is not None and after.text.upper() == "SAMPLE"
            if sample and joined:
                # Else the JOIN would take it for its USING.
                yield _as(token, TokenType.ON, "ON", token.start, token.start)
                yield _as(token, TokenType.TRUE, "TRUE", token.start, token.start)
            yield token
        if kind is TokenType.JOIN:
            joined = True
        elif kind in (TokenType.ON, TokenType.USING, TokenType.WHERE, TokenType.SELECT, TokenType.COMMA):
            joined = False
        index += 1


def _as(token: Token, kind: TokenType, text: str, start: int, end: int) -> Token:
    return Token(kind, text, token.line, token.col, start, end)


def _plain_string(text: str, token: Token) -> Token:
    """`E'…'` and `$$…$$` as the plain strings that they stand for."""
    if token.token_type is TokenType.BYTE_STRING and text[token.start] in "eE":
        value = _unescape(text[token.start : token.end + 1])
    elif token.token_type is TokenType.HEREDOC_STRING:
        value = token.text
    else:
        return token
    return Token(TokenType.STRING, value, token.line, token.col, token.start, token.end)


def _token_error(source: Source, visible: str) -> ParseError:
    mark = splitter.unterminated(visible)
    if mark is None and visible.rstrip().endswith("$"):
        end = len(visible.rstrip())
        return source.error("expected a number or a name after $", end - 1, end)
    if mark is None:
        return source.error("this text cannot be read", 0, len(source.text))
    first = visible[mark.start]
    if mark.kind == "comment":
        return source.error("unterminated comment", mark.start, mark.start + 2, "close it with */")
    kind = _UNTERMINATED.get(first, "string")
    closing = visible[mark.start : visible.index("$", mark.start + 1) + 1] if first == "$" else first
    closing = "'" if first in "eE" else closing
    return source.error(f"unterminated {kind}", mark.start, mark.start + 1, f"close it with {closing}")


def _number_parameters(source: Source, tokens: list[Token]) -> list[Token]:
    """Each `?` becomes `$1`, `$2`, … in order; `?2` becomes `$2`."""
    result: list[Token] = []
    highest, plain, named = 0, None, None
    skip = False
    for index, token in enumerate(tokens):
        if skip:
            skip = False
            continue
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.token_type is TokenType.PLACEHOLDER:
            number = following if following is not None and _is_number_at(following, token.end + 1) else None
            skip = number is not None
            highest = max(highest, int(number.text)) if number else highest + 1
            at = (token.line, token.col, token.start, number.end if number else token.end)
            result.append(Token(TokenType.PARAMETER, "$", *at))
            result.append(Token(TokenType.NUMBER, number.text if number else str(highest), *at))
            plain = plain or token
            continue
        if token.token_type is TokenType.PARAMETER and token.text == "$" and following is not None:
            if following.token_type is TokenType.NUMBER and following.text.isdigit():
                highest = max(highest, int(following.text))
            else:
                named = named or token
        result.append(token)
    culprit = named if named is not None and plain is not None else None
    if culprit is not None:
        raise source.error(
            "a statement cannot have both ? and named parameters",
            culprit.start,
            culprit.end + 1,
            "name all of them, or none",
        )
    return result


def _is_number_at(token: Token, start: int) -> bool:
    text = token.text
    return token.token_type is TokenType.NUMBER and token.start == start and text.isdigit() and len(text) < 6


def _name_versions(tokens: list[Token]) -> list[Token]:
    """`m . 3` becomes `m . "3"`: the tokenizer reads the version part as a number."""
    result: list[Token] = []
    for token in tokens:
        if (
            token.token_type is TokenType.NUMBER
            and len(result) > 1
            and result[-1].token_type is TokenType.DOT
            and result[-1].end + 1 == token.start
            and result[-2].end + 1 == result[-1].start
            and result[-2].token_type in _NAMES
        ):
            digits = token.text.removesuffix(".")
            if digits.isdigit():
                at = token.line, token.col
                end = token.start + len(digits) - 1
                result.append(Token(TokenType.IDENTIFIER, digits, *at, token.start, end))
                if digits != token.text:
                    result.append(Token(TokenType.DOT, ".", *at, token.end, token.end))
                continue
        result.append(token)
    return result


_TYPES = frozenset(_DUCKDB.parser().TYPE_TOKENS) | {TokenType.INTERVAL}
_BEFORE_TYPE = _TYPES | _NAMES | {TokenType.DCOLON, TokenType.ALIAS, TokenType.DOT, TokenType.STRING, TokenType.NUMBER}
_TAKE_TYPES = frozenset({"MAP", "STRUCT", "UNION", "ROW"})


def _name_columns(tokens: list[Token]) -> list[Token]:
    """`text[1]` is the first item of a column that is named like a type, where no type can stand."""
    result: list[Token] = []
    of_types: list[bool] = []  # for each parenthesis that is open: whether types stand in it
    for at, token in enumerate(tokens):
        kind = token.token_type
        before = tokens[at - 1] if at else None
        if kind is TokenType.L_PAREN:
            of_types.append(before is not None and before.text.upper() in _TAKE_TYPES)
        elif kind is TokenType.R_PAREN and of_types:
            of_types.pop()
        elif (
            kind in _TYPES
            and kind not in _NOT_NAMES
            and (before is None or before.token_type not in _BEFORE_TYPE)
            and not (of_types and of_types[-1])
            and _is_subscript(tokens, at + 1)
        ):
            token = Token(TokenType.VAR, token.text, token.line, token.col, token.start, token.end)
        result.append(token)
    return result


_NOT_NAMES = frozenset({TokenType.ARRAY, TokenType.STRUCT, TokenType.MAP, TokenType.LIST})


def _is_subscript(tokens: list[Token], start: int) -> bool:
    """Whether `[…]` with something in it stands there, and no string behind: `INTEGER[3] '[1, 2, 3]'` has a type."""
    if start + 1 >= len(tokens) or tokens[start].token_type is not TokenType.L_BRACKET:
        return False
    depth = 0
    for at in range(start, len(tokens)):
        depth += {TokenType.L_BRACKET: 1, TokenType.R_BRACKET: -1}.get(tokens[at].token_type, 0)
        if not depth:
            following = tokens[at + 1].token_type if at + 1 < len(tokens) else None
            return at > start + 1 and following is not TokenType.STRING
    return False


def string_value(text: str) -> str:
    """The value of a string as it is written: `'…'`, `E'…'` or `$$…$$`."""
    if text[:1] in "eE":
        return _unescape(text)
    if text[:1] == "$":
        mark = text[: text.index("$", 1) + 1] if "$" in text[1:] else ""
        return text[len(mark) : len(text) - len(mark)]
    return text[1:-1].replace("''", "'")


def _unescape(text: str) -> str:
    r"""The value of `E'…'`, with its `\n`, `\'`, `\x41` and `''` replaced."""

    def replace(match: re.Match[str]) -> str:
        octal, *hexes, letter = match.groups()
        if octal:
            return chr(int(octal, 8))
        for digits in hexes:
            if digits:
                code = int(digits, 16)
                return chr(code) if code <= 0x10FFFF else match.group()
        return _LETTERS.get(letter, letter) if letter else "'"

    return _ESCAPE.sub(replace, text[2:-1])
