"""Owns the functions and operators that MySQL has and DuckDB has not, as report tools write them: what each means.

A call of one is written anew, the words around it stay. What DuckDB knows by that name keeps DuckDB's meaning. Source:
the chapter "Functions and Operators" of MySQL's reference manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from mindsql.database import literal
from mindsql.server.mysql.lexer import Token, tokens

_DEEPEST = 50
_TYPES = {"SIGNED": "BIGINT", "UNSIGNED": "UBIGINT", "DATETIME": "TIMESTAMP", "CHAR": "VARCHAR", "NCHAR": "VARCHAR",
          "DECIMAL": "DECIMAL(10, 0)", "BINARY": "BLOB"}  # fmt: skip
_UNITS = ("MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
_SPECIFIERS = {
    **{same: f"%{same}" for same in "abdfHIjmpSwyY%"},
    "c": "%-m", "e": "%-d", "h": "%I", "i": "%M", "k": "%-H", "l": "%-I", "M": "%B", "s": "%S", "v": "%V", "W": "%A",
    "x": "%G", "T": "%H:%M:%S", "r": "%I:%M:%S %p",
}  # fmt: skip
_TIMES = re.compile(r"%[fHhIiklprSsT]")
_STRING = re.compile(r"'((?:[^']|'')*)'")

Call = Callable[..., "str | None"]
"""From the texts of a call's arguments to what stands for the call; None when it is to stay as it is."""


def _strftime(value: str, form: str) -> str | None:
    format_ = _format(form)
    return f"strftime(CAST({value} AS TIMESTAMP), {format_})" if format_ is not None else None


def _strptime(value: str, form: str) -> str | None:
    format_ = _format(form)
    if format_ is None:
        return None
    parsed = f"try_strptime({value}, {format_})"
    return parsed if _TIMES.search(form) else f"CAST({parsed} AS DATE)"


def _format(form: str) -> str | None:
    """A format of MySQL's, a literal, in DuckDB's specifiers; None when it holds one that DuckDB has not."""
    found = _STRING.fullmatch(form)
    if found is None:
        return None
    parts = re.split(r"%(.)", found[1].replace("''", "'"))
    if any(name not in _SPECIFIERS for name in parts[1::2]):
        return None
    return literal("".join(_SPECIFIERS[part] if odd % 2 else part for odd, part in enumerate(parts)))


def _from_unixtime(value: str, form: str | None = None) -> str | None:
    moment = f"CAST(to_timestamp({value}) AS TIMESTAMP)"
    return moment if form is None else _strftime(moment, form)


def _shifted(sign: str) -> Call:
    def call(value: str, interval: str) -> str | None:
        found = re.fullmatch(r"INTERVAL\s+(.+?)\s+(\w+)", interval, re.I | re.S)
        if found is None or found[2].upper() not in _UNITS:
            return None
        return f"(CAST({value} AS TIMESTAMP) {sign} INTERVAL ({found[1]}) {found[2]})"

    return call


def _difference(unit: str, start: str, end: str) -> str | None:
    if unit.upper() not in _UNITS:
        return None
    return f"date_sub('{unit.lower()}', CAST({start} AS TIMESTAMP), CAST({end} AS TIMESTAMP))"


def _convert(*given: str) -> str | None:
    if len(given) == 1:
        found = re.fullmatch(r"(.+)\sUSING\s+\w+", given[0], re.I | re.S)
        return f"CAST({found[1]} AS VARCHAR)" if found is not None else None
    return f"CAST({given[0]} AS {_type(given[1])})" if len(given) == 2 else None


def _cast(value: str) -> str | None:
    found = re.fullmatch(r"(.+\s)AS(\s+.+)", value, re.I | re.S)
    kind = _type(found[2]) if found is not None else ""
    return f"CAST({found[1]}AS {kind})" if found is not None and kind != found[2].strip() else None


def _type(name: str) -> str:
    plain = re.sub(r"\s+(INTEGER|INT)$", "", name.strip(), flags=re.I).upper()
    return _TYPES.get(re.sub(r"^(N?CHAR|BINARY|DATETIME)\s*\(.*\)$", r"\1", plain), name.strip())


def _group_concat(value: str) -> str | None:
    found = re.fullmatch(r"(.+?)(\sORDER\s+BY\s.+?)?\sSEPARATOR\s+('(?:[^']|'')*')", value, re.I | re.S)
    return f"string_agg({found[1]}, {found[3]}{found[2] or ''})" if found is not None else None


_CALLS: Mapping[str, Call] = {
    "UNIX_TIMESTAMP": lambda value="now()": f"CAST(floor(epoch(CAST({value} AS TIMESTAMPTZ))) AS BIGINT)",
    "FROM_UNIXTIME": _from_unixtime,
    "DATE_FORMAT": _strftime,
    "STR_TO_DATE": _strptime,
    "CURDATE": lambda: "current_date",
    "CURTIME": lambda: "CAST(now() AS TIME)",
    "SYSDATE": lambda: "CAST(now() AS TIMESTAMP)",
    "UTC_TIMESTAMP": lambda: "(now() AT TIME ZONE 'UTC')",
    "DATE_ADD": _shifted("+"),
    "ADDDATE": _shifted("+"),
    "DATE_SUB": _shifted("-"),
    "SUBDATE": _shifted("-"),
    "DATEDIFF": lambda end, start: f"(CAST({end} AS DATE) - CAST({start} AS DATE))",
    "TIMESTAMPDIFF": _difference,
    "CONVERT": _convert,
    "CAST": _cast,
    "GROUP_CONCAT": _group_concat,
    "ISNULL": lambda value: f"(({value}) IS NULL)",
}
_KEYWORDS = re.compile(
    "SELECT|DISTINCT|ALL|FROM|WHERE|AND|OR|NOT|ON|BY|HAVING|AS|CASE|WHEN|THEN|ELSE|IN|BETWEEN|LIKE|IS|LIMIT|OFFSET"
    "|GROUP|ORDER|UNION|JOIN|LEFT|RIGHT|INNER|CROSS|USING|ASC|DESC",
    re.I,
)
_WORDS = re.compile(rf"\b(?:(?:{'|'.join(_CALLS)})\s*\(|DIV\b|INTERVAL\s*-)", re.I)


def in_duckdb(text: str) -> str:
    """A statement with MySQL's own functions written as DuckDB's; in time linear in its length."""
    if _WORDS.search(text) is None:
        return text
    return _Writer(list(tokens(text))).text()


class _Writer:
    def __init__(self, pieces: Sequence[Token]) -> None:
        self.pieces = pieces
        self.closing: dict[int, int] = {}
        opened: list[int] = []
        for index, token in enumerate(pieces):
            if token == ("other", "("):
                opened.append(index)
            elif token == ("other", ")") and opened:
                self.closing[opened.pop()] = index

    def text(self) -> str:
        return self.written(0, len(self.pieces), 0)

    def written(self, start: int, end: int, depth: int) -> str:
        """What stands for the pieces from `start` up to `end`."""
        found: list[str] = []
        index = start
        while index < end:
            token = self.pieces[index]
            after = self.next(index, end)
            word = token.text.upper() if token.kind == "word" else ""
            close = self.closing.get(after, end)
            if word in _CALLS and close < end and depth < _DEEPEST and not self.is_qualified(index):
                given = self.arguments(after + 1, close, depth)
                head = "".join(piece.text for piece in self.pieces[index : after + 1])
                found.append(_call(_CALLS[word], [text.strip() for text in given]) or f"{head}{','.join(given)})")
                index = close + 1
            elif word == "DIV" and self.is_operator(index, start, end):
                found.append("//")
                index += 1
            elif word == "INTERVAL" and self.is_negative(after, end):
                found.append(f"INTERVAL (-{self.pieces[self.next(after, end)].text})")
                index = self.next(after, end) + 1
            else:
                # A comment may not swallow what comes to stand after it.
                found.append(" " if depth and token.kind == "comment" else token.text)
                index += 1
        return "".join(found)

    def next(self, index: int, end: int) -> int:
        """The index of the next piece that is no white space and no comment."""
        index += 1
        while index < end and not self.pieces[index].significant:
            index += 1
        return index

    def is_operator(self, index: int, start: int, end: int) -> bool:
        """Whether DIV stands between two operands; it may be a name, too."""
        before = index - 1
        while before >= start and not self.pieces[before].significant:
            before -= 1
        after = self.next(index, end)
        if before < start or after >= end:
            return False
        left, right = self.pieces[before], self.pieces[after]
        ends = left.kind in ("number", "quoted", "variable") or left.text in (")", "?", "]")
        begins = right.kind in ("number", "quoted", "variable") or right.text in ("(", "?", "-", "+")
        return (ends or (left.kind == "word" and _KEYWORDS.fullmatch(left.text) is None)) and (
            begins or (right.kind == "word" and _KEYWORDS.fullmatch(right.text) is None)
        )

    def is_negative(self, index: int, end: int) -> bool:
        """Whether `- 30 DAY` begins there."""
        number = self.next(index, end)
        unit = self.next(number, end)
        return (
            unit < end
            and self.pieces[index] == ("other", "-")
            and self.pieces[number].kind == "number"
            and self.pieces[unit].text.upper() in _UNITS
        )

    def is_qualified(self, index: int) -> bool:
        """Whether a name belongs to something: `m.div`."""
        return index > 0 and self.pieces[index - 1] == ("other", ".")

    def arguments(self, start: int, end: int, depth: int) -> list[str]:
        """The texts of a call's arguments, as they stand, with the calls in them written anew."""
        cuts, index = [start - 1], start
        while index < end:
            if self.pieces[index] == ("other", ","):
                cuts.append(index)
            index = self.closing.get(index, index) + 1
        cuts.append(end)
        given = [self.written(before + 1, after, depth + 1) for before, after in pairwise(cuts)]
        return given if len(given) > 1 or given[0].strip() else []


def _call(call: Call, given: Sequence[str]) -> str | None:
    try:
        return call(*given)
    except TypeError:  # not so many arguments: DuckDB's, or a mistake
        return None
