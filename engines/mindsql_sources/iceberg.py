"""Owns the tables of an Iceberg catalog as a source: by the package pyiceberg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyiceberg.catalog
import pyiceberg.exceptions
import pyiceberg.expressions as ice

from mindsql.engine import Network, Option
from mindsql.errors import AccessError, Cancelled, StatementError, UnknownNameError
from mindsql.network import check_host
from mindsql.source import AllOf, AnyOf, Comparison, Condition, IsNull, Rows
from mindsql_sources.datasets import DatasetSource

_OPERATORS: dict[str, Any] = {
    "=": ice.EqualTo, "<": ice.LessThan, "<=": ice.LessThanOrEqual, ">": ice.GreaterThan, ">=": ice.GreaterThanOrEqual,
}  # fmt: skip
_WHOLE = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)


class Iceberg(DatasetSource):
    """A catalog of Iceberg tables."""

    engine = "iceberg"
    options = (
        Option("name", "string", description="the catalog's own name, where it is not that of the database"),
        Option(
            "catalog",
            "object",
            required=True,
            secret=True,
            file=True,
            description="the catalog's properties as pyiceberg has them: type, uri, warehouse, keys",
        ),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        given = {str(key): str(value) for key, value in parameters["catalog"].items()}
        code = next((key for key in given if key.startswith("py-")), None)
        if code is not None:
            raise StatementError(f'the catalog\'s property "{code}" names code to load', hint="leave it out")
        if not network.private or network.allowed_hosts is not None:
            if given.get("type") != "rest":
                raise AccessError("this connection may only read an Iceberg catalog of type rest")
            for key, value in given.items():
                if key.endswith("endpoint") or key == "uri":
                    url = urlsplit(value)
                    check_host(url.hostname or value, url.port or 443, network)
        try:
            self._catalog = pyiceberg.catalog.load_catalog(parameters.get("name") or name, **given)
            self.tables()
        except Exception as error:  # each kind of catalog lets out what its own client raises
            raise self.failed(error) from error

    def tables(self) -> list[str]:
        """The tables with their namespaces."""
        catalog = self._catalog
        return sorted(".".join(name) for space in catalog.list_namespaces() for name in catalog.list_tables(space))

    def dataset(self, table: tuple[str, ...]) -> Any:
        """The table of the catalog."""
        try:
            return self._catalog.load_table(table)
        except pyiceberg.exceptions.NoSuchTableError:
            found = [own for own in self.tables() if own.casefold() == ".".join(table).casefold()]
            if len(found) != 1:
                raise UnknownNameError.of(
                    f'table of the database "{self.name}":', ".".join(table), self.tables()
                ) from None
            return self._catalog.load_table(found[0])

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The table's columns."""
        return self._opened(table).schema().as_arrow()

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A scan of the columns; files and row groups are pruned by what can be told."""
        opened = self._opened(table)
        every = opened.schema().as_arrow()
        schema = pa.schema([every.field(name) for name in columns])
        condition = _told(AllOf(tuple(where)), every)
        text = f"{'.'.join(table)} ({', '.join(columns)})" + (f" where {condition}" if where else "")
        found = opened.scan(row_filter=condition or ice.AlwaysTrue(), selected_fields=tuple(columns) or ("*",))
        return Rows(schema, self._read(found, schema), text)

    def _read(self, found: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in found.to_arrow_batch_reader():
                if self.stopped():
                    raise Cancelled("the statement was stopped")
                yield batch.select(schema.names).cast(schema)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self.failed(error) from error


def _told(condition: Condition, schema: pa.Schema) -> Any:
    """A condition as Iceberg's; None when it cannot be told."""
    if isinstance(condition, AllOf):
        parts = [part for part in (_told(each, schema) for each in condition.parts) if part is not None]
        return ice.And(*parts) if len(parts) > 1 else parts[0] if parts else None
    if isinstance(condition, AnyOf):
        every = [_told(each, schema) for each in condition.parts]
        if any(part is None for part in every) or not every:
            return None
        return ice.Or(*every) if len(every) > 1 else every[0]
    kind = schema.field(condition.column).type
    if isinstance(condition, IsNull):
        reference = ice.Reference(condition.column)
        return ice.NotNull(term=reference) if condition.negated else ice.IsNull(term=reference)
    if not any(check(kind) for check in _WHOLE):
        return None
    if isinstance(condition, Comparison):
        made = _OPERATORS.get(condition.operator)
        plain = isinstance(condition.value, (int, str)) and not isinstance(condition.value, bool)
        return made(condition.column, condition.value) if made is not None and plain else None
    plain = all(isinstance(value, (int, str)) and not isinstance(value, bool) for value in condition.values)
    if not plain:
        return None
    equal: list[Any] = [_OPERATORS["="](condition.column, value) for value in condition.values]
    return ice.Or(*equal) if len(equal) > 1 else equal[0]
