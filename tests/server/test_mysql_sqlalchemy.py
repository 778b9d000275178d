"""The MySQL door through SQLAlchemy and pandas, on both drivers: reflection, tables made and read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pandas as pd
import pytest
import sqlalchemy as sa

from tests.server.conftest import Served

HOST = "127.0.0.1"


@pytest.fixture(params=["pymysql", "mysqlconnector"])
def engine(served: Served, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"mysql+{request.param}://ann@{HOST}:{served.mysql_port}/shop")
    yield engine
    engine.dispose()


def test_reflection(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for statement in (
            "DROP TABLE IF EXISTS child",
            "DROP TABLE IF EXISTS parent",
            "CREATE TABLE parent (id INT PRIMARY KEY, name VARCHAR)",
            "CREATE TABLE child (id INT, pid INT REFERENCES parent(id), x DECIMAL(8,2) NOT NULL DEFAULT 1.5, "
            "y UINTEGER UNIQUE, z ENUM('a','B b'), l INT[], ts TIMESTAMP, ok BOOLEAN, PRIMARY KEY (id, pid))",
            "CREATE OR REPLACE VIEW named AS SELECT name FROM parent",
            "INSERT INTO parent VALUES (1, 'a')",
        ):
            connection.execute(sa.text(statement))
    inspector = sa.inspect(engine)
    assert {"child", "parent", "flats"} <= set(inspector.get_table_names())
    assert inspector.get_view_names() == ["named"]
    assert {"shop", "mindsql"} <= set(inspector.get_schema_names())
    assert inspector.default_schema_name == "shop"
    assert not inspector.has_table("nowhere")
    assert [str(column["type"]) for column in inspector.get_columns("child")] == [
        "INTEGER", "INTEGER", "DECIMAL(8, 2)", "INTEGER", "ENUM", "JSON", "DATETIME", "TINYINT"]  # fmt: skip
    assert inspector.get_pk_constraint("child")["constrained_columns"] == ["id", "pid"]
    (key,) = inspector.get_foreign_keys("child")
    assert (key["constrained_columns"], key["referred_table"], key["referred_columns"]) == (
        ["pid"],
        "parent",
        ["id"],
    )
    assert [index["column_names"] for index in inspector.get_unique_constraints("child")] == [["y"]]
    assert inspector.get_columns("named")[0]["name"] == "name"
    child = sa.Table("child", sa.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(
            child.insert(), [{"id": i, "pid": 1, "y": i, "z": "B b", "ok": True} for i in range(3)]
        )
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(child.c.id, child.c.x, child.c.z).order_by(child.c.id).offset(1)
        ).all()
        assert found == [(1, Decimal("1.50"), "B b"), (2, Decimal("1.50"), "B b")]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(child.insert().values(id=1, pid=1))


def test_pandas(engine: sa.Engine) -> None:
    frame = pd.DataFrame(
        {
            "a": [1, 2],
            "b": ["x", "it's"],
            "c": [1.5, None],
            "d": pd.to_datetime(["2020-01-01 00:00:00", "2021-02-03 04:05:06"]),
        }
    )
    frame.to_sql("panda", engine, index=False, if_exists="replace")
    frame.to_sql("panda", engine, index=False, if_exists="append")
    found = pd.read_sql("SELECT * FROM panda ORDER BY a", engine)
    assert found["a"].tolist() == [1, 1, 2, 2] and found["b"].tolist() == ["x", "x", "it's", "it's"]
    assert found["d"].tolist() == [*frame["d"][:1]] * 2 + [*frame["d"][1:]] * 2
    assert found["c"].isna().sum() == 2
    assert len(pd.read_sql_table("panda", engine)) == 4
    predicted = pd.read_sql("SELECT f.sqft, m.rent FROM flats f JOIN rent m", engine)
    assert predicted.shape == (300, 2) and predicted["rent"].dtype == "float64"
