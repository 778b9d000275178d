"""An error shows what, where and what to do; each class has a code and a status of its own."""

from __future__ import annotations

import inspect

import pytest

from mindsql import errors
from mindsql.errors import MindSQLError, StatementError, UnknownNameError, suggest

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MindSQLError)
]


def test_the_caret_stands_below_the_culprit() -> None:
    text = "SELECT a\nFROM  modle WHERE b = 1"
    error = StatementError("no such model", hint="look again", span=(15, 20), text=text)
    assert str(error).splitlines() == [
        "no such model",
        "line 2, column 7: FROM  modle WHERE b = 1",
        "                        ^^^^^",
        "hint: look again",
    ]
    assert (error.line, error.column) == (2, 7)


def test_a_long_line_is_cut_around_the_culprit() -> None:
    text = "x" * 500 + "HERE" + "y" * 500
    _, line, caret = str(StatementError("no", span=(500, 504), text=text)).splitlines()
    assert line[caret.index("^") : caret.rindex("^") + 1] == "HERE"
    assert len(line) < 160


def test_the_first_text_is_kept() -> None:
    error = StatementError("no", span=(7, 8))
    assert error.position is None
    error.locate("SELECT 1")
    error.locate("another text")
    assert (error.text, error.position) == ("SELECT 1", (1, 8))
    assert str(StatementError("nowhere")) == "nowhere"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("rentls", ["rentals"], 'did you mean "rentals"?'),
        ("RENTLS", ["rentals", "flats"], 'did you mean "rentals"?; there are: flats, rentals'),
        ("zzz", ["b", "a"], "there are: a, b"),
        ("zzz", list("abcdefghijklmno"), "there are: a, b, c, d, e, f, g, h, i, j, k, l, …"),
        ("zzz", [], None),
    ],
)  # fmt: skip
def test_suggestions(name: str, known: list[str], hint: str | None) -> None:
    assert suggest(name, known) == hint
    error = UnknownNameError.of("model", name, known)
    assert (error.message, error.hint) == (f'unknown model "{name}"', hint)


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    for cls in CLASSES:
        assert len(cls.sqlstate) == 5
        assert cls.exit_status in (1, 3, 130)
        assert 400 <= cls.http_status < 600
        assert cls.__name__ in (errors.__doc__ or "")
