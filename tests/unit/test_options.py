"""Options are known, given once, of their type and within their bounds, or there is an error that says so."""

from __future__ import annotations

from typing import Any

import pytest

from mindsql.engine import ANY_OPTION, Option
from mindsql.errors import StatementError, UnknownNameError
from mindsql.options import check, secrecy

OPTIONS = (
    Option("trees", "integer", default=100, minimum=1, maximum=1000, aliases=("n_estimators",)),
    Option("rate", "float", default=0.1),
    Option("fast", "boolean"),
    Option("task", "string", choices=("regression", "classification")),
    Option("key", "string", secret=True),
    Option("url.train", "string"),
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"trees": 100, "rate": 0.1}),
        ({"TREES": 5, "rate": 1}, {"trees": 5, "rate": 1}),
        ({"n_estimators": 7.0}, {"trees": 7, "rate": 0.1}),
        (
            {"fast": "yes", "task": "Regression"},
            {"trees": 100, "rate": 0.1, "fast": True, "task": "regression"},
        ),
        ({"url.train": "http://x", "rate": None}, {"trees": 100, "rate": None, "url.train": "http://x"}),
    ],
)
def test_what_is_taken(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert check(given, OPTIONS, "the engine") == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tres": 5}, 'unknown option of the engine: "tres"'),
        ({"trees": 1, "n_estimators": 2}, 'the option "trees" is given twice'),
        ({"trees": "many"}, "the option \"trees\" takes an integer, not 'many'"),
        ({"trees": True}, 'the option "trees" takes an integer, not True'),
        ({"trees": 1.5}, 'the option "trees" takes an integer, not 1.5'),
        ({"trees": 0}, 'the option "trees" must be at least 1, not 0'),
        ({"trees": 1001}, 'the option "trees" must be at most 1000, not 1001'),
        ({"task": "poetry"}, "the option \"task\" cannot be 'poetry'"),
        ({"key": 12345}, 'the option "key" takes a string, not a secret'),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(StatementError) as caught:
        check(given, OPTIONS, "the engine")
    assert caught.value.message == message


def test_required_options_and_places() -> None:
    needed = (Option("model", required=True, description="which one"),)
    with pytest.raises(StatementError) as missing:
        check({}, needed, "the engine")
    assert missing.value.message == 'the engine needs the option "model"'
    assert missing.value.hint == "USING model = …   (which one)"
    with pytest.raises(UnknownNameError) as unknown:
        check([("modle", 1, (3, 8))], needed, "the engine")
    assert (unknown.value.span, unknown.value.hint) == ((3, 8), 'did you mean "model"?')
    with pytest.raises(UnknownNameError) as none:
        check({"a": 1}, (), "the engine")
    assert none.value.hint == "it takes none"


def test_undeclared_options_are_taken_where_the_engine_says_so() -> None:
    options = (Option("rate", "float"), ANY_OPTION)
    assert check({"rate": 1, "Layers": [1, 2]}, options, "it") == {"rate": 1, "Layers": [1, 2]}
    with pytest.raises(StatementError):
        check({"rate": "fast"}, options, "it")
    hidden = secrecy(options)
    assert [name for name in ("rate", "api_key", "model_name", "db.password") if hidden(name)] == [
        "api_key",
        "db.password",
    ]
