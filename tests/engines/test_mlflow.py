"""MLflow's scoring servers: real ones, the protocol before 2.0, and what the registry says of a model."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from servers.scripted import Answer, Request, Server

from mindsql.connection import Connection
from mindsql.errors import EngineError, StatementError
from mindsql_engines.mlflow.asking import keyed
from mindsql_engines.mlflow.registry import signature_of

PAGE = """CREATE PREDICTOR byom2 PREDICT `1` USING url.predict='http://localhost:5000/invocations', \
format='mlflow', data_dtype={"0": "integer", "1": "integer"}"""


def doubling(request: Request) -> Any:
    """An MLflow of today: twice the first number."""
    if request.path == "/version":
        return Answer(b"3.17.2", headers={"Content-Type": "text/plain"})
    if "parquet" in request.headers["Content-Type"]:
        rows = pq.read_table(io.BytesIO(request.body)).to_pylist()
    else:
        rows = request.json()["dataframe_records"]
    return {"predictions": [2 * next(iter(row.values())) for row in rows]}


def old(request: Request) -> Any:
    """MLflow before 2.0."""
    if request.path == "/version":
        return Answer(b"1.30.1", headers={"Content-Type": "text/plain"})
    found = request.json()
    if isinstance(found, dict):
        text = (
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid JSON-formatted one"
        )
        return Answer({"error_code": "MALFORMED_REQUEST", "message": text}, status=400)
    return [2 * next(iter(row.values())) for row in found]


def test_the_statements_of_the_page_run_as_written(con: Connection) -> None:
    with Server(doubling) as server:
        con.execute(PAGE.replace("http://localhost:5000", server.url))
        assert not server.requests
        assert con.execute("SELECT `1` FROM byom2 WHERE `0` = 2").fetchall() == [(4,)]
        with pytest.raises(StatementError) as report:
            con.execute("SELECT y FROM byom2 WHERE `0`=2;")
        assert "y" in report.value.message and "0" in str(report.value.hint) and "1" in str(report.value.hint)


def test_the_protocol_is_found_out(con: Connection) -> None:
    def silent(request: Request) -> Any:
        return Answer({}, status=404) if request.path == "/version" else old(request)

    for script, requests in ((doubling, 2), (old, 2), (silent, 3)):
        with Server(script) as server:
            con.execute(
                PAGE.replace("http://localhost:5000", server.url).replace("CREATE", "CREATE OR REPLACE")
            )
            for _ in range(2):
                assert con.execute("SELECT `1` FROM byom2 WHERE `0` = 21").fetchall() == [(42,)]
            assert len(server.requests) == requests + 1, [r.path for r in server.requests]
            sent = server.requests[-1]
            if script is doubling:
                assert sent.headers["Content-Type"] == "application/json"
                assert sent.json() == {"dataframe_records": [{"0": 21}]}
            else:
                assert sent.headers["Content-Type"] == "application/json; format=pandas-records"
                assert sent.json() == [{"0": 21}]


@pytest.mark.parametrize(("protocol", "script"), [("current", doubling), ("old", old)])
def test_the_protocol_can_be_asked_for(con: Connection, protocol: str, script: Any) -> None:
    with Server(script) as server:
        con.execute(
            PAGE.replace("http://localhost:5000", server.url) + f", protocol = '{protocol}', parquet = false"
        )
        assert con.execute("SELECT `1` FROM byom2 WHERE `0` = 21").fetchall() == [(42,)]
        assert [r.path for r in server.requests] == ["/invocations"]


def test_many_rows_go_as_parquet(con: Connection) -> None:
    with Server(doubling) as server:
        con.execute(PAGE.replace("http://localhost:5000", server.url))
        rows = con.execute(
            'SELECT t."0", m."1" FROM (SELECT i AS "0" FROM range(5000) s(i)) AS t JOIN byom2 AS m'
        )
        assert all(b == 2 * a for a, b in rows.fetchall())
        assert server.requests[-1].headers["Content-Type"] == "application/vnd.apache.parquet"


def test_parquet_that_is_refused_goes_as_json(con: Connection) -> None:
    def picky(request: Request) -> Any:
        if "parquet" in request.headers.get("Content-Type", ""):
            return Answer({"message": "Can not safely convert int64 to int32."}, status=400)
        return doubling(request)

    with Server(picky) as server:
        con.execute(
            PAGE.replace("http://localhost:5000", server.url) + ", batch_rows = 2000, concurrency = 1"
        )
        rows = con.execute(
            'SELECT t."0", m."1" FROM (SELECT i AS "0" FROM range(6000) s(i)) AS t JOIN byom2 AS m'
        )
        assert all(b == 2 * a for a, b in rows.fetchall())
        assert ["parquet" in r.headers["Content-Type"] for r in server.requests[1:]] == [
            True,
            False,
            False,
            False,
        ]


def test_optional_inputs_that_are_null_are_left_out(con: Connection) -> None:
    def strict(request: Request) -> Any:
        if request.path == "/version":
            return Answer(b"3.17.2", headers={"Content-Type": "text/plain"})
        rows = request.json()["dataframe_records"]
        if any(None in row.values() for row in rows) or len({tuple(row) for row in rows}) > 1:
            return Answer({"message": "Incompatible input types for column 1"}, status=400)
        return {"predictions": [100 * row.get("0", 0) + row.get("1", 0) for row in rows]}

    using = 'data_dtype={"0": "integer", "1": "integer"}, batch_rows = 4, concurrency = 1, parquet = false'
    with Server(strict) as server:
        con.execute(f"CREATE MODEL optional PREDICT y USING url.predict = '{server.url}', format = 'mlflow', {using}")
        con.execute(
            'CREATE TABLE rows AS SELECT nullif(i % 3, 0) AS "0", nullif(i % 4, 0) AS "1", i FROM range(1, 9) r(i)'
        )
        found = con.execute(
            'SELECT y, 100 * ifnull(t."0", 0) + ifnull(t."1", 0) FROM rows AS t JOIN optional ORDER BY i'
        ).fetchall()
        assert len(found) == 8 and all(y == right for y, right in found)
        # One request is refused; the second batch is not even tried whole.
        sent = [row for r in server.requests if r.body for row in r.json()["dataframe_records"]]
        assert sum(None in row.values() for row in sent) == 2


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("format = 'mlflow'", "needs url.predict"),
        ("format = 'mlflow', url.predict = '{url}', url.train = '{url}'", 'unknown option .*"url.train"'),
        ("format = 'mlflow', url.predict = '{url}', protocol = 'new'", 'the option "protocol" cannot be'),
        ("format = 'mlflow', url.predict = '{url}', model = 'rent/1'", "belong together"),
        ("format = 'mlflow', url.predict = '{url}', trusted = true", "leave url.predict out"),
        ("format = 'mlflow', tracking_uri = '{url}', model = 'a/1', parquet = true", "parquet has no meaning"),
        ("format = 'mlflow', url.predict = 'file:///x', dtype_dict = {{'a': 'text'}}", "no http"),
    ],
)
def test_options_are_checked_before_anything_is_sent(con: Connection, using: str, message: str) -> None:
    with Server(doubling) as server:
        with pytest.raises(StatementError, match=message):
            con.execute("CREATE MODEL m PREDICT y USING " + using.format(url=server.url))
        assert not server.requests


def test_rows_to_train_on_have_no_meaning(con: Connection) -> None:
    with pytest.raises(StatementError, match="trained elsewhere"):
        con.execute("CREATE MODEL m FROM (SELECT 1 AS a, 2 AS y) PREDICT y USING format = 'mlflow', "
                    "url.predict = 'http://127.0.0.1:1/'")  # fmt: skip


@pytest.mark.slow_server
def test_a_real_server(con: Connection, mlflow_sizes: str) -> None:
    """`mlflow models serve` of a scikit-learn pipeline: signature, predictions of few and many rows, errors."""
    con.execute(
        f"CREATE MODEL sizes PREDICT size USING format = 'mlflow', url.predict = '{mlflow_sizes}/invocations'"
    )
    assert con.execute("DESCRIBE sizes.inputs").fetchall() == [("0", "BIGINT"), ("more", "DOUBLE")]
    assert con.execute("DESCRIBE sizes.outputs").fetchall()[0] == ("size", "VARCHAR")
    assert con.execute("SELECT size FROM sizes WHERE `0` = 2 AND more = 0.5").fetchall() == [("small",)]
    query = (
        'SELECT t."0", m.size FROM (SELECT i AS "0", 0.5 AS more FROM range(3000) s(i)) AS t JOIN sizes AS m'
    )
    found = con.execute(query).fetchall()
    assert len(found) == 3000
    assert all(size == ("big" if number > 25 else "small") for number, size in found if abs(number - 20) > 5)
    plan = con.explain(query, analyze=True)
    assert "1 requests" in plan
    con.execute(
        "CREATE MODEL wrong PREDICT size USING format = 'mlflow', dtype_dict = {'0': 'integer', 'size': 'text'}, "
        f"url.predict = '{mlflow_sizes}/invocations'"
    )
    with pytest.raises(EngineError, match=r"400 Bad Request: .*Model is missing inputs \['more'\]"):
        con.execute("SELECT size FROM wrong WHERE `0` = 2").fetchall()
    con.execute(
        "CREATE MODEL texts PREDICT size USING format = 'mlflow', on_error = 'null', "
        "dtype_dict = {'0': 'text', 'more': 'float', 'size': 'text'}, "
        f"url.predict = '{mlflow_sizes}/invocations'"
    )
    rows = con.execute(
        "SELECT m.size, m.size_error FROM (VALUES ('1', 0.5), ('abc', 0.5), ('39', 1.0)) AS t(\"0\", more) "
        "JOIN texts AS m"
    ).fetchall()
    assert [size for size, _ in rows] == ["small", None, "big"]
    assert "Failed to convert column 0 to type 'int64'" in rows[1][1] and rows[0][1] is None


@pytest.mark.slow_server
def test_answers_of_many_shapes(con: Connection, mlflow_shapes: str) -> None:
    """A real server whose model answers strings, lists, one column, several and data frames."""

    def ask(kind: str, columns: str, more: str = "") -> Any:
        con.execute(
            f"CREATE OR REPLACE MODEL m PREDICT y USING format = 'mlflow', params = {{'kind': '{kind}'}}, "
            f"url.predict = '{mlflow_shapes}/invocations'{more}"
        )
        query = f"SELECT {columns} FROM (VALUES (1.0), (2.0), (4.0)) AS t(a) JOIN m"
        return con.execute(query).fetchall()

    assert ask("strings", "m.y") == [("s1",), ("s2",), ("s4",)]
    assert ask("one", "m.y") == [(1.0,), (2.0,), (4.0,)]
    assert ask("lists", "m.y") == [([1.0, 1.5],), ([2.0, 2.5],), ([4.0, 4.5],)]
    assert ask("frame", "m.y, m.y_lower, m.y_upper") == [(1, 0, 2), (2, 1, 3), (4, 3, 5)]
    assert ask("several", "m.y, m.y_big") == [(0.5, 2), (1, 4), (2, 8)]


@pytest.mark.slow_server
def test_a_real_registry(con: Connection, mlflow_tracking: str) -> None:
    """A registry name and `tracking_uri`, and nothing else: the scikit-learn model is loaded, no code of it is run."""

    def create(model: str, more: str = "") -> None:
        con.execute(
            f"CREATE OR REPLACE MODEL m PREDICT size USING engine = 'mlflow', model_name = '{model}', "
            f"tracking_uri = '{mlflow_tracking}'{more}"
        )

    query = (
        'SELECT t."0", m.size, m.size_confidence > 0.5 '
        'FROM (SELECT i AS "0", 0.5 AS more FROM range(0, 40, 13) s(i)) AS t JOIN m ORDER BY 1'
    )
    expected = [(0, "small", True), (13, "small", True), (26, "big", True), (39, "big", True)]
    for model in ("sizes/1", "sizes@champion", "models:/sizes/Production"):
        create(model)
        assert con.execute("DESCRIBE m.inputs").fetchall() == [("0", "BIGINT"), ("more", "DOUBLE")]
        assert con.execute(query).fetchall() == expected
        assert con.execute("SELECT size FROM m WHERE `0` = 2 AND more = 0.5").fetchall() == [("small",)]
    assert "models:/sizes/1" in str(con.execute("DESCRIBE m.info").fetchall())
    con.execute(f"CREATE ML_ENGINE registry FROM mlflow USING tracking_uri = '{mlflow_tracking}'")
    con.execute("CREATE OR REPLACE MODEL m PREDICT size USING engine = 'registry', model = 'sizes/1'")
    assert con.execute(query).fetchall() == expected
    with pytest.raises(StatementError, match="on_error has no meaning for a model that is loaded"):
        con.execute(query.replace(" ORDER BY 1", " ORDER BY 1 USING on_error = 'null'")).fetchall()
    with pytest.raises(StatementError, match="not a skops file"):
        create("sizes")  # the latest version, 2, is a pickle
    create("sizes", ", trusted = true")
    assert con.execute(query).fetchall() == expected
    with pytest.raises(StatementError, match="is a model of python_function: only MLflow itself") as report:
        create("shapes/1")
    assert "mlflow models serve -m models:/shapes/1" in str(report.value.hint)
    with pytest.raises(EngineError, match="not found"):
        create("rents/1")


def test_the_signature_in_the_registry(con: Connection) -> None:
    mlmodel = b"""flavors: {}
signature:
  inputs: '[{"type": "long", "name": "rooms", "required": true}, {"type": "string", "name":
    "hood"}]'
  outputs: '[{"type": "double", "name": "rent"}, {"type": "double", "name": "spread"}]'
"""

    def registry(request: Request) -> Any:
        if request.path.startswith("/api/2.0/mlflow/registered-models/alias?name=rent%20s&alias=best"):
            return {"model_version": {"name": "rent s", "version": "7"}}
        if request.path == "/model-versions/get-artifact?path=MLmodel&name=rent%20s&version=7":
            return Answer(mlmodel)
        return Answer({"message": "no such model"}, status=404)

    with Server(registry) as server:
        using = (
            f"CREATE OR REPLACE MODEL m PREDICT rent USING format = 'mlflow', tracking_uri = '{server.url}', "
            f"url.predict = '{server.url}/invocations', model = "
        )
        for name in ("rent s@best", "models:/rent s/7"):
            con.execute(f"{using}'{name}'")
            assert con.execute("DESCRIBE m.inputs").fetchall() == [("rooms", "BIGINT"), ("hood", "VARCHAR")]
            assert con.execute("DESCRIBE m.outputs").fetchall() == [
                ("rent", "DOUBLE"), ("rent_spread", "DOUBLE"), ("rent_error", "VARCHAR")
            ]  # fmt: skip
        with pytest.raises(StatementError, match='the model has no column "cellar"'):
            con.execute(f"{using}'rent s@best', dtype_dict = {{'cellar': 'integer'}}")
        with pytest.raises(EngineError, match="no such model"):
            con.execute(f"{using}'rents/1'")
        server.requests.clear()
        con.execute(f"{using.replace(server.url + '/inv', 'http://127.0.0.1:1/inv')}'rent s@best', api_key = 'k3y'")
        con.execute(f"{using}'rent s@best', api_key = 'k3y'")
        # A key is for the server that answers; the registry gets it when it is the same.
        assert ["Authorization" in r.headers for r in server.requests] == [False, False, True, True]


def test_signatures() -> None:
    spec = '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'
    for text in (
        f"signature:\n  inputs: '{spec}'\n  params: null\n",
        f"signature:\n  inputs: {json.dumps(spec)}\n",
    ):
        assert signature_of(text.encode()) == ({"0": "float", "1": "float"}, {})
    quoted = 'a: 1\nsignature:\n  inputs: \'[{"type": "long", "name": "it\'\'s"}]\'\n  outputs: null\nb: 2\n'
    assert signature_of(quoted.encode()) == ({"it's": "integer"}, {})
    assert signature_of(b"flavors: {}\n") == ({}, {})


def test_forms_of_answers() -> None:
    for answer in ({"predictions": [1, 2]}, [1, 2], {"predictions": [[1], [2]]}, [{"Y": 1}, {"Y": 2}],
                   {"predictions": {"y": [1, 2]}}):  # fmt: skip
        assert keyed(answer, "y") == {"prediction": [1, 2]}
    assert keyed([{"a": 1, "y": 3}], "y") == {"a": [1], "prediction": [3]}
    with pytest.raises(EngineError, match="no predictions"):
        keyed({"predictions": "x"}, "y")
