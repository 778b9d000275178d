"""Owns the reading of DuckDB's type names: `STRUCT(a INTEGER, b MAP(VARCHAR, DATE[]))` as a small tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_NESTED = frozenset({"STRUCT", "MAP", "UNION", "TUPLE"})
_ARRAY = re.compile(r"\[\d*\]$")
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
_NUMBERS = _INTEGERS | {"INTEGER", "UINTEGER", "BIGNUM", "FLOAT", "DOUBLE", "DECIMAL"}


class Type(NamedTuple):
    """A type: its name without arguments (`LIST` for both `T[]` and `T[3]`), and the types inside it.

    Args:
        name: `INTEGER`, `TIMESTAMP WITH TIME ZONE`, `LIST`, `STRUCT`, `MAP`, …
        inner: The types inside: one of a LIST, two of a MAP, one per field of a STRUCT.
        fields: The field names of a STRUCT or UNION.
    """

    name: str
    inner: tuple[Type, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether values are numbers, which tables align to the right."""
        return self.name in _NUMBERS

    def walk(self) -> Iterator[Type]:
        """This type and all types inside it."""
        yield self
        for part in self.inner:
            yield from part.walk()


@lru_cache(maxsize=512)
def parse(spelling: str) -> Type:
    """The tree of a type as DuckDB spells it; what it does not know becomes a plain name."""
    text = spelling.strip()
    if array := _ARRAY.search(text):
        return Type("LIST", (parse(text[: array.start()]),))
    head, opening, rest = text.partition("(")
    name = head.strip().strip('"').upper()
    if not opening or name not in _NESTED:
        return Type(name)
    parts = _split(rest.rstrip()[:-1])
    if name in ("MAP", "TUPLE"):
        return Type(name, tuple(parse(part) for part in parts))
    named = [_field(part) for part in parts]
    return Type(name, tuple(parse(kind) for _, kind in named), tuple(field for field, _ in named))


def _split(text: str) -> list[str]:
    """The parts of `text` between commas that stand outside parentheses and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for at, mark in enumerate(text):
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
        elif mark == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    if text.strip():
        parts.append(text[start:].strip())
    return parts


def _field(part: str) -> tuple[str, str]:
    """The name and the type of one field of a STRUCT."""
    if quoted := re.match(r'"((?:[^"]|"")*)"\s*', part):
        return quoted.group(1).replace('""', '"'), part[quoted.end() :]
    name, _, kind = part.partition(" ")
    return name, kind
