"""Owns what a source of rows is: the class that a package subclasses to make another database's tables readable.

A source tells its tables and their Arrow schemas, and gives rows as Arrow batches. What is asked of it comes as
columns and conditions; whatever it leaves undone of the conditions is done after it.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mindsql.engine import Network, Option
from mindsql.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = "mindsql.sources"
"""The entry-point group: `name = "package.module:SourceClass"`."""
BATCH_ROWS = 32_768
"""How many rows a batch had better have."""
_SECRET = 3
"""A secret of fewer characters would be found in every sentence."""


@dataclass(frozen=True)
class Comparison:
    """A column against a constant: int, Decimal, float, bool, str, bytes, date, datetime or time."""

    column: str
    operator: Literal["=", "<>", "<", "<=", ">", ">="]
    value: Any


@dataclass(frozen=True)
class OneOf:
    """`column IN (values)`."""

    column: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class IsNull:
    """`column IS NULL`, or IS NOT NULL."""

    column: str
    negated: bool = False


@dataclass(frozen=True)
class AllOf:
    """Conditions that all hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """Conditions one of which holds."""

    parts: tuple[Condition, ...]


Condition = Comparison | OneOf | IsNull | AllOf | AnyOf


@dataclass(frozen=True)
class Top:
    """The first `limit` rows by a column, and as many of those that are NULL in it, which may be first or last."""

    column: str
    descending: bool
    limit: int


@dataclass(frozen=True)
class Rows:
    """A stream of rows. Closing the iterator ends the query that makes them.

    `text` is the query that the source is sent, which EXPLAIN ANALYZE shows.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    text: str = ""


class Source(ABC):
    """A database that rows come from, open for one session.

    Its methods are called by one thread at a time, but for `interrupt`; streams may be read by other threads, several
    at once. Each raises SourceError in plain words and without secrets; a table that there is not, UnknownNameError.

    Attributes:
        engine: What it is called in errors.
        options: What PARAMETERS of CREATE DATABASE may hold.
        stopped: Whether the statement was stopped that asks. `interrupt` ends what runs; this is to be looked at when
            something has been made to run, since a stop may have come just before.
    """

    engine: ClassVar[str] = ""
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        """Open it. `parameters` are checked, and their secrets readable."""
        self.name = name
        self.parameters = parameters
        self.network = network
        self.stopped: Callable[[], bool] = lambda: False

    @abstractmethod
    def tables(self) -> list[str]:
        """The names of its tables and views."""

    @abstractmethod
    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns of a table, named by the parts after the source's name: `("public", "flats")`."""

    @abstractmethod
    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """Rows of a table, with these columns in this order.

        All of `where` should hold; a row for which it does not may be among them, none for which it does may be
        missing.
        """

    def top(self, table: tuple[str, ...], columns: Sequence[str], top: Top) -> Rows | None:
        """Rows of a table among which the first by an order are, as DuckDB orders; None when they cannot be told."""
        return None

    def count(self, table: tuple[str, ...]) -> int | None:
        """How many rows a table has; None when that takes as long as to read them."""
        return None

    @abstractmethod
    def describe(self, text: str) -> pa.Schema:
        """The columns of a query in the source's own words, without running it."""

    @abstractmethod
    def query(self, text: str) -> Rows:
        """The rows of a query in the source's own words."""

    def accepts(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns that rows can be written to, with the types that the rows' values must have."""
        raise self._read_only()

    def column_type(self, kind: pa.DataType) -> str | None:
        """The type that a new column of an Arrow type gets; None when there is none, and its values become texts.

        Values of an extension type (`pa.uuid()`, `pa.json_()`) come as texts in any case.
        """
        raise self._read_only()

    def write(
        self,
        table: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """Write rows to a table, all of them or none, and tell how many there were.

        `append` adds to a table, and gives the columns that `rows` does not have their defaults; `create` makes it,
        and fails if there is one; `replace` makes it in the place of one that there may be. Rows are never sent twice.

        Args:
            table, rows, mode: Where, what and how.
            types: The types of a new table's columns, as `column_type` told them.
        """
        raise self._read_only()

    def drop(self, table: tuple[str, ...]) -> None:
        """Drop a table."""
        raise self._read_only()

    def run(self, text: str) -> int:
        """Run a statement in the source's own words that gives no rows; how many it changed, -1 if that is not told."""
        raise self._read_only()

    def failed(self, error: Exception) -> Exception:
        """What a library raised as one of ours: its first line, without the values of options that are secret."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else type(error).__name__
        for option in self.options:
            given = self.parameters.get(option.name) if option.secret else None
            for secret in given.values() if isinstance(given, Mapping) else (given,):
                said = said.replace(str(secret), "***") if secret and len(str(secret)) >= _SECRET else said
        return SourceError(f'the database "{self.name}" ({self.engine}) says: {said}')

    def _read_only(self) -> SourceError:
        return SourceError(f'the database "{self.name}" can only be read')

    def interrupt(self) -> None:  # noqa: B027 - a source that runs nothing for long need not have it
        """End all that runs, from another thread and at once."""

    def close(self) -> None:  # noqa: B027 - nor this one that holds nothing open
        """Let go of its connections."""


WHAT_IT_NEEDS = "subclass mindsql.source.Source, with tables, schema, scan, describe and query"


def is_source(value: object) -> bool:
    """Whether a value is a Source class that has all of its methods."""
    return isinstance(value, type) and issubclass(value, Source) and not inspect.isabstract(value)


def find(name: str) -> importlib.metadata.EntryPoint | None:
    """The entry point of a source; its names are compared without case."""
    return next((e for e in entry_points() if e.name.casefold() == name.casefold()), None)


def entry_points() -> list[importlib.metadata.EntryPoint]:
    """All sources that packages bring; nothing is imported."""
    return list(importlib.metadata.entry_points(group=GROUP))
