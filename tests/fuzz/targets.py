"""Owns what is fed with bytes: each target takes any bytes and may raise only what it says it raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import mindsql_grammar
from mindsql.errors import MindSQLError
from mindsql.server.http import bodies, columns, parameters

TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "application/x-ndjson",
    "text/csv",
    "text/tab-separated-values; charset=latin-1",
    "multipart/form-data; boundary=x",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.apache.parquet",
    "",
    "text/plain; charset=utf-7",
)
_LIMITS = columns.BodyLimits(
    bytes=1 << 20, unpacked_bytes=1 << 20, rows=1000, columns=100, cells=10_000, depth=8
)


def body(data: bytes) -> None:
    """A body; its first byte chooses the content type."""
    kind = TYPES[data[0] % len(TYPES)] if data else ""
    try:
        bodies.read(data[1:], kind, _LIMITS)
    except MindSQLError as error:
        _refused(error)


def query(data: bytes) -> None:
    """A query string, as actions, options and columns."""
    pairs = tuple(parse_qsl(data.decode("latin-1"), keep_blank_values=True))
    asked = parameters.Query(pairs)
    calls: tuple[Callable[[], object], ...] = (
        lambda: parameters.actions(asked),
        lambda: parameters.choice(asked, "_format", ("list", "csv"), "list"),
        lambda: parameters.number(asked, "wait", 1.0, 600.0),
        lambda: asked.flag("_retrain"),
        lambda: columns.from_pairs(pairs, _LIMITS),
    )
    for call in calls:
        try:
            call()
        except MindSQLError as error:
            _refused(error)


def statement(data: bytes) -> None:
    """A text as statements."""
    text = data.decode("utf-8", "replace")
    mindsql_grammar.is_complete(text)
    try:
        mindsql_grammar.parse(text)
    except mindsql_grammar.ParseError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)


def _refused(error: MindSQLError) -> None:
    assert 400 <= error.http_status < 500, error
    assert not re.search(r"Traceback|<class", error.message), error


TARGETS: Mapping[str, Callable[[bytes], None]] = {"body": body, "query": query, "statement": statement}
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "body": (
        b'\x00[{"a": 1, "b": "x"}, {"a": null}]',
        b'\x00{"data": {"a": [1, 2], "b": ["x", null]}}',
        b'\x01{"a": 1.5}',
        b"\x01a=1&a=2&b=x&b=",
        b'\x02{"a": 1}\n{"a": [1, {"b": 2}]}\n',
        b'\x03a,b\n1,"x ""y"""\n2,\n',
        b"\x04a\tb\n1\t\xe9\n",
        b'\x05--x\r\nContent-Disposition: form-data; name="f"; filename="f.csv"\r\n\r\na,b\n1,2\n\r\n--x--\r\n',
        b"\x06PK\x03\x04\x14\x00\x00\x00",
        b"\x07PAR1\x15\x00PAR1",
        b"\x08a;b\n1;2\n",
    ),
    "query": (
        b"_action=predict,append&a=1&a=2",
        b"_retrain=1&target_col=y&wait=5",
        b"a=&b=%00&_format=csv",
        b"%ff=1&+=2",
    ),
    "statement": (
        b"CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'Ridge', alpha = 0.5;",
        b"SELECT t.a, m.y FROM t JOIN model.3 AS m ON m.a = t.b WHERE m.y > 1 ORDER BY 1 LIMIT 2",
        b"CREATE OR REPLACE VIEW v AS SELECT * FROM db (SELECT 1); DROP MODEL IF EXISTS `a b`.m",
        b"RETRAIN m USING a = [1, {'b': env('X')}]; EVALUATE m FROM (SELECT 1) USING metric = 'r2'",
        b"WITH a AS (SELECT 1) SELECT CASE WHEN $1 THEN 'x' ELSE \"y\" END -- c\n/* d */ FROM a",
    ),
}
