"""A handler written for MindsDB's BaseMLEngine works when its import is changed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import mindsql
from mindsql.engine import Engine
from mindsql.testing import TrainingData, check_engine

BEFORE = "from mindsdb.integrations.libs.base import BaseMLEngine\n"
AFTER = "from mindsql import BaseMLEngine\n"


@pytest.fixture(scope="module")
def handler() -> type[Engine]:
    text = (Path(__file__).parent / "mindsdb_handler.py.txt").read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    names: dict[str, type[Engine]] = {}
    exec(compile(text.replace(BEFORE, AFTER), "mindsdb_handler.py", "exec"), names)
    return names["RatesHandler"]


def test_its_life_in_sql(handler: type[Engine]) -> None:
    con = mindsql.connect().register_engine("rates", handler)
    con.execute("CREATE TABLE bills AS SELECT i AS amount, i * 2.0 AS price FROM range(1, 9) AS t(i)")
    with pytest.raises(mindsql.EngineError, match="currency must be given"):
        con.execute("CREATE ML_ENGINE euros FROM rates")
    con.execute("CREATE ML_ENGINE euros FROM rates USING currency = 'EUR', api_key = 'abc123'")
    shown = con.execute("DESCRIBE ML_ENGINE euros").fetchall()
    assert ("currency", "EUR") in shown and "abc123" not in str(shown)
    con.execute(
        "CREATE MODEL prices FROM (FROM bills) PREDICT price USING engine = 'euros', amount_column = 'amount'"
    )
    price, explain = con.execute("SELECT price, price_explain FROM prices WHERE amount = 10").fetchall()[0]
    assert (price, json.loads(explain)) == (20.0, {"currency": "EUR"})
    query = "SELECT m.price FROM bills AS b JOIN prices AS m WHERE b.amount = 4 USING discount = 0.5"
    assert con.execute(query).fetchall() == [(4.0,)]
    con.execute("FINETUNE prices FROM (SELECT 1 AS amount, 3.0 AS price)")
    assert con.execute("SELECT price FROM prices WHERE amount = 10").fetchall() == [(30.0,)]
    assert con.execute("SELECT price FROM prices.1 WHERE amount = 10").fetchall() == [(20.0,)]
    assert con.execute("DESCRIBE prices.rate").fetchall() == [(3.0,)]
    con.close()


def test_it_passes_the_suite(handler: type[Engine]) -> None:
    rows = pd.DataFrame({"amount": range(1, 40), "price": [2.5 * amount for amount in range(1, 40)]})
    check_engine(
        handler,
        options={"amount_column": "amount"},
        engine_options={"currency": "EUR"},
        data=TrainingData.of(rows, "price"),
    )
