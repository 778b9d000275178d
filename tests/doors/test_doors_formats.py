"""Formats: golden outputs of every hard type, DuckDB's own spelling, and what a small terminal leaves out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mindsql import formats
from mindsql.formats.objects import unique
from mindsql.formats.rows import chunks, types_of
from mindsql.formats.values import text_writer

GOLDEN = Path(__file__).parent / "golden"


CONNECTION = duckdb.connect()


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """DuckDB complains about connections that are open when the process ends."""
    yield
    CONNECTION.close()


class Answer:
    """A DuckDB result with the face that the formats need."""

    def __init__(self, sql: str) -> None:
        self._relation = CONNECTION.sql(sql)
        self.columns: list[str] = self._relation.columns
        self.types = [str(kind) for kind in self._relation.types]
        self._rows: Any = None

    def fetchmany(self, size: int = 1) -> list[Any]:
        if self._rows is None:
            self._rows = self._relation.fetchall()
        rows, self._rows = self._rows[:size], self._rows[size:]
        return list(rows)

    def reader(self) -> Any:
        return self._relation.to_arrow_reader(2048)


def written(sql: str, format: str, **limits: Any) -> str:
    stream = io.StringIO()
    formats.write(Answer(sql), stream, format, **limits)
    return stream.getvalue()


@pytest.mark.parametrize("format", formats.FORMATS)
def test_every_type_in_every_format(format: str, run: Any) -> None:
    done = run("-f", str(GOLDEN / "types.sql"), "--format", format)
    assert done.stderr == ""
    assert done.stdout == (GOLDEN / f"types.{format}").read_bytes().decode()


HARD = """
INTERVAL '1 month 2 days 3.5 seconds' | INTERVAL '-14 months -1 day' | INTERVAL '0 days'
INTERVAL '-90 minutes' | [INTERVAL '1 year', NULL] | TIMESTAMP_NS '2024-01-01 10:00:00.123456789'
TIMETZ '10:00:00+02:30' | [TIMESTAMP_NS '2024-01-01 10:00:00.1'] | TIME '24:00:00' | DATE '290000-01-01'
TIMESTAMP_S '2024-01-01 00:00:00' | 1e15::DOUBLE | 1e-5::DOUBLE | -0.0::DOUBLE | 'nan'::FLOAT
0.1::FLOAT | 16777216::FLOAT | 3.4e38::FLOAT | 1e-45::FLOAT | 0.000000000001::DECIMAL(18, 12)
12345678901234567890::BIGNUM | '1010'::BIT | (-128)::TINYINT | (1, 'x') | [1, 2]::INTEGER[2] | [[1], NULL, []]
['it''s', 'a\\b', ' x', '{', 'e:f'] | {'a b': 'x', 'it''s': NULL} | MAP {'a=b': {'c': [DATE '2024-01-01']}}
MAP {} | union_value(k := 1.5::DOUBLE) | ['x\\x00'::BLOB] | 'v'::VARIANT | ['a']::ENUM('a')[]
[UUID '550e8400-e29b-41d4-a716-446655440000'] | '{"a": 1}'::JSON | '' | 'text'
"""


@pytest.mark.parametrize("value", [value for line in HARD.strip().split("\n") for value in line.split(" | ")])
def test_text_is_what_duckdb_writes(value: str) -> None:
    answer = Answer(f"SELECT {value} AS x")
    [[row]] = chunks(answer)
    spelled = CONNECTION.sql(f"SELECT ({value})::VARCHAR").fetchall()[0][0]
    assert text_writer(types_of(answer)[0])(row[0]) == spelled


def test_json_can_be_read_back_and_has_no_key_twice() -> None:
    sql = "SELECT i, i / 0 AS x, 'naïve \"quoted\"' || chr(10) AS s, i AS i FROM range(3000) t(i)"
    rows = json.loads(written(sql, "json"))
    assert len(rows) == 3000
    assert rows[1] == {"i": 1, "x": None, "s": 'naïve "quoted"\n', "i_1": 1}
    assert [json.loads(line) for line in written(sql, "jsonl").splitlines()] == rows
    assert json.loads(written("SELECT 1 WHERE false", "json")) == []
    assert unique(["a", "a", "a_1", "a"]) == ["a", "a_2", "a_1", "a_3"]


def test_csv_can_be_read_back_and_keeps_null_from_empty() -> None:
    text = written("FROM (VALUES ('a,\"b\"\r\n', 1), (NULL, NULL), ('', 2)) t(\"x,y\", n)", "csv")
    assert text == '"x,y",n\n"a,""b""\r\n",1\n,\n"",2\n'
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == ['a,"b"\r\n', "1"]


def test_long_results_show_both_ends_and_count_the_rest() -> None:
    text = written("SELECT i, -i AS j FROM range(10000) t(i)", "table", max_rows=4)
    assert text.splitlines() == [
        "+------+-------+",
        "| i    | j     |",
        "+------+-------+",
        "|    0 |     0 |",
        "|    1 |    -1 |",
        "|    . |     . |",
        "|    . |     . |",
        "|    . |     . |",
        "| 9998 | -9998 |",
        "| 9999 | -9999 |",
        "+------+-------+",
        "10,000 rows (4 shown), 2 columns",
    ]


def test_wide_results_cut_cells_then_leave_out_the_middle() -> None:
    long = written("SELECT repeat('東京', 30) AS a, 1 AS b", "box", width=30, max_rows=40)
    assert "│ 東京東京東京東京東京…  │ 1 │" in long and "1 row, 2 columns" in long
    columns = ", ".join(f"'value {i}' AS c{i}" for i in range(12))
    wide = written(f"SELECT {columns}", "box", width=60, max_rows=40)
    assert wide.splitlines()[1] == "│ c0      │ c1      │ c2      │ … │ c10      │ c11      │"
    assert wide.splitlines()[-1] == "1 row, 12 columns (5 shown; the format line shows all)"
    assert max(map(len, wide.splitlines())) <= 60


def test_full_tables_stretch_where_a_late_cell_is_longer() -> None:
    text = written("SELECT if(i = 2999, 'a long one', 'x') AS a FROM range(3000) t(i)", "table")
    assert text.splitlines()[3] == "| x |" and text.splitlines()[-2] == "| . |"
