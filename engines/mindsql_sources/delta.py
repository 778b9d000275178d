"""Owns Delta tables as a source: by the package deltalake, as pyarrow datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import deltalake
import deltalake.exceptions

from mindsql.engine import Network, Option
from mindsql.errors import AccessError, SourceError, UnknownNameError
from mindsql.network import check_host
from mindsql_sources.datasets import DatasetSource

_ADDRESSES = frozenset(
    ["endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url", "azure_endpoint", "google_base_url"]
)
_STORES = frozenset(["s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https"])


class Delta(DatasetSource):
    """A Delta table, or a local folder of them."""

    engine = "delta"
    options = (
        Option(
            "uri", "string", required=True, aliases=("path",), file=True, description="a table, or a folder of tables"
        ),
        Option("storage_options", "object", secret=True, description="the store's keys and address, as deltalake's"),
        Option("version", "integer", minimum=0, description="an older version of the table"),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self._uri = str(parameters["uri"]).rstrip("/")
        given = {str(key): str(value) for key, value in (parameters.get("storage_options") or {}).items()}
        self._options = given or None
        if "://" in self._uri:
            _check_addresses(self._uri, given, network)
        if not self.tables():
            raise SourceError(f'there is no Delta table in "{self._uri}"')

    def tables(self) -> list[str]:
        """The table, by the last part of its address; those of a local folder."""
        return list(self._addresses())

    def _addresses(self) -> dict[str, str]:
        folder = Path(self._uri)
        if "://" in self._uri or (folder / "_delta_log").is_dir():
            return {self._uri.rpartition("/")[2]: self._uri}
        return {found.parent.name: str(found.parent) for found in sorted(folder.glob("*/_delta_log"))}

    def dataset(self, table: tuple[str, ...]) -> Any:
        """The table as it is now, or was in the version that is asked for."""
        name = ".".join(table)
        known = {own.casefold(): address for own, address in self._addresses().items()}
        if name.casefold() not in known:
            raise UnknownNameError.of(f'table of the database "{self.name}":', name, self.tables())
        try:
            opened = deltalake.DeltaTable(
                known[name.casefold()], version=self.parameters.get("version"), storage_options=self._options
            )
            return opened.to_pyarrow_dataset()
        except deltalake.exceptions.DeltaError as error:
            raise self.failed(error) from error


def _check_addresses(uri: str, options: Mapping[str, str], network: Network) -> None:
    """Refuse a store that may not be asked, by whatever word it is named."""
    free = network.private and network.allowed_hosts is None
    named = [value for key, value in options.items() if key.casefold() in _ADDRESSES]
    if not free and not named and urlsplit(uri).scheme not in _STORES:
        raise AccessError(f"this connection may not read {uri}")
    for address in named or ([uri] if urlsplit(uri).scheme in ("http", "https") else ["https://s3.amazonaws.com"]):
        url = urlsplit(address)
        check_host(url.hostname or address, url.port or 443, network)
