"""Owns BigQuery as a source: by the ADBC driver. It is written by the driver's documentation, and not tried."""

from __future__ import annotations

import json
from typing import Any

import adbc_driver_bigquery.dbapi
from adbc_driver_bigquery import DatabaseOptions

from mindsql.engine import Option
from mindsql.network import check_host
from mindsql_sources.adbc import Warehouse


class BigQuery(Warehouse):
    """A dataset of BigQuery."""

    engine = "bigquery"
    options = (
        Option("project_id", "string", required=True, description="the project"),
        Option("dataset", "string", required=True, description="the dataset"),
        Option("service_account_keys", "string", file=True, description="a file with a service account's key"),
        Option("service_account_json", "object", secret=True, description="the key itself"),
    )
    def listed(self) -> str:
        """A query of the schema and the name of each table: each dataset has a list of its own."""
        listed = f"{self.quote(self.parameters['dataset'])}.INFORMATION_SCHEMA.TABLES"
        return f"SELECT table_schema, table_name FROM {listed} ORDER BY 1, 2"

    def quote(self, name: str) -> str:
        """How a name is written."""
        return "`" + name.replace("`", "") + "`"

    def words(self) -> dict[str, str]:
        """The parameters by the driver's names."""
        given = self.parameters
        words = {
            DatabaseOptions.PROJECT_ID.value: given["project_id"],
            DatabaseOptions.DATASET_ID.value: given["dataset"],
        }
        if given.get("service_account_json"):
            words[DatabaseOptions.AUTH_TYPE.value] = DatabaseOptions.AUTH_VALUE_JSON_CREDENTIAL_STRING.value
            words[DatabaseOptions.AUTH_CREDENTIALS.value] = json.dumps(dict(given["service_account_json"]))
        elif given.get("service_account_keys"):
            words[DatabaseOptions.AUTH_TYPE.value] = DatabaseOptions.AUTH_VALUE_JSON_CREDENTIAL_FILE.value
            words[DatabaseOptions.AUTH_CREDENTIALS.value] = given["service_account_keys"]
        return words

    def connect(self, writes: bool = False) -> Any:
        """A connection."""
        check_host("bigquery.googleapis.com", 443, self.network)
        return adbc_driver_bigquery.dbapi.connect(db_kwargs=self.words(), autocommit=True)
