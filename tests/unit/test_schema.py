"""Columns are found without regard to case; DuckDB's types fall into families."""

from __future__ import annotations

import pytest

from mindsql.schema import Schema, family, is_integer


def test_names_without_case_and_in_order() -> None:
    schema = Schema.of([("Rooms", "BIGINT"), ("größe", "DOUBLE"), ("place", "VARCHAR")])
    assert schema.names == ["Rooms", "größe", "place"]
    assert schema.find("GRÖSSE") == schema[1]
    assert schema.find("rent") is None
    assert schema.without("ROOMS", "rent").names == ["größe", "place"]
    assert Schema.of(schema.pairs()) == schema


@pytest.mark.parametrize(
    ("type_name", "expected"),
    [
        ("BIGINT", "number"), ("DECIMAL(18,3)", "number"), ("UHUGEINT", "number"), ("BOOLEAN", "boolean"),
        ("VARCHAR", "text"), ("ENUM('a', 'b')", "text"), ("UUID", "text"), ("TIMESTAMP WITH TIME ZONE", "time"),
        ("BLOB", "binary"), ("INTEGER[]", "nested"), ("VARCHAR[3]", "nested"), ("STRUCT(a INTEGER)", "nested"),
        ("MAP(VARCHAR, INTEGER)", "nested"), ("INTERVAL", "other"), ("date", "time"),
    ],
)  # fmt: skip
def test_families(type_name: str, expected: str) -> None:
    assert family(type_name) == expected


def test_integers() -> None:
    assert is_integer("ubigint") and not is_integer("DOUBLE") and not is_integer("DECIMAL(3,0)")
