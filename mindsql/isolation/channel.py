"""Owns what a worker process and its parent say to each other: messages of a JSON head and bodies of bytes.

Both sides import this module, each from its own Python: it needs nothing but the engine contract and pyarrow. Nothing
is pickled in either direction. The framing is that of the standard library's `multiprocessing.connection`.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from mindsql import errors
from mindsql.engine import Capabilities, Estimator, Option, Summary, Translation
from mindsql.errors import Cancelled, EngineContractError, EngineError, MindSQLError, innermost, spoken
from mindsql.schema import Column, Schema

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import pyarrow as pa

_SCHEMA = "$schema"
_RECORD = "$record"
_RECORDS: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Capabilities, Estimator, Option, Summary, Translation)
}


@dataclass
class Message:
    """One message.

    Attributes:
        head: What is said: JSON values, schemas, and the records of the engine contract.
        bodies: Bytes that belong to it: files, rows in Arrow's IPC format.
    """

    head: dict[str, Any]
    bodies: list[Any] = field(default_factory=list)


def send(connection: Connection, head: Mapping[str, Any], bodies: Sequence[Any] = ()) -> None:
    """Send a message. Raises OSError when the other side is gone."""
    text = json.dumps([_plain(head), len(bodies)], ensure_ascii=False)
    connection.send_bytes(text.encode("utf-8", "surrogatepass"))
    for body in bodies:
        connection.send_bytes(body)


def receive(connection: Connection) -> Message:
    """Wait for a message. Raises EOFError or OSError when the other side is gone."""
    text = connection.recv_bytes().decode("utf-8", "surrogatepass")
    head, count = json.loads(text, object_hook=_decoded)
    return Message(head, [connection.recv_bytes() for _ in range(count)])


def _plain(value: Any) -> Any:
    """A value as JSON can hold it. `json` itself would take a schema for a list, as it is a tuple."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Schema):
        return {_SCHEMA: list(value.pairs())}
    if isinstance(value, Column):
        return [value.name, value.type]
    if type(value).__name__ in _RECORDS:
        return {_RECORD: type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value), key=str)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(value.tolist())
    return str(value)


def _decoded(value: dict[str, Any]) -> Any:
    if _SCHEMA in value:
        return Schema.of(map(tuple, value[_SCHEMA]))
    name = value.pop(_RECORD, None)
    if name is None:
        return value
    return _RECORDS[name](**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})


# Rows ----------------------------------------------------------------------------------------------------------------


def rows_to_bytes(rows: pa.Table | pa.RecordBatch) -> Any:
    """Rows in Arrow's IPC format, as a buffer."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return sink.getvalue()


def table_from_bytes(body: bytes) -> pa.Table:
    """The rows of `rows_to_bytes`; their columns lie in `body`."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(body)).read_all()


def batch_from_bytes(body: bytes) -> pa.RecordBatch:
    """The rows of `rows_to_bytes`, as one batch."""
    import pyarrow as pa

    table = table_from_bytes(body)
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def columns_to_bytes(columns: Mapping[str, pa.Array]) -> Any:
    """Columns of equal length, as `rows_to_bytes`."""
    import pyarrow as pa

    return rows_to_bytes(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))


def frame_to_bytes(frame: Any) -> Any:
    """A pandas data frame, as `rows_to_bytes`. Raises EngineContractError when it is none, or holds what Arrow has no
    type for."""
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise EngineContractError(f"it returned {type(frame).__name__}, not a DataFrame", hint="return a DataFrame")
    columns = {}
    for number, name in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, number]
        try:
            columns[name] = pa.array(values, from_pandas=True)
        except pa.ArrowException as error:
            message = f'the column "{name}" of its data frame cannot leave its process: {spoken(error)}'
            raise EngineContractError(message, hint="give a column values of one type") from error
    if len(columns) < len(frame.columns):
        raise EngineContractError("its data frame has two columns of one name", hint="return each column once")
    return rows_to_bytes(pa.table(columns))


def frame_from_bytes(body: bytes) -> Any:
    """The data frame of `frame_to_bytes`."""
    return table_from_bytes(body).to_pandas()


# Errors --------------------------------------------------------------------------------------------------------------


def error_to_head(error: BaseException) -> dict[str, Any]:
    """An exception as a message's head."""
    head: dict[str, Any] = {"error": type(error).__name__, "text": spoken(error), "place": innermost(error)}
    if isinstance(error, MindSQLError):
        head |= {"ours": True, "text": error.message, "hint": error.hint}
    if isinstance(error, ImportError):
        head["missing"] = error.name
    return head


def error_from_head(head: Mapping[str, Any]) -> BaseException:
    """The exception that a head speaks of: of our own classes as it was, of Python's own by its class, any other one as
    an exception of that name."""
    name, text = str(head["error"]), str(head["text"])
    if head.get("ours"):
        cls = getattr(errors, name, None)
        if isinstance(cls, type) and issubclass(cls, Cancelled):
            return Cancelled(text)
        try:
            if isinstance(cls, type) and issubclass(cls, MindSQLError):
                return cls(text, hint=head.get("hint"))
        except TypeError:  # a class that is made of more than its text
            pass
        return EngineError(text, hint=head.get("hint"))
    if head.get("missing"):
        return ImportError(text, name=head["missing"])
    known = getattr(builtins, name, None)
    error: BaseException
    try:
        # SystemExit and KeyboardInterrupt would end more than the worker.
        ordinary = isinstance(known, type) and issubclass(known, Exception)
        error = known(text) if ordinary else type(name, (Exception,), {})(text)  # type: ignore[misc]
    except TypeError:  # UnicodeDecodeError and others are made of more than a text
        error = type(name, (Exception,), {})(text)
    error.__dict__["place"] = head["place"]
    return error

