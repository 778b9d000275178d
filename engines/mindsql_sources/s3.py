"""Owns files in S3, and in stores that speak its protocol, as a source: by pyarrow's file system."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs

from mindsql.engine import Option
from mindsql.network import check_host
from mindsql_sources.datasets import FileSource, joined

_SECONDS = 20


class S3(FileSource):
    """A bucket, or a folder in it."""

    engine = "s3"
    options = (
        Option("bucket", "string", required=True, description="the bucket"),
        Option("path", "string", aliases=("prefix",), description="a folder in it, at which names begin"),
        Option("region", "string", aliases=("region_name",), description="its region"),
        Option("endpoint", "string", aliases=("endpoint_url",), description="another store's URL, as of MinIO"),
        Option("key", "string", aliases=("aws_access_key_id", "access_key"), description="the access key"),
        Option(
            "secret", "string", secret=True, aliases=("aws_secret_access_key", "secret_key"), description="its secret"
        ),
        Option("token", "string", secret=True, aliases=("aws_session_token",), description="a session's token"),
        Option("anonymous", "boolean", default=False, description="read a public bucket without a key"),
    )

    def store(self) -> tuple[Any, str]:
        """The bucket's file system."""
        given = self.parameters
        url = urlsplit(given.get("endpoint") or "https://s3.amazonaws.com")
        secure = url.scheme != "http"
        check_host(url.hostname or url.path, url.port or (443 if secure else 80), self.network)
        words: dict[str, Any] = {"request_timeout": _SECONDS, "connect_timeout": _SECONDS}
        if given.get("endpoint"):
            words |= {"endpoint_override": url.netloc or url.path, "scheme": "https" if secure else "http"}
        if given.get("region") or given.get("endpoint"):
            words["region"] = given.get("region") or "us-east-1"
        if given.get("anonymous"):
            words["anonymous"] = True
        elif given.get("key"):
            words |= {"access_key": given["key"], "secret_key": given.get("secret") or ""}
            words |= {"session_token": given["token"]} if given.get("token") else {}
        return pyarrow.fs.S3FileSystem(**words), joined(given["bucket"], given, "path")
