"""Owns files below a URL as a source: by fsspec, which asks for the parts of a file that are needed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import fsspec.implementations.http
import pyarrow.dataset
import pyarrow.fs

from mindsql.engine import Option
from mindsql.errors import StatementError
from mindsql.network import check_host
from mindsql_sources.datasets import FORMATS, FileSource

_SECONDS = 30


class HTTP(FileSource):
    """Files below a URL, or the file that it names. A server does not list them: a table is named by its path."""

    engine = "http"
    options = (
        Option("url", "string", required=True, description="https://host/folder/, or a file's URL"),
        Option("headers", "object", secret=True, description="what every request says, as Authorization"),
    )

    def store(self) -> tuple[Any, str]:
        """The file system of the URL's host."""
        import aiohttp

        url = urlsplit(self.parameters["url"])
        if url.scheme not in ("http", "https") or not url.hostname:
            raise StatementError("url is no address of a web server", hint="write it as https://host/folder/")
        check_host(url.hostname, url.port or (443 if url.scheme == "https" else 80), self.network)
        words: dict[str, Any] = {"headers": dict(self.parameters.get("headers") or {})}
        if not self.network.private or self.network.allowed_hosts is not None:
            words["allow_redirects"] = False  # another address would not have been checked
        files = fsspec.implementations.http.HTTPFileSystem(
            skip_instance_cache=True, client_kwargs={"timeout": aiohttp.ClientTimeout(total=_SECONDS)}, **words
        )
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(files)), self.parameters["url"].rstrip("/")

    def tables(self) -> list[str]:
        """The file that the URL names, if it names one."""
        name = urlsplit(self.root).path.rpartition("/")[2]
        return [name.rpartition(".")[0]] if any(name.endswith(ending) for ending in FORMATS) else []

    def dataset(self, table: tuple[str, ...]) -> Any:
        """The dataset of a file."""
        if self.tables() == [".".join(table)]:
            ending = "." + self.root.rpartition(".")[2]
            return self._one(self.root, ending)
        return super().dataset(table)

    def _read(self, path: str, ending: str) -> Any:
        return self._one(path, ending)

    def _one(self, path: str, ending: str) -> Any:
        return pyarrow.dataset.dataset([path], format=FORMATS[ending], filesystem=self.files)
