"""Completion: what is offered where."""

from __future__ import annotations

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from mindsql.repl.catalog import Names
from mindsql.repl.completion import SQLCompleter

NAMES = Names(
    tables={"houses": ["sqft", "city"], "other.sales": ["amount"]},
    models={"rentals": ["sqft", "rent", "rent_confidence"]},
    handlers=["sklearn", "echo"],
    options={"sklearn": ["estimator", "task"], "echo": ["volume"]},
    keywords=["SELECT", "FROM", "WHERE"],
    sources={"shop": lambda: ["orders", "sales.flats"]},
    described=lambda table: ["id", "price"] if table == "shop.orders" else [],
)


@pytest.mark.parametrize(
    ("before", "after", "offered"),
    [
        ("sel", "", {"select"}),
        ("SE", "", {"SELECT"}),
        ("SELECT * FROM ", "", {"houses", "other.sales", "rentals", "shop"}),
        ("SELECT * FROM Shop.", "", {"orders", "sales.flats"}),
        ("SELECT o.", " FROM shop.orders AS o", {"id", "price"}),
        ("SELECT * FROM houses AS h, ren", "", {"rentals"}),
        ("SELECT * FROM houses JOIN re", "", {"rentals"}),
        ("SELECT m.", " FROM houses AS h JOIN rentals m", {"sqft", "rent", "rent_confidence"}),
        ("SELECT h.", " FROM houses h JOIN rentals m", {"sqft", "city"}),
        ("SELECT rent_", " FROM rentals", {"rent_confidence"}),
        ("SELECT other.", "", {"sales"}),
        ("DESCRIBE MODEL ", "", {"rentals"}),
        ("RETRAIN ", "", {"rentals"}),
        ("CREATE ML_ENGINE e FROM ", "", {"sklearn", "echo"}),
        ("CREATE MODEL m PREDICT y USING ", "", {"engine", "estimator", "task", "volume"}),
        ("CREATE MODEL m PREDICT y USING engine = '", "", {"sklearn", "echo"}),
        ("CREATE MODEL m PREDICT y USING engine = 'sklearn', ta", "", {"task"}),
        ("SELECT 1; CREATE MODEL m PREDICT y USING engine = 'echo', ", "", {"volume"}),
        (".mo", "", {".mode", ".models"}),
        (".mode js", "", {"json", "jsonl"}),
    ],
)
def test_what_is_offered_where(before: str, after: str, offered: set[str]) -> None:
    completer = SQLCompleter(lambda: NAMES, [".mode", ".models", ".quit"], lambda: ["PREDICT"])
    document = Document(before + after, len(before))
    assert {found.text for found in completer.get_completions(document, CompleteEvent())} == offered
