"""Databases that one class reads by ADBC drivers: a real Flight SQL server, and what the others' drivers are told."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mindsql
from mindsql.engine import Network
from mindsql.errors import AccessError, MindSQLError, SourceError, StatementError
from mindsql_sources.bigquery import BigQuery
from mindsql_sources.flightsql import FlightSQL
from mindsql_sources.snowflake import Snowflake
from tests.sources.servers import free_port, wait_for


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of Flight SQL with a table `rents`; it comes in a wheel for Linux."""
    program = shutil.which("roapi", path=str(Path(sys.executable).parent))
    if program is None:
        if os.environ.get("MINDSQL_TESTS_SKIP") == "no":  # .ci/run says so
            pytest.fail("roapi is not installed: pip install roapi")
        pytest.skip("roapi is not installed here: FLIGHT SQL IS NOT TESTED")
    folder = tmp_path_factory.mktemp("flight")
    rows = "".join(f"{i},{('good', 'poor', '')[i % 3]},{i / 4}\n" for i in range(3000))
    (folder / "rents.csv").write_text(f"id,place,rent\n{rows}")
    (folder / "other.csv").write_text("a\n1\n")
    ports = [free_port() for _ in range(3)]
    command = [program, "--table", "rents=rents.csv", "--table", "other=other.csv"]
    for word, number in zip(("--addr-http", "--addr-postgres", "--addr-flight-sql"), ports, strict=True):
        command += [word, f"127.0.0.1:{number}"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    found = f"grpc://127.0.0.1:{ports[2]}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            FlightSQL("f", {"uri": found}, Network()).close()
        except SourceError:
            return False
        return True

    wait_for(answers, "the server answers")
    yield found
    process.kill()
    process.wait(30)


def test_flight_sql(con: mindsql.Connection, uri: str) -> None:
    con.execute(f"CREATE DATABASE f WITH ENGINE = 'flightsql', PARAMETERS = {{'uri': '{uri}'}}")
    assert con.execute("SHOW TABLES FROM f").fetchall() == []  # this server lists none
    assert con.execute("SELECT count(*), max(rent) FROM f.rents WHERE id < 100 AND place IS NOT NULL").fetchone() == (
        67, 24.75
    )  # fmt: skip
    assert con.execute("SELECT a FROM f.public.other").fetchall() == [(1,)]
    assert con.execute("SELECT * FROM f (SELECT place, count(*) AS n FROM rents GROUP BY place ORDER BY 1)").fetchall()
    assert '"id" < 3' in con.explain("SELECT id FROM f.rents WHERE id < 3", analyze=True)
    con.execute("CREATE MODEL m PREDICT rent FROM f (SELECT id, rent FROM rents) USING estimator = 'LinearRegression'")
    assert con.execute("SELECT count(m.rent) FROM f.rents AS t JOIN m").fetchone() == (3000,)
    with pytest.raises(SourceError, match="nothing"):
        con.execute("SELECT * FROM f.nothing")
    with pytest.raises(SourceError, match="can only be read"):
        con.execute("CREATE TABLE f.x AS SELECT 1 AS a")
    for _ in range(20):
        timer = threading.Timer(0.01, con.interrupt)
        timer.start()
        try:
            con.execute("SELECT count(*) FROM f.rents AS a, f.rents AS b WHERE a.rent + b.rent > 1").fetchall()
        except MindSQLError as error:
            assert type(error).__name__ == "Cancelled"
        timer.join()
        assert con.execute("SELECT count(*) FROM f.rents").fetchone() == (3000,)


def test_what_is_wrong(con: mindsql.Connection) -> None:
    for parameters, kind in (
        ({"uri": "http://127.0.0.1:1"}, StatementError),
        ({"uri": f"grpc://127.0.0.1:{free_port()}", "password": "hidden"}, SourceError),
    ):
        with pytest.raises(kind) as caught:
            con.execute(f"CREATE DATABASE f WITH ENGINE = 'flightsql', PARAMETERS = {parameters!r}")
        assert "hidden" not in str(caught.value)
    con._session.settings = dataclasses.replace(con._session.settings, private_hosts=False)
    with pytest.raises(AccessError):
        con.execute("CREATE DATABASE f WITH ENGINE = 'flightsql', PARAMETERS = {'uri': 'grpc://127.0.0.1:1'}")


@pytest.mark.parametrize(
    ("cls", "parameters", "told"),
    [
        (
            Snowflake,
            {"account": "a", "user": "u", "private_key": "k", "database": "d", "role": "r"},
            {
                "username": "u",
                "adbc.snowflake.sql.account": "a",
                "adbc.snowflake.sql.db": "d",
                "adbc.snowflake.sql.role": "r",
                "adbc.snowflake.sql.client_option.jwt_private_key_pkcs8_value": "k",
                "adbc.snowflake.sql.auth_type": "auth_jwt",
            },
        ),
        (
            BigQuery,
            {"project_id": "p", "dataset": "d", "service_account_json": {"type": "x"}},
            {
                "adbc.bigquery.sql.project_id": "p",
                "adbc.bigquery.sql.dataset_id": "d",
                "adbc.bigquery.sql.auth_type": "adbc.bigquery.sql.auth_type.json_credential_string",
                "adbc.bigquery.sql.auth_credentials": '{"type": "x"}',
            },
        ),
    ],
)
def test_what_the_drivers_are_told(cls: Any, parameters: dict[str, Any], told: dict[str, str]) -> None:
    made = cls.__new__(cls)
    made.parameters = parameters
    assert made.words() == told
    refused = Network(allowed_hosts=())
    with pytest.raises(AccessError, match="may not ask the host"):
        cls("n", parameters, refused)
