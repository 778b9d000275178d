"""Owns Snowflake as a source: by the ADBC driver. It is written by the driver's documentation, and not tried."""

from __future__ import annotations

from typing import Any

import adbc_driver_snowflake.dbapi

from mindsql.engine import Option
from mindsql.network import check_host
from mindsql_sources.adbc import Warehouse

_WORDS = {
    "user": "username",
    "password": "password",
    "account": "adbc.snowflake.sql.account",
    "database": "adbc.snowflake.sql.db",
    "schema": "adbc.snowflake.sql.schema",
    "warehouse": "adbc.snowflake.sql.warehouse",
    "role": "adbc.snowflake.sql.role",
    "private_key": "adbc.snowflake.sql.client_option.jwt_private_key_pkcs8_value",
    "private_key_passphrase": "adbc.snowflake.sql.client_option.jwt_private_key_pkcs8_password",
}


class Snowflake(Warehouse):
    """A database of Snowflake."""

    engine = "snowflake"
    options = (
        Option("account", "string", required=True, description="the account's identifier"),
        Option("user", "string", required=True, aliases=("username",), description="who logs in"),
        Option("password", "string", secret=True, description="the password"),
        Option("private_key", "string", secret=True, description="a PKCS #8 key, in place of it"),
        Option("private_key_passphrase", "string", secret=True, description="what opens the key"),
        Option("database", "string", required=True, description="the database"),
        Option("schema", "string", description="the schema that names without one stand for"),
        Option("warehouse", "string", description="what computes"),
        Option("role", "string", description="the role"),
    )

    def words(self) -> dict[str, str]:
        """The parameters by the driver's names."""
        found = {word: str(self.parameters[name]) for name, word in _WORDS.items() if self.parameters.get(name)}
        if "private_key" in self.parameters:
            found["adbc.snowflake.sql.auth_type"] = "auth_jwt"
        return found

    def connect(self, writes: bool = False) -> Any:
        """A connection."""
        check_host(f"{self.parameters['account']}.snowflakecomputing.com", 443, self.network)
        return adbc_driver_snowflake.dbapi.connect(db_kwargs=self.words(), autocommit=True)
