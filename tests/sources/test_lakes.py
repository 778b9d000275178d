"""Files in stores and tables of lakes: a real S3 protocol, a web server, Delta and Iceberg tables on disk."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import mindsql
from mindsql.errors import AccessError, SourceError, UnknownNameError

ROWS = pa.table(
    {
        "id": pa.array(range(5000), pa.int64()),
        "place": pa.array([["good", "great", None, "Ä'b"][i % 4] for i in range(5000)]),
        "price": pa.array([float("nan") if i % 7 == 0 else i / 3 for i in range(5000)]),
        "day": pa.array([dt.date(2024, 1, 1) + dt.timedelta(i % 400) for i in range(5000)]),
        "sold": pa.array([None if i % 5 == 0 else i % 2 == 0 for i in range(5000)]),
    }
)
QUERIES = """
SELECT * FROM {t} ORDER BY id
SELECT count(*), sum(id) FROM {t}
SELECT id FROM {t} WHERE id = 17 OR id IN (3, 4999) ORDER BY 1
SELECT count(*) FROM {t} WHERE place = 'good' AND id > 100 AND id <= 4000
SELECT count(*) FROM {t} WHERE place IS NULL
SELECT count(*) FROM {t} WHERE place <> 'good'
SELECT count(*) FROM {t} WHERE place IN ('Ä''b', 'great') AND sold
SELECT count(*) FROM {t} WHERE price > 100
SELECT count(*) FROM {t} WHERE price < 100
SELECT count(*) FROM {t} WHERE price = 'nan'
SELECT count(*) FROM {t} WHERE day BETWEEN DATE '2024-02-01' AND DATE '2024-02-29'
SELECT count(*) FROM {t} WHERE day >= TIMESTAMP '2024-02-01 12:00:00'
SELECT place, max(price) FROM {t} WHERE NOT sold GROUP BY place ORDER BY place
SELECT id FROM {t} WHERE id > 10 ORDER BY id LIMIT 3
""".strip().splitlines()


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    parameters = {"endpoint": f"http://127.0.0.1:{server.get_host_and_port()[1]}", "key": "demo", "secret": "hidden"}
    files = pyarrow.fs.S3FileSystem(
        access_key="demo", secret_key="hidden", region="us-east-1", allow_bucket_creation=True,
        scheme="http", endpoint_override=parameters["endpoint"].removeprefix("http://"),
    )  # fmt: skip
    files.create_dir("lake")
    pyarrow.parquet.write_table(ROWS, "lake/in/rows.parquet", filesystem=files)
    pyarrow.dataset.write_dataset(
        ROWS, "lake/in/parts", filesystem=files, format="parquet", partitioning=["sold"], partitioning_flavor="hive"
    )
    yield {**parameters, "bucket": "lake", "path": "in"}
    server.stop()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "web"
    folder.mkdir()
    pyarrow.parquet.write_table(ROWS, folder / "rows.parquet")
    (folder / "few.csv").write_text("a,b\n1,x\n2,y\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/moved.parquet":
                self.send_response(302)
                self.send_header("Location", "/rows.parquet")
                self.end_headers()
                return
            super().do_GET()

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def _create(con: mindsql.Connection, engine: str, **parameters: Any) -> None:
    con.execute(f"CREATE OR REPLACE DATABASE lake WITH ENGINE = '{engine}', PARAMETERS = {parameters!r}")


def _tables(con: mindsql.Connection) -> list[str]:
    return [row[0] for row in con.execute("SHOW TABLES FROM lake").fetchall()]


def _alike(con: mindsql.Connection, table: str) -> None:
    """The same rows as of a copy, pushed down and not."""
    con.register("here", ROWS)
    for query in QUERIES:
        found = con.execute(query.format(t=table)).fetchall()
        assert str(found) == str(con.execute(query.format(t="here")).fetchall()), query
    con.execute("CREATE OR REPLACE MODEL m PREDICT id FROM (SELECT id, sold, day FROM here) USING test_size = 0")
    joined = f"SELECT count(m.id) FROM {table} AS t JOIN m WHERE t.id < 100"
    assert con.execute(joined).fetchall() == [(100,)]


def test_s3(con: mindsql.Connection, s3: dict[str, Any]) -> None:
    _create(con, "s3", **s3)
    assert _tables(con) == ["parts", "rows.parquet"]
    _alike(con, "lake.rows")
    _alike(con, 'lake."rows.parquet"')
    assert con.execute("SELECT count(*) FROM lake.parts WHERE sold = 'true'").fetchone() == (2000,)
    shown = con.explain("SELECT id FROM lake.rows WHERE id = 3", analyze=True)
    assert "lake: rows (id)" in shown
    with pytest.raises(UnknownNameError, match='unknown table of the database "lake": "row"'):
        con.execute("SELECT * FROM lake.row")
    with pytest.raises(SourceError) as caught:
        _create(con, "s3", **{**s3, "bucket": "gone"})
        con.execute("SELECT * FROM lake.rows")
    assert "hidden" not in str(caught.value)


def test_http(con: mindsql.Connection, web: str) -> None:
    _create(con, "http", url=web)
    _alike(con, 'lake."rows.parquet"')
    assert con.execute("SELECT * FROM lake.few").fetchall() == [(1, "x"), (2, "y")]
    _create(con, "http", url=web + "rows.parquet")
    assert _tables(con) == ["rows"]
    assert con.execute("SELECT count(*) FROM lake.rows WHERE id < 10").fetchone() == (10,)
    with pytest.raises((SourceError, UnknownNameError)):
        con.execute("SELECT * FROM lake.nothing")
    _create(con, "http", url="http://127.0.0.1:1/")
    with pytest.raises((SourceError, UnknownNameError)):
        con.execute('SELECT * FROM lake."a.parquet"')


def test_delta(con: mindsql.Connection, tmp_path: Path) -> None:
    import deltalake

    deltalake.write_deltalake(str(tmp_path / "lake" / "rows"), ROWS.slice(0, 10))
    deltalake.write_deltalake(str(tmp_path / "lake" / "rows"), ROWS, mode="overwrite")
    _create(con, "delta", uri=str(tmp_path / "lake"))
    assert _tables(con) == ["rows"]
    _alike(con, "lake.rows")
    _create(con, "delta", uri=str(tmp_path / "lake" / "rows"), version=0)
    assert con.execute("SELECT count(*) FROM lake.ROWS").fetchone() == (10,)
    with pytest.raises(SourceError, match="no Delta table"):
        _create(con, "delta", uri=str(tmp_path))
    with pytest.raises(UnknownNameError, match="there are: rows"):
        con.execute("SELECT * FROM lake.nothing")


def test_iceberg(con: mindsql.Connection, tmp_path: Path) -> None:
    from pyiceberg.catalog import load_catalog

    given = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/warehouse"}
    catalog = load_catalog("own", **given)
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.rows", schema=ROWS.schema)
    table.append(ROWS.slice(0, 2500))
    table.append(ROWS.slice(2500))
    _create(con, "iceberg", name="own", catalog=given)
    assert _tables(con) == ["shop.rows"]
    _alike(con, "lake.shop.rows")
    with pytest.raises(UnknownNameError, match="there are: shop"):
        con.execute("SELECT * FROM lake.shop.nothing")
    catalog.close()


def test_they_are_read_only_and_have_no_sql(con: mindsql.Connection, s3: dict[str, Any]) -> None:
    _create(con, "s3", **s3)
    for text in ("CREATE TABLE lake.x AS SELECT 1 AS a", "DROP TABLE lake.rows", "INSERT INTO lake.rows SELECT 1"):
        with pytest.raises(SourceError, match="can only be read"):
            con.execute(text)
    with pytest.raises(SourceError, match="no SQL of its own"):
        con.execute("SELECT * FROM lake (SELECT 1)")


def test_a_connection_that_may_not_ask_private_addresses(con: mindsql.Connection, s3: dict[str, Any], web: str) -> None:
    con._session.settings = dataclasses.replace(con._session.settings, private_hosts=False)
    for engine, parameters in (
        ("s3", s3),
        ("http", {"url": web}),
        ("delta", {"uri": "s3://lake/rows", "storage_options": {"AWS_ENDPOINT_URL": s3["endpoint"]}}),
        ("iceberg", {"catalog": {"type": "rest", "uri": web}}),
        ("iceberg", {"catalog": {"type": "sql", "uri": "sqlite:////etc/x"}}),
    ):
        with pytest.raises(AccessError):
            _create(con, engine, **parameters)
            con.execute("SHOW TABLES FROM lake")
