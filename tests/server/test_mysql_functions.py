"""MySQL's own functions at the MySQL door: what report tools write must mean there what it means in MySQL."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from mindsql.server.mysql.functions import in_duckdb

MOMENT = datetime.datetime


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("UNIX_TIMESTAMP('2024-01-02 03:04:05')", 1704164645),
        ("unix_timestamp() > 1700000000", True),
        ("FROM_UNIXTIME(86400)", MOMENT(1970, 1, 2)),
        ("FROM_UNIXTIME(86400, '%Y-%m-%d')", "1970-01-02"),
        ("UNIX_TIMESTAMP(FROM_UNIXTIME(12345))", 12345),
        ("DATE_FORMAT('2024-01-02 13:04:05', '%W %M %e %Y')", "Tuesday January 2 2024"),
        ("DATE_FORMAT('2024-01-02 13:04:05', '%h:%i %p %T %%')", "01:04 PM 13:04:05 %"),
        ("STR_TO_DATE('01,5,2013', '%d,%m,%Y')", datetime.date(2013, 5, 1)),
        ("STR_TO_DATE('2013-05-01 09:30', '%Y-%m-%d %H:%i')", MOMENT(2013, 5, 1, 9, 30)),
        ("STR_TO_DATE('nothing', '%d')", None),
        ("CURDATE() = CAST(NOW() AS DATE)", True),
        ("7 DIV 2", 3),
        ("(7)DIV(2)", 3),
        ("TIMESTAMP '2024-01-31' + INTERVAL -30 DAY", MOMENT(2024, 1, 1)),
        ("DATE_ADD('2024-01-31', INTERVAL 1 MONTH)", MOMENT(2024, 2, 29)),
        ("DATE_SUB('2024-01-31', INTERVAL (1 + 1) DAY)", MOMENT(2024, 1, 29)),
        ("DATEDIFF('2024-01-31', '2024-01-01')", 30),
        ("DATEDIFF('2024-01-31' -- the end\n, '2024-01-01')", 30),
        ("TIMESTAMPDIFF(MONTH, '2024-01-31', '2024-03-01')", 1),
        ("CONVERT('12.7', DECIMAL)", Decimal(13)),
        ("CONVERT('12.7', DECIMAL(10, 2))", Decimal("12.70")),
        ("CONVERT('a' USING utf8mb4)", "a"),
        ("CAST('5' AS SIGNED) + CAST(5 AS UNSIGNED INTEGER)", 10),
        ("CAST(CAST(7.0 AS SIGNED) AS CHAR(5))", "7"),
        ("(SELECT GROUP_CONCAT(x ORDER BY x DESC SEPARATOR '; ') FROM (VALUES (1), (2)) AS v(x))", "2; 1"),
        ("ISNULL(NULL)", True),
        ("DATE_FORMAT(DATE_ADD(STR_TO_DATE('2024', '%Y'), INTERVAL 1 YEAR), '%Y')", "2025"),
    ],
)
def test_a_function_of_mysql(expression: str, value: Any) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert connection.execute(in_duckdb(f"SELECT {expression}")).fetchall() == [(value,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT x div FROM t",
        "SELECT t.div, 1 AS div, 'CURDATE()' FROM t -- CURDATE()",
        "SELECT interval -3 FROM t",
        "SELECT CAST( x   AS INTEGER )",
        "SELECT date_sub('day', a,  b), datediff('day', a, b)",
        "SELECT DATE_FORMAT(a, b), DATE_FORMAT(a, '%U')",
        "SELECT isnull FROM t",
        "SELECT CURDATE(",
        "CAST(" * 20_000,
    ],
)
def test_what_is_none_of_mysqls_stays_as_it_is(text: str) -> None:
    assert in_duckdb(text) == text
