"""Owns sources whose tables are pyarrow datasets: files in a store, by name, and the tables of lakes.

Such a source has no SQL of its own. Its datasets prune files, row groups and columns by what is asked for.
"""

from __future__ import annotations

import datetime as dt
import posixpath
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs

from mindsql.errors import Cancelled, SourceError, UnknownNameError
from mindsql.source import BATCH_ROWS, AllOf, AnyOf, Condition, IsNull, OneOf, Rows, Source

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".arrow": "feather"}
"""The endings of files that are read, and pyarrow's name of their format."""
_OPERATORS: dict[str, Any] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip


class DatasetSource(Source):
    """A source of datasets."""

    @abstractmethod
    def dataset(self, table: tuple[str, ...]) -> Any:
        """The dataset of a table. Raises UnknownNameError, OSError."""

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The dataset's columns."""
        found: pa.Schema = self._opened(table).schema
        return found

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A scan of the columns, filtered by the conditions."""
        dataset = self._opened(table)
        schema = pa.schema([dataset.schema.field(name) for name in columns])
        text = f"{'.'.join(table)} ({', '.join(columns)})" + (f" where {where}" if where else "")
        return Rows(schema, self._batches(dataset, schema, expression(where, dataset.schema)), text)

    def _batches(self, dataset: Any, schema: pa.Schema, where: Any) -> Iterator[pa.RecordBatch]:
        try:
            scanner = dataset.scanner(columns=schema.names, filter=where, batch_size=BATCH_ROWS)
            for batch in scanner.to_batches():
                if self.stopped():
                    raise Cancelled("the statement was stopped")
                yield batch
        except (OSError, pa.ArrowException) as error:
            raise self.failed(error) from error

    def _opened(self, table: tuple[str, ...]) -> Any:
        try:
            return self.dataset(table)
        except (OSError, pa.ArrowException) as error:
            raise self.failed(error) from error

    def describe(self, text: str) -> pa.Schema:
        """It has no queries of its own."""
        raise self._no_sql()

    def query(self, text: str) -> Rows:
        """It has no queries of its own."""
        raise self._no_sql()

    def _no_sql(self) -> SourceError:
        return SourceError(
            f'the database "{self.name}" ({self.engine}) has no SQL of its own',
            hint=f"write the query around its tables: SELECT … FROM {self.name}.table",
        )


class FileSource(DatasetSource):
    """Files in a store: a table is a file, named by its path, with or without its ending, or a folder of files of one
    format, whose parts named `key=value` are columns."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._found: dict[tuple[str, ...], Any] = {}
        self.files, self.root = self.store()

    @abstractmethod
    def store(self) -> tuple[Any, str]:
        """The file system, and the folder in it that names begin at."""

    def tables(self) -> list[str]:
        """The files by their paths, and the folders of a table's parts."""
        try:
            listed = self.files.get_file_info(pyarrow.fs.FileSelector(self.root, recursive=True))
        except (OSError, pa.ArrowException) as error:
            raise self.failed(error) from error
        names = set()
        for info in listed:
            path = info.path[len(self.root) :].strip("/")
            if info.type == pyarrow.fs.FileType.File and posixpath.splitext(path)[1] in FORMATS:
                parts = path.split("/")
                keys = [at for at, part in enumerate(parts) if "=" in part]
                names.add("/".join(parts[: keys[0]]) if keys and keys[0] else path)
        return sorted(names)

    def dataset(self, table: tuple[str, ...]) -> Any:
        """The dataset of a file or a folder. What a name stands for is looked up each time, as files change."""
        name = ".".join(table).strip("/")
        if ".." in name.split("/"):
            raise UnknownNameError.of(f'table of the database "{self.name}":', name, self.tables())
        path = posixpath.join(self.root, name)
        for candidate in (path, *(path + ending for ending in FORMATS)):
            info = self.files.get_file_info(candidate)
            if info.type == pyarrow.fs.FileType.File and posixpath.splitext(candidate)[1] in FORMATS:
                return self._read(candidate, posixpath.splitext(candidate)[1])
            if info.type == pyarrow.fs.FileType.Directory:
                inside = self.files.get_file_info(pyarrow.fs.FileSelector(candidate, recursive=True))
                endings = {posixpath.splitext(f.path)[1] for f in inside if f.type == pyarrow.fs.FileType.File}
                known = sorted(endings & FORMATS.keys())
                if len(known) == 1:
                    return self._read(candidate, known[0])
                if known:
                    raise SourceError(f'the folder "{name}" holds files of several formats: {", ".join(known)}')
        raise UnknownNameError.of(f'table of the database "{self.name}":', name, self.tables())

    def _read(self, path: str, ending: str) -> Any:
        return pyarrow.dataset.dataset(path, format=FORMATS[ending], filesystem=self.files, partitioning="hive")


def expression(conditions: Sequence[Condition], schema: pa.Schema) -> Any:
    """Conditions as pyarrow's expression; None when there is none that can be told."""
    made = [found for found in (_expression(each, schema) for each in conditions) if found is not None]
    whole = None
    for each in made:
        whole = each if whole is None else whole & each
    return whole


def _expression(condition: Condition, schema: pa.Schema) -> Any:
    if isinstance(condition, AllOf):
        return expression(condition.parts, schema)
    if isinstance(condition, AnyOf):
        parts = [_expression(each, schema) for each in condition.parts]
        whole = None
        for part in parts:
            if part is None:
                return None
            whole = part if whole is None else whole | part
        return whole
    field, kind = pc.field(condition.column), schema.field(condition.column).type
    if isinstance(condition, IsNull):
        return ~field.is_null() if condition.negated else field.is_null()
    if isinstance(condition, OneOf):
        values = [found for found in (_scalar(value, kind) for value in condition.values) if found is not None]
        return field.isin([v.as_py() for v in values]) if len(values) == len(condition.values) else None
    value = _scalar(condition.value, kind)
    return None if value is None else _OPERATORS[condition.operator](field, value)


def _scalar(value: Any, kind: pa.DataType) -> pa.Scalar | None:
    """A constant in the column's own type, so that nothing is converted to compare; None where that changes it."""
    if pa.types.is_floating(kind) or isinstance(value, dt.time):
        return None  # NaN is no number there, and the largest one here
    try:
        scalar = pa.scalar(value, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    return scalar if scalar.as_py() == value else None


def joined(root: str, options: Mapping[str, Any], key: str) -> str:
    """A folder and one below it that an option names."""
    return posixpath.join(root, str(options.get(key) or "").strip("/")).rstrip("/")
