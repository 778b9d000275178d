"""Models behind `/train` and `/predict`: the statements of the first bring-your-own-model page, and its faults."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.answers import sums
from servers.scripted import Answer, Request, Server

import mindsql
from mindsql.connection import Connection
from mindsql.errors import DataError, EngineError, MindSQLError, StatementError
from mindsql_engines.ray_serve import frame_text, training_body

RENTALS = """
    CREATE SCHEMA test_data;
    CREATE TABLE test_data.home_rentals AS
    SELECT (i % 3)::INTEGER AS number_of_rooms, (1000 * (i % 3) + 1000 + i)::INTEGER AS initial_price,
           (1000 * (i % 3) + 1500 + i)::INTEGER AS rental_price FROM range(3000) t(i);
"""


def add_rentals(con: Connection, folder: Path) -> None:
    """The database `mydb` of the page."""
    path = folder / "mydb.duckdb"
    with mindsql.connect(str(path)) as other:
        other.execute(RENTALS)
    con.execute(f'CREATE DATABASE mydb WITH ENGINE = \'duckdb\', PARAMETERS = {{"path": "{path}"}}')


@pytest.fixture
def summing() -> Iterator[Server]:
    with Server(sums) as server:
        yield server


def untrained(server: Server, more: str = "") -> str:
    return (
        f"CREATE MODEL m PREDICT y USING format = 'ray_serve', url.predict = '{server.url}/predict', "
        f"""dtype_dict = {{"a": "integer", "b": "float", "y": "float"}}{more}"""
    )


PAGE = """
CREATE PREDICTOR byom
FROM mydb (
    SELECT number_of_rooms, initial_price, rental_price 
    FROM test_data.home_rentals
) PREDICT number_of_rooms
USING
url.train = 'http://127.0.0.1:8000/my_model/train',
url.predict = 'http://127.0.0.1:8000/my_model/predict',
dtype_dict={"number_of_rooms": "categorical", "initial_price": "integer", "rental_price": "integer"},
format='ray_server';
"""


def run_the_page(con: Connection, folder: Path, text: str) -> None:
    """Its statements, and what they must give."""
    add_rentals(con, folder)
    con.execute(text)
    found = con.execute("SELECT * FROM byom WHERE initial_price=3000 AND rental_price=3000;").df()
    assert found["number_of_rooms"].tolist() in ([0], [1], [2])
    joined = con.execute(
        "SELECT tb.number_of_rooms, t.rental_price FROM mydb.test_data.home_rentals AS t "
        "JOIN mindsdb.byom AS tb WHERE t.rental_price > 5300;"
    ).fetchall()
    above = "SELECT count(*) FROM mydb.test_data.home_rentals WHERE rental_price > 5300"
    assert len(joined) == con.execute(above).fetchall()[0][0] > 0
    assert {type(rooms) for rooms, _ in joined} == {int}


@pytest.mark.parametrize("word", ["PREDICTOR", "MODEL"])
@pytest.mark.parametrize("format", ["ray_server", "ray_serve"])
def test_the_statements_of_the_page_run_as_written(
    con: Connection, byom_url: str, tmp_path: Path, word: str, format: str
) -> None:
    text = PAGE.replace("http://127.0.0.1:8000", byom_url)
    run_the_page(con, tmp_path, text.replace("PREDICTOR", word).replace("ray_server", format))


@pytest.mark.slow_server
def test_a_real_ray_serve_application(con: Connection, ray_url: str, tmp_path: Path) -> None:
    run_the_page(con, tmp_path, PAGE.replace("http://127.0.0.1:8000", ray_url))


def test_further_keys_become_columns(con: Connection, summing: Server) -> None:
    con.execute("CREATE TABLE t AS SELECT i AS a, i / 2 AS b, i * 2.5 AS y FROM range(20) s(i)")
    con.execute(
        f"CREATE MODEL m FROM (FROM t) PREDICT y USING format = 'ray_serve', url.train = '{summing.url}/train', "
        f"url.predict = '{summing.url}/predict'"
    )
    train = summing.requests[0].json()
    assert train["target"] == "y" and isinstance(train["df"], str)
    df = json.loads(train["df"])
    assert (
        list(df) == ["a", "b", "y"] and df["b"]["3"] == 1.5 and list(df["a"]) == [str(i) for i in range(20)]
    )
    assert set(summing.requests[1].json()) == {"df"}
    row = con.execute(
        "SELECT y, y_confidence, y_lower, y_upper, y_note, y_error FROM m WHERE a = 1 AND b = 2"
    )
    assert row.fetchall() == [(3.0, 1 / 3, 2.0, 4.0, "2", None)]
    assert con.execute("DESCRIBE m.outputs").fetchall() == [
        ("y", "DOUBLE"), ("y_confidence", "DOUBLE"), ("y_lower", "DOUBLE"), ("y_upper", "DOUBLE"),
        ("y_note", "VARCHAR"), ("y_error", "VARCHAR"),
    ]  # fmt: skip


def test_declared_outputs_of_a_model_trained_elsewhere(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing, """, outputs = {"confidence": "float", "note": "text"}"""))
    assert not summing.requests
    assert con.execute("SELECT y, y_confidence, y_note FROM m WHERE a = 1 AND b = 2").fetchall() == [
        (3, 1 / 3, "2")
    ]


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("format = 'ray_serve'", "needs url.predict"),
        ("format = 'ray_serve', url.predict = '{url}', dtype_dict = {{'a': 'integer'}}", 'type of the target "y"'),
        ("format = 'ray_serve', url.predict = '{url}', dtype_dict = {{'y': 'float'}}", "which columns the model takes"),
        ("format = 'ray_serve', url.predict = '{url}', dtype_dict = {{'a': 'complex'}}", 'unknown type of "a"'),
        ("format = 'ray_serve', url.predict = '{url}', url.train = '{url}', dtype_dict = {{'a': 'text', 'y': 'text'}}",
         "no rows to train on"),
        ("format = 'ray_serve', url.predict = 'ftp://x/', dtype_dict = {{'a': 'text', 'y': 'text'}}", "no http"),
        ("format = 'ray_serve', url.predict = 'http://u:p@x/', dtype_dict = {{'a': 'text', 'y': 'text'}}", "password"),
        ("format = 'torch_serve', url.predict = '{url}'", 'unknown format "torch_serve"'),
        ("url.predict = '{url}'", "needs a format"),
        ("engine = 'ray_serve', format = 'mlflow', url.predict = '{url}'", 'the option "format" cannot be'),
        ("format = 'ray_serve', url.predict = '{url}', predict_url = '{url}'", "given twice"),
    ],
)  # fmt: skip
def test_options_are_checked_before_anything_is_sent(
    con: Connection, summing: Server, using: str, message: str
) -> None:
    with pytest.raises(StatementError, match=message):
        con.execute("CREATE MODEL m PREDICT y USING " + using.format(url=summing.url).replace("'", "'"))
    assert not summing.requests
    assert con.execute("SHOW MODELS").fetchall() == []


def test_rows_without_a_place_to_train(con: Connection, summing: Server) -> None:
    con.execute("CREATE TABLE t AS SELECT 1 AS a, 2 AS y")
    with pytest.raises(StatementError, match=r"no url\.train"):
        con.execute(
            f"CREATE MODEL m FROM (FROM t) PREDICT y USING format = 'ray_serve', url.predict = '{summing.url}'"
        )
    with pytest.raises(StatementError, match='unknown column in dtype_dict: "c"'):
        con.execute(
            f"CREATE MODEL m FROM (FROM t) PREDICT y USING format = 'ray_serve', url.predict = '{summing.url}', "
            f"url.train = '{summing.url}', dtype_dict = {{'c': 'integer'}}"
        )
    assert not summing.requests


def test_engine_with_stored_urls(con: Connection, summing: Server) -> None:
    con.execute(
        f"CREATE ML_ENGINE mine FROM ray_serve USING url.predict = '{summing.url}/predict', api_key = 'k3y', "
        "headers = {'X-Team': 'blue'}"
    )
    con.execute("CREATE MODEL m PREDICT y USING engine = 'mine', data_dtype = {'a': 'integer', 'y': 'float'}")
    assert con.execute("SELECT y FROM m WHERE a = 4").fetchall() == [(4,)]
    headers = summing.requests[0].headers
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer k3y", "blue")
    shown = str(con.execute("DESCRIBE ML_ENGINE mine").fetchall()) + str(con.execute("DESCRIBE m").fetchall())
    assert "k3y" not in shown and "blue" not in shown


def test_the_server_says_why_it_does_not_train(con: Connection) -> None:
    con.execute("CREATE TABLE t AS SELECT 1 AS a, 2 AS y")
    for answer, message in (
        ({"status": "error", "error": "too few rows"}, "did not train the model: too few rows"),
        (Answer({"detail": "boom"}, status=500), "500 Internal Server Error: boom"),
        (
            Answer(b"<html><h1>Request Entity Too Large</h1></html>", status=413),
            "413 .*Request Entity Too Large",
        ),
    ):
        with Server(lambda request, answer=answer: answer) as server:
            text = (
                f"CREATE OR REPLACE MODEL m FROM (FROM t) PREDICT y USING format = 'ray_serve', retries = 0, "
                f"url.predict = '{server.url}/predict', url.train = '{server.url}/train'"
            )
            with pytest.raises(EngineError, match=message) as report:
                con.execute(text)
            assert len(server.requests) == 1
            if "413" in message:
                assert "client_max_body_size" in str(report.value.hint)


def test_a_value_that_does_not_fit_is_named(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    with pytest.raises(DataError, match=r'row 3, column "a": .*2\.5.* is no integer'):
        con.execute("SELECT m.y FROM (VALUES (1.0, 0), (2.0, 0), (2.5, 0)) AS t(a, b) JOIN m").fetchall()
    assert not summing.requests
    rows = con.execute(
        "SELECT t.a, m.y, m.y_error FROM (VALUES (1.0, 0), (2.5, 0), (3.0, 0)) AS t(a, b) JOIN m "
        "USING on_error = 'null'"
    ).fetchall()
    assert [(float(a), y) for a, y, _ in rows] == [(1.0, 1.0), (2.5, None), (3.0, 3.0)]
    assert rows[0][2] is None and "2.5 is no integer" in rows[1][2]


def test_a_text_that_is_no_number_is_named(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    with pytest.raises(DataError, match="row 2, column \"a\": 'abc' is no integer"):
        con.execute("SELECT m.y FROM (VALUES ('1', 0), ('abc', 0)) AS t(a, b) JOIN m").fetchall()
    assert not summing.requests


def test_neither_nan_nor_infinity_is_sent(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    con.execute(
        "SELECT m.y FROM (VALUES (1, 'nan'::DOUBLE), (2, 'inf'), (3, NULL)) AS t(a, b) JOIN m"
    ).fetchall()
    (request,) = summing.requests
    assert b"NaN" not in request.body and b"nfinity" not in request.body
    assert json.loads(request.json()["df"])["b"]["0"] is None


def test_the_error_for_an_unknown_column_lists_those_there_are(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    with pytest.raises(StatementError) as report:
        con.execute("SELECT z FROM m WHERE a = 2")
    assert all(name in str(report.value) for name in ("y", "a", "b"))


def test_equal_rows_are_sent_once_and_order_is_kept(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing, ", batch_rows = 7, concurrency = 8"))
    con.execute("CREATE TABLE t AS SELECT i, (i % 100)::INTEGER AS a, 0.5 AS b FROM range(5000) s(i)")
    found = con.execute("SELECT t.i, t.a, m.y FROM t JOIN m ORDER BY i").fetchall()
    assert [y for _, _, y in found] == [a + 0.5 for _, a, _ in found] and len(found) == 5000
    assert sum(len(json.loads(r.json()["df"])["a"]) for r in summing.requests) == 100
    assert 1 < summing.most_at_once <= 8


def test_explain_analyze_counts(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing, ", cache = true, batch_rows = 10"))
    query = "SELECT m.y FROM (SELECT (i % 40)::INTEGER AS a, 1.0 AS b FROM range(60) s(i)) AS t JOIN m"
    assert (
        "4 requests" in (first := con.explain(query, analyze=True))
        and "bytes" in first
        and "20 hits" in first
    )
    again = con.explain(query, analyze=True)
    assert "requests" not in again and "60 hits" in again
    assert len(summing.requests) == 4
    con.execute("DROP MODEL m")
    assert con.execute("SELECT count(*) FROM mindsql._answers").fetchall() == [(0,)]


def test_a_limit_sends_only_what_is_needed(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    con.execute("CREATE TABLE t AS SELECT i::INTEGER AS a, 1.0 AS b FROM range(100000) s(i)")
    assert len(con.execute("SELECT m.y FROM t JOIN m LIMIT 5").fetchall()) == 5
    assert sum(len(json.loads(r.json()["df"])["a"]) for r in summing.requests) == 5


def test_the_training_body_is_what_a_data_frame_gives() -> None:
    import pandas as pd

    df = pd.DataFrame({'a "x"': [1, 2, 3], "ü": ["é", None, '"\\'], "f": [0.5, math.nan, 1e300]})
    types = {'a "x"': "integer", "ü": "categorical", "f": "float"}
    body = json.loads(b"".join(training_body(df, types, "f")))
    back = pd.DataFrame(json.loads(body["df"]))
    assert body["target"] == "f" and back['a "x"'].tolist() == [1, 2, 3] and back["ü"].tolist()[2] == '"\\'
    assert json.loads(frame_text({"a": [1, None]})) == {"a": {"0": 1, "1": None}}


def test_finetune_is_refused(con: Connection, summing: Server) -> None:
    con.execute(untrained(summing))
    with pytest.raises(MindSQLError, match="cannot continue a model"):
        con.execute("FINETUNE m FROM (SELECT 1 AS a, 1.0 AS b, 1.0 AS y)")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("DATE", ["2020-01-01", "2020-01-02T00:00:00"], "soon"),
        ("TIMESTAMP", ["2020-01-01T10:00:00", "2020-01-01"], "2020-13-01"),
        ("TINYINT", [3, 4.0], 300),
        ("HUGEINT", [3, 4], 1e30),
        ("BOOLEAN", [True, "false"], "maybe"),
        ("DOUBLE[]", [[1.0], [2]], ["x"]),
    ],
)
def test_an_answer_of_another_type_is_the_error_of_its_row(
    con: Connection, kind: str, good: list[Any], bad: Any
) -> None:
    def script(request: Request) -> Any:
        if request.path == "/train":
            return {"status": "ok"}
        rows = json.loads(request.json()["df"])["a"].values()
        return {"prediction": [bad if row == 3 else good[row % 2] for row in rows]}

    con.execute(f"CREATE TABLE t AS SELECT i AS a, NULL::{kind} AS y FROM range(3) r(i)")
    with Server(script) as server:
        con.execute(
            "CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING format = 'ray_serve', on_error = 'null', "
            f"url.train = '{server.url}/train', url.predict = '{server.url}/predict'"
        )
        rows = con.execute(
            "SELECT m.y IS NULL, m.y_error FROM (SELECT i AS a FROM range(5) r(i)) AS t JOIN m ORDER BY t.a"
        ).fetchall()
        assert [missing for missing, _ in rows] == [False, False, False, True, False]
        assert 'for "y", which is no ' in rows[3][1] and rows[2][1] is None
        with pytest.raises(EngineError, match=r'the server answers .* for "y", which is no'):
            con.execute("SELECT y FROM m WHERE a = 3 USING on_error = 'fail'").fetchall()


def test_an_input_that_does_not_fit_is_the_error_of_its_row(con: Connection, summing: Server) -> None:
    con.execute(
        "CREATE MODEL m PREDICT y USING format = 'ray_serve', dtype_dict = {'a': 'integer', 'y': 'float'}, "
        f"url.predict = '{summing.url}/predict'"
    )
    # Equal rows are sent once; the row is that of the query all the same.
    query = "SELECT m.y, m.y_error FROM (VALUES ('1'), ('1'), ('1'), ('soon'), ('3')) AS t(a) JOIN m"
    with pytest.raises(DataError, match="row 4, column \"a\": 'soon' is no integer"):
        con.execute(query).fetchall()
    rows = con.execute(query + " USING on_error = 'null'").fetchall()
    assert [y for y, _ in rows] == [1.0, 1.0, 1.0, None, 3.0] and "row 4" in rows[3][1]
    many = "SELECT m.y FROM (SELECT if(i = 40000, 'soon', '1') AS a FROM range(50000) s(i)) AS t JOIN m"
    with pytest.raises(DataError, match="row 40001,"):
        con.execute(many).fetchall()
