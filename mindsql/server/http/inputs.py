"""Owns how posted rows fit a model: each of its columns is there, no other is, and values are of the columns' kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.errors import suggest
from mindsql.frames import moments
from mindsql.schema import Column, Family, is_integer
from mindsql.server.http.faults import UnprocessableError
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

_WANTED: dict[Family, str] = {"number": "a number", "boolean": "true or false", "time": "a date or time"}


def fit(rows: pa.Table, version: Version, beside: Sequence[str] = ()) -> pa.Table:
    """The model's inputs, named and ordered as in `version.inputs`, of types that stand for theirs.

    What is not given counts as missing, as in SQL, unless the model or its engine wants every input. Left out are the
    target, what the model was shown in training and chose not to use, and the columns `beside`.

    Raises:
        UnprocessableError: A column is missing or unknown, or a value is of another kind. (422)
    """
    import pyarrow as pa

    given = {name.casefold(): name for name in rows.column_names}
    missing = absent(rows, version)
    optional = version.summary.get("accepts_missing", True) and not version.settings.get("strict")
    if optional and len(missing) < len(version.inputs):
        missing = []
    shown = (
        *version.inputs.names,
        *version.outputs.names,
        version.target,
        *version.summary.get("columns", ()),
        *beside,
    )
    known = {name.casefold() for name in shown}
    unknown = [name for folded, name in given.items() if folded not in known]
    if missing or unknown:
        raise _misfit(version, missing, unknown)
    there = [column for column in version.inputs if column.name.casefold() in given]
    arrays = [_column(rows.column(given[column.name.casefold()]), column) for column in there]
    return pa.Table.from_arrays(arrays, names=[column.name for column in there])


def absent(rows: pa.Table, version: Version) -> list[str]:
    """The inputs that rows do not have."""
    given = {name.casefold() for name in rows.column_names}
    return [column.name for column in version.inputs if column.name.casefold() not in given]


def _misfit(version: Version, missing: list[str], unknown: list[str]) -> UnprocessableError:
    said = [
        f"{word} {', '.join(names)}" for word, names in (("missing", missing), ("unknown", unknown)) if names
    ]
    hint = suggest(unknown[0], missing or version.inputs.names) if unknown else None
    return UnprocessableError(
        f"the columns do not fit the model: {'; '.join(said)}",
        hint=hint or f"it takes: {', '.join(version.inputs.names)}",
        details={"missing": missing, "unknown": unknown, "inputs": dict(version.inputs.pairs())},
    )


def _column(values: pa.ChunkedArray, wanted: Column) -> pa.ChunkedArray:
    """Values as the kind of an input. What is of that kind already stays as it is, as in SQL."""
    import pyarrow as pa

    kind = _family(values.type)
    if kind in (wanted.family, "null") or wanted.family in ("binary", "nested", "other"):
        return values
    try:
        if wanted.family == "number" and kind in ("text", "boolean"):
            return _numbers(values, wanted)
        if wanted.family == "boolean" and kind in ("text", "number"):
            return values.cast(pa.bool_()) if kind == "text" else _flags(values)
        if wanted.family == "time" and kind == "text":
            return _moments(values, wanted.type)
        if wanted.family == "text" and kind in ("number", "boolean", "time"):
            return values.cast(pa.string())
    except pa.ArrowInvalid:
        pass
    raise _refused(values, wanted)


def _family(kind: pa.DataType) -> Family | str:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _family(kind.value_type)
    tests = {
        "null": (types.is_null,),
        "number": (types.is_integer, types.is_floating, types.is_decimal),
        "boolean": (types.is_boolean,),
        "text": (types.is_string, types.is_large_string),
        "time": (types.is_temporal,),
    }
    return next((name for name, any_of in tests.items() if any(test(kind) for test in any_of)), "other")


def _numbers(values: pa.ChunkedArray, wanted: Column) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = values.cast(pa.string())
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int64())
    text = pc.utf8_trim_whitespace(text)
    if is_integer(wanted.type):
        try:
            return text.cast(pa.int64())
        except pa.ArrowInvalid:
            pass  # 22.5 for a column that had whole numbers only
    return text.cast(pa.float64())


def _moments(values: pa.ChunkedArray, type_name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return moments(values, type_name)
    except pa.ArrowInvalid:
        return database.moments(values, type_name)  # as 2024-1-5, or with a time zone


def _flags(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.is_in(values.cast(pa.float64()), value_set=pa.array([0.0, 1.0, None]))).as_py():
        raise pa.ArrowInvalid("neither 0 nor 1")
    return values.cast(pa.bool_())


def _refused(values: pa.ChunkedArray, wanted: Column) -> UnprocessableError:
    """The error that names the first value which is not of the wanted kind."""
    import pyarrow as pa

    for row, value in enumerate(values, 1):
        single = pa.chunked_array([pa.array([value.as_py()], values.type)])
        if value.is_valid and not _fits(single, wanted):
            return _wrong(row, wanted, value.as_py())
    return _wrong(1, wanted, None)


def _fits(single: pa.ChunkedArray, wanted: Column) -> bool:
    import pyarrow as pa

    try:
        match wanted.family:
            case "number":
                _numbers(single, wanted)
            case "boolean":
                single.cast(pa.bool_()) if pa.types.is_string(single.type) else _flags(single)
            case "time":
                return pa.types.is_string(single.type) and _moments(single, wanted.type) is not None
            case _:
                return False
    except pa.ArrowException:
        return False
    return True


def _wrong(row: int, wanted: Column, value: Any) -> UnprocessableError:
    kind = _WANTED.get(wanted.family, f"a {wanted.type}")
    shown = repr(value)
    return UnprocessableError(
        f'row {row}: the column "{wanted.name}" takes {kind}, not {shown[:60]}{"…" if len(shown) > 60 else ""}',
        details={"row": row, "column": wanted.name, "type": wanted.type},
    )
