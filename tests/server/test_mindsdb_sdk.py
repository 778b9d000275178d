"""MindsDB's own Python SDK against the server: what its users' programs do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mindsdb_sdk
import pandas as pd
import pytest
import requests

from tests.server.conftest import Serve, Served, serving

# The SDK's parser leaves a file of its own open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The SDK's server object, with a table `flats` in the database `shop`."""
    with serving(tmp_path_factory.mktemp("sdk")) as served:
        connected = mindsdb_sdk.connect(served.url)
        connected.query(
            "CREATE TABLE shop.flats AS SELECT 300 + i * 7 % 900 AS sqft, i % 3 AS rooms, "
            "(300 + i * 7 % 900) * 2.0::DOUBLE + i % 3 AS rent FROM range(300) r(i)"
        ).fetch()
        yield connected
        connected.api.session.close()


def test_a_model_is_created_awaited_and_asked(server: Any) -> None:
    shop = server.databases.get("shop")
    model = server.models.create(
        "rents",
        predict="rent",
        engine="sklearn",
        query=shop.query("SELECT * FROM flats"),
        options={"estimator": "LinearRegression", "join_learn_process": False},
    )
    model.wait_complete()
    assert model.get_status() == "complete"
    assert [found.name for found in server.models.list()] == ["rents"]
    asked = model.predict(pd.DataFrame([{"sqft": 500, "rooms": 1}, {"sqft": 600, "rooms": 2}]))
    assert [round(value) for value in asked["rent"]] == [1001, 1202]
    assert [round(value) for value in model.predict({"sqft": 500, "rooms": 1})["rent"]] == [1001]
    many = model.predict(shop.tables.get("flats").filter(rooms=1).limit(7))
    assert len(many) == 7 and {"rent", "sqft"} <= set(many.columns)
    project = server.projects.get("mindsql")
    assert len(model.predict(project.query("SELECT * FROM shop.flats WHERE rooms = 1 LIMIT 5"))) == 5
    joined = server.query(
        "SELECT t.sqft, m.rent FROM shop.flats AS t JOIN mindsdb.rents AS m LIMIT 3"
    ).fetch()
    assert len(joined) == 3


def test_scripts_begin_with_the_default_project(server: Any) -> None:
    assert server.get_project().name == server.get_project("mindsdb").name == "mindsdb"
    shop = server.databases.get("shop")
    query = shop.query("SELECT * FROM flats")
    options = {"estimator": "LinearRegression"}
    server.get_project().models.create("areas", predict="rent", engine="sklearn", query=query, options=options)
    model = server.get_project().models.get("areas")
    model.wait_complete()
    # What is not given counts as missing.
    assert len(model.predict({"sqft": 500})["rent"]) == 1
    server.get_project().models.drop("areas")


def test_versions(server: Any) -> None:
    server.query("CREATE OR REPLACE MODEL again FROM shop (SELECT * FROM flats) PREDICT rent").fetch()
    server.query("RETRAIN again").fetch()
    model = server.models.get("again")
    assert [found.version for found in model.list_versions()] == [1, 2]
    model.set_active(1)
    assert model.data["version"] == 1
    model.drop_version(2)
    server.models.drop("again")
    with pytest.raises(AttributeError, match="doesn't exist"):
        server.models.get("again")


def test_projects_views_tables_and_engines(server: Any) -> None:
    server.projects.create("apart")
    assert "apart" in [project.name for project in server.projects.list()]
    server.projects.drop("apart")
    server.views.create("dear", "SELECT * FROM shop.flats WHERE rent > 2000")
    assert [view.name for view in server.views.list()] == ["dear"]
    assert len(server.views.get("dear").limit(3).fetch()) == 3
    server.views.drop("dear")
    shop = server.databases.get("shop")
    shop.tables.create("copied", shop.query("SELECT * FROM flats LIMIT 10"))
    shop.tables.get("copied").insert(shop.query("SELECT * FROM flats LIMIT 5"))
    shop.tables.get("copied").delete(rooms=1)
    assert len(shop.tables.get("copied").fetch()) == 10
    shop.tables.drop("copied")
    server.ml_engines.create("mine", "sklearn")
    assert server.ml_engines.get("mine").handler == "sklearn"
    server.ml_engines.drop("mine")
    assert "sklearn" in [handler.name for handler in server.ml_handlers.list()]
    assert server.status()["mindsql_version"]


def test_an_error_says_what_to_do(server: Any) -> None:
    with pytest.raises(requests.HTTPError, match=r"(?s)nowhere.*there are: flats"):
        server.query("SELECT * FROM nowhere").fetch()


def test_tokens(serve: Serve, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "mindsql.cli", "token", "create", "--new", "shop.duckdb", "ann", "--role", "read"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    secret = made.stdout.split()[-1]
    served: Served = serve()
    with pytest.raises(requests.HTTPError, match="token"):
        mindsdb_sdk.connect(served.url, api_key="msql_wrong").query("SELECT 1").fetch()
    for known in (
        mindsdb_sdk.connect(served.url, api_key=secret),
        mindsdb_sdk.connect(served.url, login="ann", password=secret),
    ):
        assert len(known.query("SELECT 1 AS a").fetch()) == 1
        with pytest.raises(requests.HTTPError, match="role"):
            known.query("CREATE TABLE t (a INT)").fetch()
        known.api.session.close()
