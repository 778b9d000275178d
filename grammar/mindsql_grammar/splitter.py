"""Owns the cutting of a text into statements; the only place that reads quotes and comments by hand.

It never fails: what is not closed runs to the end of the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SCAN = r"""
    (?P<comment> --[^\n\r]* )
  | (?P<block> /\* )
  | (?P<string>
        (?<![\w$])[eE]'(?:[^'\\]+|''|\\.)*(?:'|\Z|\\\Z)
      | {single}
      | "[^"]*(?:"|\Z)
      | `[^`]*(?:`|\Z)
      | (?<![\w$])(?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=dollar)|\Z)
    )
  | (?P<mark> [();] )
"""
_PLAIN = re.compile(_SCAN.replace("{single}", r"'[^']*(?:'|\Z)"), re.VERBOSE | re.DOTALL)
# The reading of MySQL and others, tried when the plain one never closes its last string.
_BACKSLASH = re.compile(
    _SCAN.replace("{single}", r"'(?:[^'\\]+|''|\\.)*(?:'|\Z|\\\Z)"), re.VERBOSE | re.DOTALL
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_WORD = re.compile(r"[^\W\d]\w*")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Piece:
    """One statement of a script: its text without the `;`, and where it starts."""

    text: str
    start: int


@dataclass(frozen=True)
class Mark:
    """A part of a text that is not plain: `comment`, `string`, or one of `(`, `)`, `;`."""

    kind: str
    start: int
    end: int


def marks(text: str, start: int = 0, pattern: re.Pattern[str] = _PLAIN) -> Iterator[Mark]:
    """Comments, quoted parts, parentheses and semicolons of `text` from `start` on."""
    position = start
    while match := pattern.search(text, position):
        kind = match.lastgroup or ""
        if kind == "block":
            position = _block_end(text, match.start())
            yield Mark("comment", match.start(), position)
            continue
        position = match.end()
        if kind == "mark":
            yield Mark(text[match.start()], match.start(), position)
        else:
            yield Mark("comment" if kind == "comment" else "string", match.start(), position)


def split(text: str) -> list[Piece]:
    """The statements of `text`, without their `;`, without comments round them; empty ones are left out."""
    pieces: list[Piece] = []
    begin, depth = 0, 0
    comments: list[Mark] = []
    for mark in _settled_marks(text):
        if mark.kind == "(":
            depth += 1
        elif mark.kind == ")":
            depth = max(0, depth - 1)
        elif mark.kind == "comment" and not _is_open(text, mark):
            comments.append(mark)
        elif mark.kind == ";" and depth == 0:
            _append(pieces, text, begin, mark.start, comments)
            begin, comments = mark.end, []
    _append(pieces, text, begin, len(text), comments)
    return pieces


def has_more_than(text: str, most: int) -> bool:
    """Whether `text` has more than so many `;` outside of strings and comments; it is read no further than needed."""
    ends = (mark for mark in marks(text) if mark.kind == ";")
    return next(itertools.islice(ends, most, None), None) is not None


def is_complete(text: str) -> bool:
    """Whether `text` ends with a `;` that stands outside strings, comments and parentheses."""
    depth, end = 0, -1
    comments: list[Mark] = []
    for mark in _settled_marks(text):
        if mark.kind == "(":
            depth += 1
        elif mark.kind == ")":
            depth = max(0, depth - 1)
        elif mark.kind == "comment" and not _is_open(text, mark):
            comments.append(mark)
        elif mark.kind == ";" and depth == 0:
            end, comments = mark.end, []
    return end >= 0 and _trimmed(text, end, len(text), comments) is None and not unterminated(text)


def close_paren(text: str, opening: int) -> int | None:
    """The offset of the `)` that closes the `(` at `opening`; quotes and comments are stepped over."""
    for pattern in (_PLAIN, _BACKSLASH):
        depth = 0
        for mark in marks(text, opening, pattern):
            if mark.kind == "(":
                depth += 1
            elif mark.kind == ")":
                depth -= 1
                if depth == 0:
                    return mark.start
    return None


def unterminated(text: str) -> Mark | None:
    """The quoted part or comment of `text` that never ends, if there is one."""
    last = max(marks(text), key=lambda mark: mark.start, default=None)
    if last is None or last.end < len(text) or last.kind not in ("comment", "string"):
        return None
    return last if _is_open(text, last) else None


def skip_blank(text: str, position: int = 0) -> int:
    """The offset of the first character from `position` on that is neither space nor comment."""
    while True:
        position = _end(_SPACE, text, position)
        if text.startswith("--", position):
            ends = [e for e in (text.find("\n", position), text.find("\r", position)) if e >= 0]
            position = min(ends, default=len(text))
        elif text.startswith("/*", position):
            position = _block_end(text, position)
        else:
            return position


def leading_words(text: str, count: int) -> list[tuple[str, int, int]]:
    """Up to `count` bare words that `text` begins with, upper case, with their offsets."""
    words: list[tuple[str, int, int]] = []
    position = skip_blank(text)
    while len(words) < count and (match := _WORD.match(text, position)):
        words.append((match.group().upper(), match.start(), match.end()))
        position = skip_blank(text, match.end())
    return words


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _block_end(text: str, start: int) -> int:
    """Where the block comment at `start` ends; block comments nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _settled_marks(text: str) -> list[Mark]:
    found = list(marks(text))
    if found and "\\'" in text and found[-1].kind == "string" and _is_open(text, found[-1]):
        other = list(marks(text, 0, _BACKSLASH))
        if other and not _is_open(text, other[-1]):
            return other
    return found


def _is_open(text: str, mark: Mark) -> bool:
    if mark.end < len(text):
        return False
    part = text[mark.start : mark.end]
    if mark.kind == "comment":
        return part.startswith("/*") and _block_depth(part) > 0
    if mark.kind != "string":
        return False
    if part[0] == "$":
        tag = part[: part.index("$", 1) + 1]
        return len(part) < 2 * len(tag) or not part.endswith(tag)
    if part[0] in "eE":
        return re.fullmatch(r"[eE]'(?:[^'\\]++|''|\\.)*+'", part, re.DOTALL) is None
    return len(part) < 2 or not part.endswith(part[0])


def _block_depth(part: str) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(part):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            break
    return depth


def _append(pieces: list[Piece], text: str, start: int, end: int, comments: list[Mark]) -> None:
    bounds = _trimmed(text, start, end, comments)
    if bounds is not None:
        pieces.append(Piece(text[bounds[0] : bounds[1]], bounds[0]))


def _trimmed(text: str, start: int, end: int, comments: list[Mark]) -> tuple[int, int] | None:
    """The bounds of what is left of `text[start:end]` without spaces and comments round it."""
    for comment in comments:
        if text[start : comment.start].strip():
            break
        start = comment.end
    for comment in reversed(comments):
        if comment.start < start or text[comment.end : end].strip():
            break
        end = comment.start
    inner = text[start:end]
    bare = inner.strip()
    if not bare:
        return None
    start += inner.index(bare[0])
    return start, start + len(bare)
