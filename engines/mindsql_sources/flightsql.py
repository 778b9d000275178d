"""Owns databases that speak Flight SQL as a source: by the ADBC driver."""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import urlsplit

import adbc_driver_flightsql.dbapi
from adbc_driver_flightsql import DatabaseOptions

from mindsql.engine import Option
from mindsql.errors import StatementError
from mindsql.network import check_host
from mindsql_sources.adbc import Warehouse


class FlightSQL(Warehouse):
    """A server of Flight SQL, as Dremio, InfluxDB and others are."""

    engine = "flightsql"
    options = (
        Option("uri", "string", required=True, aliases=("url",), description="grpc://host:port; grpc+tls:// for TLS"),
        Option("user", "string", aliases=("username",), description="who logs in"),
        Option("password", "string", secret=True, description="the password"),
        Option("token", "string", secret=True, description="a bearer token, in place of them"),
    )

    def connect(self, writes: bool = False) -> Any:
        """A connection, whose statements commit by themselves."""
        given = self.parameters
        url = urlsplit(given["uri"])
        if not url.scheme.startswith("grpc") or not url.hostname:
            raise StatementError("uri is no address of a Flight SQL server", hint="write it as grpc://host:port")
        check_host(url.hostname, url.port or 443, self.network)
        words = {key: given[name] for key, name in (("username", "user"), ("password", "password")) if given.get(name)}
        if given.get("token"):
            words[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {given['token']}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a server without transactions is as good
            return adbc_driver_flightsql.dbapi.connect(given["uri"], db_kwargs=words, autocommit=True)
