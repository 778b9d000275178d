"""Owns how numbers and dates are spelt in text: `1.234,5`, `12 EUR`, `7 %`, `3/1/15`; recognising and reading them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mindsql_engines.sklearn import columns

Kind: TypeAlias = Literal["number", "date"]

MOSTLY = 0.95
"""The share of a column's different texts that must be spelt alike."""
LOOKED_AT = 10_000
"""The most different texts that are looked at."""

_FIGURE = re.compile(r"(\D*?)([-+]?(?:\d[\d.,'\u00a0\u202f ]*|[.,]\d+))(\D*)")
_LEADING_ZERO = re.compile(r"0\d+")
_GROUPED = {mark: re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+") for mark in ",.'\u00a0\u202f "}
_BEFORE = re.compile(r"(?:[A-Z]{0,2}[$€£¥₹]|EUR|USD|GBP|CHF|JPY)?")
_AFTER = re.compile(r"(?:[%‰$€£¥₹]|°[CF]?|[A-Za-zµ]{1,4}[²³]?)?")

_DAYS = (
    ("%Y-%m-%d", "year-month-day"),
    ("%Y/%m/%d", "year/month/day"),
    ("%d.%m.%Y", "day.month.year"),
    ("%d.%m.%y", "day.month.year"),
    ("%m/%d/%Y", "month/day/year"),
    ("%m/%d/%y", "month/day/year"),
    ("%d/%m/%Y", "day/month/year"),
    ("%d/%m/%y", "day/month/year"),
    ("%m-%d-%Y", "month-day-year"),
    ("%d-%m-%Y", "day-month-year"),
    ("%d %b %Y", "day month year"),
    ("%b %d, %Y", "month day, year"),
)
_TIMES = ("", " %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M")
_CLOCKS = (("%H:%M", "hour:minute"), ("%H:%M:%S", "hour:minute:second"))
_DIGITS = {
    "%Y": r"\d{4}",
    "%y": r"\d\d",
    "%b": "[A-Za-z]{3}",
    "%H": r"\d\d?",
    "%M": r"\d\d",
    "%S": r"\d\d(?:\.\d+)?",
    "%z": r" ?(?:Z|[+-]\d\d(?::?\d\d)?)",
}
_MONEY = re.compile(r".*[$€£¥₹]|EUR|USD|GBP|CHF|JPY")


@dataclass(frozen=True)
class Spelling:
    """How the texts of a column are spelt.

    Attributes:
        kind: What they are.
        before, after: What stands around each number: a currency, a unit, a percent sign.
        thousands, decimal: The marks between groups of three digits, and before the fraction.
        format: How dates are written, as `strptime` takes it.
        words: The same for people.
    """

    kind: Kind = "number"
    before: str = ""
    after: str = ""
    thousands: str = ""
    decimal: str = "."
    format: str = ""
    words: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is a number as SQL writes it."""
        return self.kind == "number" and not (self.before or self.after or self.thousands or self.decimal != ".")

    def read(self, array: pa.Array) -> Any:
        """The values of an Arrow array of texts: doubles, NaN where a text is none; or timestamps, NULL there."""
        if self.kind == "date":
            return self._dates(columns.texts(array))
        if self.plain:
            return columns.parsed(array)
        return columns.of_distinct(array, self._number)

    def _number(self, value: str | None) -> float:
        if not value:
            return float("nan")
        value = value.strip()
        if not (value.startswith(self.before) and value.endswith(self.after)):
            return float("nan")
        body = value[len(self.before) : len(value) - len(self.after)].strip()
        if self.thousands in body and self.thousands:
            if not _GROUPED[self.thousands].fullmatch(body.partition(self.decimal)[0]):
                return float("nan")  # 1.5 is not 15 where 1.234 is a thousand
            body = body.replace(self.thousands, "")
        return columns.parse(body.replace(self.decimal, ".") if self.decimal != "." else body)

    def _dates(self, array: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(array.type):
            return pa.DictionaryArray.from_arrays(array.indices, self._dates(array.dictionary)).dictionary_decode()
        matching = pc.match_substring_regex(array, f"^(?:{_regex(self.format)})$")
        kept = pc.if_else(matching, array, None)
        if self.format.endswith("%z"):
            return pa.array([_instant(text) for text in kept.to_pylist()], pa.timestamp("us"))
        if self.format.endswith("%S"):  # a fraction of a second is beyond strptime
            kept = pc.replace_substring_regex(kept, r"\.\d+$", "")
        moments = pc.strptime(kept, format=self.format, unit="us", error_is_null=True)
        return moments if "%d" in self.format else moments.cast(pa.time64("us"))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any] | bool | None) -> Spelling | None:
        """What `to_json` gave; True is a plain number."""
        if isinstance(data, Mapping):
            return cls(**data)
        return cls() if data else None


def _instant(text: str | None) -> datetime | None:
    """A date and time with an offset from UTC, in UTC."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z")).astimezone(UTC)
    except ValueError:
        return None


def recognise(values: Sequence[str]) -> Spelling | None:
    """How different texts of one column are spelt; None when they are neither numbers nor dates.

    A code with a leading zero (`00501`) is no number: it would not be the same without the zero.
    """
    sample = [value.strip() for value in values[:LOOKED_AT]]
    if not sample or any(_LEADING_ZERO.fullmatch(value) for value in sample):
        return None
    return _figures(sample) or _dates(sample)


def _figures(sample: Sequence[str]) -> Spelling | None:
    needed = MOSTLY * len(sample)
    if sum(not np.isnan(columns.parse(value)) for value in sample) >= needed:
        return Spelling()
    found = [match for value in sample if (match := _FIGURE.fullmatch(value)) is not None]
    if len(found) < needed:
        return None
    around = [(match[1].strip(), match[3].strip()) for match in found]
    before, after = max(set(around), key=lambda pair: (around.count(pair), pair))
    if not (_BEFORE.fullmatch(before) and _AFTER.fullmatch(after)):
        return None
    bodies = [match[2].strip() for match, pair in zip(found, around, strict=True) if pair == (before, after)]
    for thousands, decimal in _marks(bodies, _MONEY.fullmatch(before or after) is not None):
        spelling = Spelling(before=before, after=after, thousands=thousands, decimal=decimal)
        if sum(not np.isnan(spelling._number(value)) for value in sample) >= needed:
            return Spelling(**{**asdict(spelling), "words": _words(spelling)})
    return None


def _marks(bodies: Sequence[str], money: bool) -> list[tuple[str, str]]:
    """The marks for thousands and fractions that the figures may have been written with, the likeliest first."""
    found: list[tuple[str, str]] = []
    for thousands, decimal in ((",", "."), (".", ","), ("'", "."), (" ", ","), ("\u00a0", ","), ("\u202f", ",")):
        grouped = [body for body in bodies if thousands in body]
        if thousands == "." and not money and not any("," in body or body.count(".") > 1 for body in bodies):
            continue  # 1.234 kg has three decimals, as 1.234 has; money never does
        if grouped and all(_GROUPED[thousands].fullmatch(body.partition(decimal)[0]) for body in grouped):
            found.append((thousands, decimal))
    if any("," in body for body in bodies) and all(body.count(",") <= 1 and "." not in body for body in bodies):
        found.append(("", ","))
    return [*found, ("", ".")]


def _words(spelling: Spelling) -> str:
    said = []
    if spelling.before or spelling.after:
        said.append(f"in {spelling.before or spelling.after}")
    if spelling.thousands:
        said.append(f"with {spelling.thousands!r} between thousands")
    if spelling.decimal == ",":
        said.append("with a decimal comma")
    return " ".join(said)


def _dates(sample: Sequence[str]) -> Spelling | None:
    needed = max(2, MOSTLY * len(sample))
    days = [(day + time, words) for time in _TIMES for day, words in _DAYS]
    zoned = [(f"{form}%z", f"{words} with an offset from UTC") for form, words in days if "%Y-%m-%d" in form[:-6]]
    for form, words in (*days, *zoned, *_CLOCKS):
        pattern = re.compile(_regex(form))
        if sum(pattern.fullmatch(value) is not None for value in sample) < needed:
            continue
        spelling = Spelling("date", format=form, words=words)
        if len(sample) - spelling.read(pa.array(sample, pa.string())).null_count >= needed:
            return spelling
    return None


def _regex(form: str) -> str:
    pattern = re.escape(form)
    for mark, digits in _DIGITS.items():
        pattern = pattern.replace(mark, digits)
    return pattern.replace("%m", r"\d\d?").replace("%d", r"\d\d?")

