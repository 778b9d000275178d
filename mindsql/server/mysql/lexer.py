"""Owns the text of a statement as a MySQL client wrote it: where its strings, comments and words lie.

It knows just enough of both dialects to leave strings and comments alone. What it takes out or puts in is what
drivers write by themselves; a statement that a person wrote in DuckDB's dialect passes unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mindsql.server.mysql.errors import MySQLError

# Whatever begins and does not end takes the rest: so a text is read once, however it is made.
_TOKEN = r"""
      (?P<bytes>\b_binary\s*'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z))
    | (?P<string>\b[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)|{plain}
        |\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<quoted>"[^"]*(?:""[^"]*)*(?:"|\Z)|`[^`]*(?:``[^`]*)*(?:`|\Z))
    | (?P<conditional>/\*!.*?(?:\*/|\Z))
    | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z)|\#(?!\d)[^\n]*)
    | (?P<variable>@@(?:(?:session|global|local)\s*\.\s*)?(?:\w+|`\w+`)|(?<![<\w])@[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<space>\s+)
    | (?P<other>.)
    """
_FLAGS = re.X | re.S | re.I
_PLAIN = re.compile(_TOKEN.replace("{plain}", r"'[^']*(?:''[^']*)*(?:'|\Z)"), _FLAGS)
_ESCAPED = re.compile(_TOKEN.replace("{plain}", r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)"), _FLAGS)
_PLAIN_STRING = re.compile(r"'[^']*(?:''[^']*)*'")
_ESCAPED_STRING = re.compile(r"(?:_binary\s*)?'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'", re.S | re.I)
_CONDITIONAL = re.compile(r"/\*!(?P<version>\d{5,6})?(?P<text>.*?)(?:\*/)?", re.S)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}
_VERSION = 80036
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_MOST_ROWS = 2**63 - 1
_DOUBTFUL = re.compile(r"/\*!|_binary\s*'|#|\blimit\b|\bdual\b|[\udc80-\udcff]", re.I)


class Token(NamedTuple):
    """A piece of a statement: its kind (a group of the pattern) and its text."""

    kind: str
    text: str

    @property
    def significant(self) -> bool:
        """Whether it is neither white space nor a comment."""
        return self.kind not in ("space", "comment")


def tokens(text: str, pattern: re.Pattern[str] = _PLAIN) -> Iterator[Token]:
    """The tokens of a text; together they are the text."""
    for found in pattern.finditer(text):
        kind = found.lastgroup
        yield Token("string" if kind == "tag" else kind or "other", found[0])


def placeholders(text: str) -> int:
    """How many `?` a text holds outside strings and comments."""
    return sum(token == ("other", "?") for token in tokens(text)) if "?" in text else 0


def normalized(text: str, backslashes: bool = False) -> str:
    """A client's text in DuckDB's dialect.

    Args:
        backslashes: Whether `\\` escapes in its strings, as it does in MySQL unless the mode says otherwise.

    `/*!40101 … */` is opened, `_binary'…'` becomes a BLOB, `LIMIT a, b` becomes `OFFSET a LIMIT b`, `FROM DUAL` goes.
    """
    if backslashes and "\\" in text:
        text = "".join(_unescaped(token) for token in tokens(text, _ESCAPED))
    if _DOUBTFUL.search(text) is None:
        return text
    opened = "".join(_opened(token) for token in tokens(text))
    pieces = list(tokens(opened))
    for position, token in enumerate(pieces):
        word = token.text.upper() if token.kind == "word" else ""
        if word == "LIMIT":
            _limit(pieces, position)
        elif word == "DUAL":
            before = _neighbour(pieces, position, -1)
            if before is not None and pieces[before].text.upper() == "FROM":
                pieces[before] = pieces[position] = Token("space", " ")
    whole = "".join(token.text for token in pieces)
    if not _is_text(whole):
        raise MySQLError(
            "the statement is not in the character set that it claims", 1300, "HY000", hint="SET NAMES"
        )
    return whole


def replaced(text: str, change: Callable[[Token, Token | None], str | None]) -> str:
    """A text with some of its variables and words replaced.

    Args:
        change: Gives the new text of a token, seeing the next significant one too; None leaves it as it is.
            A word followed by `(` `)` is replaced together with them. An item of the SELECT list that is replaced as
            a whole keeps its old text as its name.
    """
    pieces = list(tokens(text))
    listing, depth = True, 0
    for position, token in enumerate(pieces):
        if token.kind == "other":
            depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if token.kind not in ("variable", "word"):
            continue
        # Names can stand in the SELECT list alone, not behind FROM or BY, or within parentheses.
        listing = listing and token.text.upper() not in ("FROM", "BY")
        following = _neighbour(pieces, position, 1)
        new = change(token, pieces[following] if following is not None else None)
        if new is None:
            continue
        end = position
        if token.kind == "word" and following is not None and pieces[following].text == "(":
            closing = _neighbour(pieces, following, 1)
            if closing is None or pieces[closing].text != ")":
                continue
            end = closing
        if listing and depth == 0 and _is_item(pieces, position, end):
            old = "".join(piece.text for piece in pieces[position : end + 1])
            new = f'{new} AS "{old.replace(chr(34), chr(34) * 2)}"'
        pieces[position : end + 1] = [Token("text", new)] + [Token("space", "")] * (end - position)
    return "".join(piece.text for piece in pieces)


def _opened(token: Token) -> str:
    if token.kind == "bytes" and _ESCAPED_STRING.fullmatch(token.text):
        return _blob(_characters(token.text))
    if token.kind == "string" and _PLAIN_STRING.fullmatch(token.text) and not _is_text(token.text):
        return _blob(token.text[1:-1].replace("''", "'"))
    if token.kind == "comment" and token.text.startswith("#"):
        return "--" + token.text[1:]
    if token.kind != "conditional":
        return token.text
    found = _CONDITIONAL.fullmatch(token.text)
    if found is None or int(found["version"] or 0) > _VERSION:
        return " "
    return f" {found['text']} "


def _is_text(text: str) -> bool:
    """Whether all of it could be decoded."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _unescaped(token: Token) -> str:
    """A string with MySQL's escapes as one without."""
    if token.kind != "string" or token.text[0] != "'" or not _ESCAPED_STRING.fullmatch(token.text):
        return token.text
    return "'" + _characters(token.text).replace("'", "''") + "'"


def _characters(text: str) -> str:
    inner = text[text.index("'") + 1 : -1]
    return re.sub(r"\\(.)|''", lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", inner, flags=re.S)


def _blob(characters: str) -> str:
    """A BLOB literal. What could not be decoded becomes the bytes that it was."""
    value = characters.encode("utf-8", "surrogateescape")
    return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"


def _limit(pieces: list[Token], position: int) -> None:
    """`LIMIT a, b` counts the rows to leave out first, and all rows are 2⁶⁴-1 to MySQL."""
    first = _neighbour(pieces, position, 1)
    comma = _neighbour(pieces, first, 1) if first is not None else None
    last = first
    if first is not None and comma is not None and pieces[comma].text == ",":
        last = _neighbour(pieces, comma, 1)
        if last is None or not _is_count(pieces[first]) or not _is_count(pieces[last]):
            return
        pieces[position] = Token("word", "OFFSET")
        pieces[comma] = Token("other", " LIMIT")
        if last == comma + 1:
            pieces[comma] = Token("other", " LIMIT ")
    if last is not None and pieces[last].text.isdigit() and int(pieces[last].text) > _MOST_ROWS:
        pieces[last] = Token("number", str(_MOST_ROWS))


def _is_count(token: Token) -> bool:
    return token.text == "?" or token.text.isdigit()


def _is_item(pieces: list[Token], start: int, end: int) -> bool:
    """Whether these tokens are an item of a list by themselves."""
    before, after = _neighbour(pieces, start, -1), _neighbour(pieces, end, 1)
    opening = pieces[before].text.upper() if before is not None else ""
    closing = pieces[after].text.upper() if after is not None else ";"
    return opening in ("SELECT", ",") and closing in (",", ";", "FROM", "LIMIT")


def _neighbour(pieces: list[Token], position: int, step: int) -> int | None:
    position += step
    while 0 <= position < len(pieces):
        if pieces[position].significant and pieces[position].text:
            return position
        position += step
    return None
