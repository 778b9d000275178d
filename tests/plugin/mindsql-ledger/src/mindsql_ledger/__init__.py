"""A source of rows that a stranger wrote: a folder of text files, each a table of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mindsql.engine import Network, Option
from mindsql.errors import SourceError, UnknownNameError
from mindsql.source import Condition, Rows, Source

_SCHEMA = pa.schema([("number", pa.int64()), ("line", pa.string())])


class Ledger(Source):
    """The `.txt` files of a folder."""

    options = (Option("folder", "string", required=True, file=True, description="where they lie"),)

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self._folder = Path(parameters["folder"])

    def tables(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.txt"))

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        if len(table) != 1 or table[0] not in self.tables():
            raise UnknownNameError.of("ledger", ".".join(table), self.tables())
        return _SCHEMA

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        schema = pa.schema([self.schema(table).field(name) for name in columns])
        return Rows(schema, self._lines(self._folder / f"{table[0]}.txt", schema))

    def _lines(self, path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        lines = path.read_text().splitlines()
        whole = {"number": list(range(1, len(lines) + 1)), "line": [line or None for line in lines]}
        rows = pa.StructArray.from_arrays([pa.array(whole[f.name], f.type) for f in schema], fields=list(schema))
        yield pa.RecordBatch.from_struct_array(rows if schema.names else pa.array([{}] * len(lines), pa.struct([])))

    def describe(self, text: str) -> pa.Schema:
        raise SourceError(f'the database "{self.name}" has no queries of its own')

    def query(self, text: str) -> Rows:
        raise SourceError(f'the database "{self.name}" has no queries of its own')
