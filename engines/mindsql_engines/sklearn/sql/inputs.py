"""Owns the encoder in SQL: each input column as expressions that give what `Encoder.matrix` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mindsql_engines.sklearn import columns
from mindsql_engines.sklearn.encoding import Column, Encoder
from mindsql_engines.sklearn.sql import text
from mindsql_engines.sklearn.sql.text import NotTranslatable, number

_LARGEST = number(columns.LARGEST)
_DAY = "86400000000e0"
_PARTS = {
    "year": "year(make_timestamp({0}))",
    "month": "month(make_timestamp({0}))",
    "day": "day(make_timestamp({0}))",
    "weekday": "isodow(make_timestamp({0})) - 1",
    "hour": "hour(make_timestamp({0}))",
    "days": "{0} / " + _DAY,
    "seconds": "{0} / 1e6",
}
_FRACTIONS = frozenset(["days", "seconds"])


@dataclass
class Steps:
    """Named columns, level by level; a level may name the columns of earlier ones."""

    levels: list[dict[str, str]] = field(default_factory=list)

    def put(self, level: int, name: str, expression: str) -> str:
        """Compute a column once; answers its name."""
        while len(self.levels) <= level:
            self.levels.append({})
        self.levels[level][name] = expression
        return name

    def next(self) -> int:
        """The number of a level after all others."""
        return len(self.levels)

    def size(self) -> int:
        """How long the text is."""
        return sum(len(name) + len(sql) + 8 for level in self.levels for name, sql in level.items())


RAW, VALUES = 0, 1
"""The levels of what is taken from the inputs, and of what is computed of that."""


class Inputs:
    """The matrix of one encoder in SQL. Only what is asked for becomes a step.

    Args:
        encoder: The fitted encoder.
        steps: Where the columns are put.
    """

    def __init__(self, encoder: Encoder, steps: Steps) -> None:
        if any(column.role == "text" for column in encoder.columns):
            raise NotTranslatable("a text column is taken apart into n-grams")
        if any(column.spelling is not None and not column.spelling.plain for column in encoder.columns):
            raise NotTranslatable("a text column holds dates, or numbers with marks and units")
        if encoder.style.categories == "bins":
            raise NotTranslatable("values are binned")
        self.encoder = encoder
        self.steps = steps
        self._column_of: dict[int, Column] = {}
        for column in encoder.columns:
            for place in encoder.places(column):
                self._column_of[place] = column
        self._at = {column.name: at for at, column in enumerate(encoder.columns)}

    def categories(self) -> list[Column]:
        """The columns that are one-hot blocks."""
        return [column for column in self.encoder.columns if column.block >= 0]

    def value(self, place: int) -> str:
        """A plain column as it is before imputation and scaling: DOUBLE, NULL where it is missing."""
        column = self._column_of[place]
        at = self._at[column.name]
        source = text.name(column.name)
        if column.role == "number":
            if column.spelling is not None:
                raw = self.steps.put(RAW, f"__r{at}", f"TRY_CAST(CAST({source} AS VARCHAR) AS DOUBLE)")
                return self.steps.put(VALUES, f"__x{place}", _finite(raw))
            return self.steps.put(RAW, f"__x{place}", _finite(f"CAST({source} AS DOUBLE)"))
        if column.role == "boolean":
            return self.steps.put(RAW, f"__x{place}", f"CAST({source} AS DOUBLE)")
        if column.role == "date":
            # Dates that no timestamp can hold count as missing, and infinite ones. DuckDB takes TIMESTAMP_S and
            # TIMESTAMP_MS to microseconds by way of nanoseconds, which overflow: a TIMESTAMP does not.
            moment = source if "seconds" in column.parts else f"coalesce({source}, NULL::TIMESTAMP)"
            raw = self.steps.put(RAW, f"__r{at}", f"TRY(epoch_us({moment}))")
            part = column.parts[place - column.start]
            return self.steps.put(VALUES, f"__x{place}", f"CAST({_PARTS[part].format(raw)} AS DOUBLE)")
        raise NotTranslatable(f"the role {column.role} has no SQL form")

    def code(self, column: Column) -> str:
        """A category's code as INTEGER, NULL where it is missing or unknown."""
        assert column.categories is not None
        known = column.categories
        expression = _find(column, [str(code) for code in range(len(known.values))])
        if known.rare:
            source = text.name(column.name)
            rare = len(known.values)
            expression = f"CASE WHEN {source} IS NOT NULL THEN coalesce({expression}, {rare}) END"
        return self.steps.put(RAW, f"__c{self._at[column.name]}", expression)

    def looked_up(self, column: Column, known: Sequence[float], unseen: float, missing: float) -> str:
        """A number for each category of a column (the rare ones without theirs), one for others, one for NULL."""
        expression = _find(column, [number(value) for value in known])
        if unseen == missing:
            return f"coalesce({expression}, {number(unseen)})"
        source = text.name(column.name)
        return f"CASE WHEN {source} IS NULL THEN {number(missing)} ELSE coalesce({expression}, {number(unseen)}) END"

    def place_in_list(self, column: Column) -> str:
        """The place, from 1, of a category in the list of `block_values`: the known ones, unseen, NULL."""
        assert column.categories is not None
        count = len(column.categories.values)
        expression = _find(column, [str(at + 1) for at in range(count)])
        source = text.name(column.name)
        return self.steps.put(
            RAW,
            f"__c{self._at[column.name]}",
            f"CASE WHEN {source} IS NULL THEN {count + 2} ELSE coalesce({expression}, {count + 1}) END",
        )

    def block_rows(self, column: Column) -> tuple[list[list[float]], list[float], list[float]]:
        """What a block holds for each known category, for an unseen one and for NULL."""
        assert column.categories is not None
        known = column.categories
        if column.width == 1:  # two values are one column
            return [[0.0], [1.0]], [0.5], [0.5]

        def row(code: int) -> list[float]:
            return [1.0 if code == at else 0.0 for at in range(column.width)]

        rows = [row(code) for code in range(len(known.values))]
        unseen = row(len(known.values) if known.rare else -1)
        return rows, unseen, row(known.size if known.missing else -1)

    def scaled(self, place: int) -> tuple[str, float, float, float]:
        """A plain column as `(value, shift, scale, filled)`: it is `(value - shift) / scale`, or `filled` for NULL."""
        e = self.encoder
        if not e.fill or not e.style.impute:
            raise NotTranslatable("missing numbers are not replaced")
        shift, scale = e.shift[place], e.scale[place]
        filled = (e.fill[place] - shift) / scale
        if e.style.scaling == "unit":
            filled = min(max(filled, 0.0), 1.0)
        return self.value(place), shift, scale, filled

    def flag_of(self, place: int) -> int | None:
        """The matrix column that says that a plain column was missing."""
        flags = self.encoder.flags
        return self.encoder.plain + flags.index(place) if place in flags else None

    def cell(self, place: int) -> tuple[str, bool]:
        """A matrix column of an unscaled matrix, and whether it holds whole numbers below 2^24 only."""
        e = self.encoder
        if e.style.scaling != "none":
            raise NotTranslatable("the matrix is scaled")
        if place >= e.plain:
            if place >= e.plain + len(e.flags):
                raise NotTranslatable("the matrix has one-hot columns")
            missing = self.value(e.flags[place - e.plain])
            return f"CASE WHEN {missing} IS NULL THEN 1e0 ELSE 0e0 END", True
        column = self._column_of[place]
        if column.categories is not None:
            known = column.categories
            if e.style.categories != "codes":
                raise NotTranslatable("categories are not codes")
            rare = float(len(known.values)) if known.rare else -1.0
            return self.looked_up(
                column, [float(code) for code in range(len(known.values))], rare, -1.0
            ), True
        value = self.value(place)
        whole = column.role == "boolean" or (
            column.role == "date" and column.parts[place - column.start] not in _FRACTIONS
        )
        if e.fill and e.style.impute:
            return f"coalesce({value}, {number(e.fill[place])})", whole and e.fill[place].is_integer()
        return value, whole

    def column_at(self, place: int) -> Column:
        """The input column that fills a matrix column."""
        return self._column_of[place]


def _finite(value: str) -> str:
    return f"CASE WHEN abs({value}) <= {_LARGEST} THEN {value} END"


def _find(column: Column, values: Sequence[str]) -> str:
    """What belongs to a category. A map compares bytes whatever the column's collation, and DuckDB looks each value
    of a dictionary up once; a CASE does neither."""
    assert column.categories is not None
    if not values:
        raise NotTranslatable("a category column has no values")
    pairs = zip(column.categories.values, values, strict=True)
    body = ", ".join(f"{text.quoted(key)}: {value}" for key, value in pairs)
    return f"MAP {{{body}}}[CAST({text.name(column.name)} AS VARCHAR)]"
