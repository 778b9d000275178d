"""Owns how columns of data frames become Arrow arrays, and Arrow arrays become numbers, texts and moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mindsql.errors import DataError
from mindsql.frames import TrainingRows
from mindsql.schema import Schema, family, is_integer

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Codes = NDArray[np.int64]

LARGEST = 3e38
"""Numbers beyond this do not fit the 32 bits that trees compute with; they and infinities count as NULL."""

SMALL = 16
"""Up to so many rows, Python is faster than calling Arrow and numpy."""

_DECODED = 2**21
"""So many numbers of a training are kept beside its columns."""

_DAY = 86_400_000_000
_MOST_MICROS = 2**63 - 2
_UNITS = {"s": 1_000_000, "ms": 1000, "us": 1}

_ARROW = {
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "HUGEINT": pa.decimal128(38, 0),
    "UTINYINT": pa.uint8(),
    "USMALLINT": pa.uint16(),
    "UINTEGER": pa.uint32(),
    "UBIGINT": pa.uint64(),
    "UHUGEINT": pa.decimal128(38, 0),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
}


def arrow_type(duckdb_type: str) -> Any:
    """The Arrow type that answers of a DuckDB type have."""
    name = duckdb_type.strip().upper()
    if name.startswith(("DECIMAL(", "NUMERIC(")):
        precision, scale = (int(part) for part in name[name.index("(") + 1 : -1].split(","))
        return pa.decimal128(precision, scale)
    if name in ("DECIMAL", "NUMERIC"):
        return pa.decimal128(18, 3)
    return _ARROW.get(name, pa.string())


def guess_type(series: pd.Series[Any]) -> str:
    """The DuckDB type of a data frame's column, for callers that give no schema."""
    kind = series.dtype.kind
    if kind in "iu":
        return "BIGINT"
    if kind == "f":
        return "DOUBLE"
    if kind == "b":
        return "BOOLEAN"
    if kind == "M":
        return "TIMESTAMP"
    import pandas as pd

    inferred = pd.api.types.infer_dtype(series, skipna=True)
    return {
        "boolean": "BOOLEAN",
        "integer": "BIGINT",
        "decimal": "DOUBLE",
        "date": "DATE",
        "time": "TIME",
    }.get(inferred, "VARCHAR")


def rows_of(df: pd.DataFrame, schema: Schema) -> tuple[TrainingRows, Schema]:
    """A data frame as training rows, and the DuckDB types of its columns: guessed where the schema has none."""
    arrays: dict[str, pa.Array] = {}
    pairs: list[tuple[str, str]] = []
    for column in df.columns:
        name = str(column)
        found = schema.find(name)
        kind = found.type if found is not None else guess_type(df[column])
        pairs.append((name, kind))
        unfit = family(kind) in ("nested", "binary", "other") and not is_vector(kind)
        arrays[name] = pa.nulls(len(df)) if unfit else from_series(df[column], name, kind)
    return TrainingRows(pa.table(arrays)), Schema.of(pairs)


def from_series(series: pd.Series[Any], name: str, duckdb_type: str) -> pa.Array:
    """A data frame's column as an Arrow array: numbers and booleans as they are or as doubles, texts as strings."""
    kind = family(duckdb_type)
    try:
        if kind in ("number", "boolean") and series.dtype.kind not in "biuf":
            return pa.array(series.to_numpy(dtype="float64", na_value=np.nan))
        array = pa.array(series, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        if kind != "text":
            raise DataError(f'column "{name}" does not hold {duckdb_type} values') from error
        missing = series.isna()
        array = pa.array(
            [None if gone else str(v) for v, gone in zip(series, missing, strict=True)], pa.string()
        )
    if kind == "text" and not pa.types.is_dictionary(array.type) and not pa.types.is_string(array.type):
        try:
            array = array.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise DataError(f'column "{name}" holds more than 2 GB of text') from error
    return array


class Inputs(dict[str, pa.Array]):
    """The columns of a training by name. The numbers of a small one are read once, for all who look at them.

    Attributes:
        decoded: The numbers of its columns of numbers and booleans, an array of shape (columns, rows); None when they
            are many, and then each is read when it is asked for.
    """

    def __init__(self, arrays: Mapping[str, pa.Array], types: Mapping[str, str], rows: int) -> None:
        super().__init__(arrays)
        names = [name for name in arrays if family(types[name]) in ("number", "boolean")]
        small = rows > SMALL and len(names) * rows <= _DECODED
        self.decoded = _stacked(arrays, names, rows) if small else None
        self._places = dict(zip(names, range(len(names)), strict=True)) if small else {}

    def numbers(self, name: str) -> Numbers:
        """A column as `numbers` gives it."""
        at = self._places.get(name)
        return numbers(self[name], name) if at is None or self.decoded is None else self.decoded[at]

    def block(self, names: Sequence[str], rows: int) -> Numbers:
        """See `block`."""
        if self.decoded is None or not all(name in self._places for name in names):
            return _stacked(self, names, rows)
        places = [self._places[name] for name in names]
        start, end = places[0], places[-1] + 1
        return self.decoded[start:end] if places == list(range(start, end)) else self.decoded[places]

    def clear(self) -> None:
        """Keep nothing."""
        super().clear()
        self.decoded = None


class Picked(Mapping[str, pa.Array]):
    """Some rows of columns, each picked when it is asked for: an encoder needs few at a time."""

    def __init__(self, whole: Inputs | Picked, rows: Codes) -> None:
        self.whole = whole
        self.rows = rows
        self._places = pa.array(rows)

    def __getitem__(self, name: str) -> pa.Array:
        return self.whole[name].take(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)

    def block(self, names: Sequence[str], rows: int) -> Numbers:
        """See `block`."""
        return self.whole.block(names, len(self.whole[names[0]])).take(self.rows, axis=1)


def numbers(array: pa.Array, name: str = "") -> Numbers:
    """An Arrow array of numbers or booleans as doubles, NaN where it is NULL or does not fit."""
    return fitting(_doubles(array, name))


def fitting(values: Numbers) -> Numbers:
    """Numbers, NaN where they do not fit."""
    # Two passes without a copy tell that nothing is to be done; of NaN the least and the largest are NaN.
    if not values.size or (values.min() >= -LARGEST and values.max() <= LARGEST):
        return values
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def block(arrays: Mapping[str, pa.Array], names: Sequence[str], rows: int) -> Numbers:
    """Columns of numbers or booleans as `numbers` gives them, in an array of shape (columns, rows); not to be changed.

    For few rows this takes a fraction of the time that the columns take one by one.
    """
    return arrays.block(names, rows) if isinstance(arrays, Inputs | Picked) else _stacked(arrays, names, rows)


def _stacked(arrays: Mapping[str, pa.Array], names: Sequence[str], rows: int) -> Numbers:
    made = np.empty((len(names), rows))
    for at, name in enumerate(names):
        made[at] = _doubles(arrays[name], name)
    return fitting(made)


def _doubles(array: pa.Array, name: str) -> Numbers:
    if len(array) <= SMALL:
        try:
            return np.array([np.nan if v is None else float(v) for v in array.to_pylist()], dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f'column "{name}" takes numbers, not {array.type}') from error
    try:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_decimal(array.type) and array.type.scale:
            return _decimals(array)
        if not pa.types.is_float64(array.type):
            array = pc.cast(array, pa.float64(), safe=False)
        found: Numbers = array.to_numpy(zero_copy_only=False)
        return found
    except pa.ArrowInvalid as error:
        raise DataError(f'column "{name}" takes numbers, not {array.type}') from error


def is_vector(duckdb_type: str) -> bool:
    """Whether a type is a list of numbers, as embeddings are: `DOUBLE[]`, `FLOAT[384]`."""
    element, bracket, _ = duckdb_type.strip().rpartition("[")
    return bool(bracket) and family(element) in ("number", "boolean")


def width_of(array: pa.Array) -> int:
    """How many numbers each list of an Arrow array holds; 0 when not all hold equally many."""
    if pa.types.is_fixed_size_list(array.type):
        return int(array.type.list_size)
    lengths = pc.unique(pc.list_value_length(array).drop_null()) if pa.types.is_nested(array.type) else []
    return int(lengths[0].as_py()) if len(lengths) == 1 else 0


def vectors(array: pa.Array, width: int, name: str = "") -> list[Numbers]:
    """Lists of so many numbers as that many arrays of doubles, NaN where the list is NULL. Raises DataError."""
    made = np.full((len(array), width), np.nan)
    there = array.is_valid().to_numpy(zero_copy_only=False)
    if there.any():
        if not pa.types.is_nested(array.type):
            raise DataError(f'column "{name}" takes lists of {width} numbers, not {array.type}')
        lengths = pc.list_value_length(array.filter(array.is_valid()))
        other = next((length for length in pc.unique(lengths).to_pylist() if length != width), None)
        if other is not None:
            raise DataError(
                f'column "{name}" takes lists of {width} numbers, and one holds {other}',
                hint="give lists as long as those of the training, or NULL",
            )
        made[there] = numbers(array.flatten(), name).reshape(-1, width)
    return list(made.T)


def _decimals(array: pa.Array) -> Numbers:
    """Decimals as the nearest doubles. Arrow's own cast can be one bit off, which trees would notice."""
    kind = array.type
    data = array.buffers()[1]
    if kind.bit_width != 128 or kind.precision > 18 or kind.scale < 0 or data is None:
        texts_of = pc.cast(array, pa.string())
        exact: Numbers = pc.cast(texts_of, pa.float64()).to_numpy(zero_copy_only=False)
        return exact
    low = np.frombuffer(data, dtype="<i8")[2 * array.offset : 2 * (array.offset + len(array)) : 2]
    unit = 10**kind.scale
    found: Numbers = low / unit
    large = np.abs(low) > 1 << 53
    if large.any():  # in two parts that are exact, as DuckDB does
        whole = np.where(low < 0, -(-low // unit), low // unit)
        found = np.where(large, whole + (low - whole * unit) / unit, found)
    if array.null_count:
        found[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return found


def parsed(array: pa.Array) -> Numbers:
    """Texts that hold numbers as doubles, NaN where they do not."""
    return of_distinct(array, parse)


def of_distinct(array: pa.Array, read: Callable[[str | None], float]) -> Numbers:
    """A number for each text, read once for each different one."""
    if len(array) <= SMALL:
        return np.array([read(value) for value in array.to_pylist()], dtype=np.float64)
    array = texts(array)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values = np.array([*(read(value) for value in array.dictionary.to_pylist()), np.nan])
    found: Numbers = values[array.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]
    return found


def parse(value: str | None) -> float:
    """The number that a text is, NaN when it is none."""
    if not value or not value.isascii():  # Python would read digits of other scripts, too
        return np.nan
    try:
        number = float(value)
    except ValueError:
        return np.nan
    return number if abs(number) <= LARGEST else np.nan


def texts(array: pa.Array) -> pa.Array:
    """An Arrow array of text as plain strings, or as a dictionary of plain strings."""
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_dictionary(kind):
        if pa.types.is_string(kind.value_type):
            return array
        return pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(pa.string()))
    return array.cast(pa.string())


def moments(array: pa.Array, name: str = "") -> tuple[Codes, NDArray[np.bool_]]:
    """Dates, times and timestamps (UTC) as whole microseconds, and which of them are missing."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    missing = np.asarray(array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))
    if pa.types.is_date32(kind):
        factor, whole = _DAY, array.cast(pa.int32())
    elif pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_time32(kind):
        factor = _UNITS.get(kind.unit, 0)
        whole = array.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    elif pa.types.is_date64(kind):
        factor, whole = 1000, array.cast(pa.int64())
    elif pa.types.is_null(kind):
        return np.zeros(len(array), dtype=np.int64), missing
    else:
        raise DataError(f'column "{name}" takes dates or times, not {kind}')
    values = whole.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    # DuckDB keeps infinite dates at both ends; these, and dates that no timestamp can hold, are missing.
    outside = np.abs(values) > _MOST_MICROS // (factor or 1)
    if outside.any():
        missing = missing | outside
        values = np.where(outside, 0, values)
    return (values * factor if factor else (np.abs(values) + 500) // 1000 * np.sign(values)), missing


PARTS = ("year", "month", "day", "weekday", "hour", "days")
"""What a date or timestamp is taken apart into; `days` are those since 1970, with the time as a fraction."""


def parts(array: pa.Array, wanted: list[str], name: str = "") -> list[Numbers]:
    """The wanted parts of dates or times as doubles, NaN where missing."""
    micros, missing = moments(array, name)
    days = micros // _DAY
    found = []
    month = (
        days.astype("datetime64[D]").astype("datetime64[M]")
        if {"year", "month", "day"} & set(wanted)
        else None
    )
    for part in wanted:
        values: NDArray[Any]
        if part == "days":
            values = micros / _DAY
        elif part == "seconds":
            values = micros / 1e6
        elif part == "weekday":
            values = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        elif part == "hour":
            values = micros % _DAY // 3_600_000_000
        else:
            assert month is not None
            since = month.astype(np.int64)
            if part == "year":
                values = since // 12 + 1970
            elif part == "month":
                values = since % 12 + 1
            else:
                values = days - month.astype("datetime64[D]").astype(np.int64) + 1
        result = values.astype(np.float64)
        if missing.any():
            result[missing] = np.nan
        found.append(result)
    return found


def known(array: pa.Array) -> pa.Array:
    """Which values are there: neither NULL nor NaN."""
    return pc.invert(array.is_null(nan_is_null=True))


def labels_of(array: pa.Array, duckdb_type: str) -> tuple[Codes, list[Any]]:
    """The codes of a classifier's target (-1 for NULL) and its labels as JSON values, sorted."""
    if not pa.types.is_dictionary(array.type):
        array = pc.if_else(known(array), array, None).dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(codes[codes >= 0])
    found = array.dictionary.take(pa.array(used)).to_pylist()
    values = [plain(value, duckdb_type) for value in found]
    order = sorted(range(len(values)), key=lambda at: (str(type(values[at])), values[at]))
    place = np.full(len(array.dictionary) + 1, -1, dtype=np.int64)  # NULL, -1, is the last place
    place[used[order]] = np.arange(len(values))
    return place[codes], [values[at] for at in order]


def plain(value: Any, duckdb_type: str) -> Any:
    """A target value as JSON can hold it: bool, int, float or text (decimals are text)."""
    kind = family(duckdb_type)
    if kind == "boolean":
        return bool(value)
    if is_integer(duckdb_type):
        return int(value)
    if kind == "number":
        decimals = arrow_type(duckdb_type)
        if pa.types.is_decimal(decimals):
            return f"{value:.{decimals.scale}f}"
        return float(value)
    return str(value)


def label_array(labels: list[Any], duckdb_type: str) -> pa.Array:
    """A classifier's labels as an Arrow array of the target's type."""
    kind = arrow_type(duckdb_type)
    if pa.types.is_decimal(kind):
        from decimal import Decimal

        return pa.array([Decimal(str(label)) for label in labels], kind)
    return pa.array(labels, kind)


def label_text(label: Any) -> str:
    """A label as SQL would print it."""
    return str(label).lower() if isinstance(label, bool) else str(label)
