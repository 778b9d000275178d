"""Owns files as a source: a folder, one file, or what a pattern matches. DuckDB reads them, and pandas workbooks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

from mindsql import database
from mindsql.database import DuckDBConnection, literal, quote
from mindsql.engine import Option
from mindsql.errors import SourceError, UnknownNameError
from mindsql.natives import InDuckDB
from mindsql.source import Top

if TYPE_CHECKING:
    import pyarrow as pa

_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
_WORKBOOK = ".xlsx"
_WILD = "*?["


class Files(InDuckDB):
    """CSV, Parquet, JSON and XLSX files. In a folder each is a table named as the file without its ending, and so is a
    folder of files of one kind, whose parts named `key=value` are columns. A pattern is one table."""

    options = (
        Option(
            "path",
            "string",
            required=True,
            aliases=("folder", "file"),
            file=True,
            description="a folder, a file, or a pattern as 'sales-*.csv'",
        ),
    )

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        raw: DuckDBConnection,
        cursor: Callable[[], DuckDBConnection],
        offer: Callable[[Any, str], str],
    ) -> None:
        self.name = name
        self._path = Path(parameters["path"])
        self._cursor = cursor
        self._offer = offer
        if not self._files():
            if self._path.is_dir():
                return  # files may come
            if self._path.exists() or any(character in self._path.name for character in _WILD):
                raise SourceError(
                    f'there is no file to read in "{self._path}"',
                    hint=f"files end in {', '.join([*_READERS, _WORKBOOK])}; a pattern matches files of one kind",
                )
            raise SourceError(f'the {"file" if self._path.suffix else "folder"} "{self._path}" does not exist')

    def _files(self) -> dict[str, tuple[str, Path]]:
        """Name, ending and path or pattern of each table."""
        if any(character in self._path.name for character in _WILD):
            name = self._path.name
            for character in _WILD:
                name = name.partition(character)[0]
            matched = sorted(self._path.parent.glob(self._path.name))
            kinds = {path.suffix.casefold() for path in matched}
            readable = len(kinds) == 1 and kinds <= _READERS.keys()
            return {name.rstrip("-_. ") or "rows": (kinds.pop(), self._path)} if readable else {}
        found: dict[str, tuple[str, Path]] = {}
        for path in sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]:
            ending = path.suffix.casefold()
            if path.is_dir():
                kinds = {each.suffix.casefold() for each in path.rglob("*") if each.is_file()} & _READERS.keys()
                if len(kinds) == 1:
                    ending = kinds.pop()
                    found.setdefault(path.name, (ending, path / "**" / f"*{ending}"))
            elif path.is_file() and (ending in _READERS or ending == _WORKBOOK):
                found.setdefault(path.stem, (ending, path))
        return found

    def tables(self) -> list[str]:
        """The tables' names."""
        return list(self._files())

    def relation(self, parts: tuple[str, ...], top: Top | None = None) -> exp.Expr | None:
        """DuckDB's reader function for the file, or a sheet of a workbook: the first, or `files.book.sheet`."""
        files = {name.casefold(): found for name, found in self._files().items()}
        ending, path = files.get(parts[-1].casefold(), ("", self._path))
        sheet: str | None = None
        if not ending and len(parts) > 1:
            ending, path = files.get(parts[-2].casefold(), ("", self._path))
            sheet = parts[-1] if ending == _WORKBOOK else None
            ending = ending if sheet else ""
        if not ending:
            raise UnknownNameError.of(f'table of the database "{self.name}":', parts[-1], self.tables())
        if ending == _WORKBOOK:
            return exp.table_(self._offer(_sheet(path, sheet), ".".join((self.name, *parts))), quoted=True)
        call = exp.Anonymous(this=_READERS[ending], expressions=[exp.Literal.string(str(path))])
        return exp.Table(this=call)

    def _inside(self) -> DuckDBConnection:
        """A cursor on which the files are temporary views."""
        raw = self._cursor()
        for name, (ending, path) in self._files().items():
            if ending == _WORKBOOK:
                raw.register(name, _sheet(path, None))
                continue
            read = f"{_READERS[ending]}({literal(str(path))})"
            database.run(raw, f"CREATE OR REPLACE TEMP VIEW {quote(name)} AS SELECT * FROM {read}")
        return raw


def _sheet(path: Path, name: str | None) -> pa.Table:
    """A sheet of a workbook; what is of several types in a column is text there."""
    import pandas as pd
    import pyarrow as pa

    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            known = {str(sheet).casefold(): sheet for sheet in book.sheet_names}
            wanted = book.sheet_names[0] if name is None else known.get(name.casefold())
            if wanted is None:
                raise UnknownNameError.of(f"sheet of {path.name}:", str(name), list(map(str, book.sheet_names)))
            frame = pd.read_excel(book, wanted)
    except ImportError as error:
        raise SourceError("a workbook needs the package openpyxl", hint="pip install openpyxl") from error
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"the workbook {path.name} cannot be read: {str(error).splitlines()[0]}") from error
    columns = {}
    for column in frame.columns:
        try:
            columns[str(column)] = pa.array(frame[column], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            texts = frame[column].map(str, na_action="ignore")
            columns[str(column)] = pa.array(texts, pa.string(), from_pandas=True)
    return pa.table(columns)
