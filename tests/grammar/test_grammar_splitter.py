"""Scripts are cut where a statement ends and nowhere else."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindsql_grammar import Piece, is_complete, split


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" ;; ; ", []),
        ("-- only this", []),
        ("/* only; this */;-- and; this\n", []),
        ("a", ["a"]),
        ("a;b;", ["a", "b"]),
        (" a ; \n b ", ["a", "b"]),
        ("'a;b';c", ["'a;b'", "c"]),
        ("'it''s;';c", ["'it''s;'", "c"]),
        ("E'it\\'s;';c", ["E'it\\'s;'", "c"]),
        ("e'\\\\';c", ["e'\\\\'", "c"]),
        ("'\\';c", ["'\\'", "c"]),
        ("type'a;b';c", ["type'a;b'", "c"]),
        ('"a;""b";c', ['"a;""b"', "c"]),
        ("`a;b`;c", ["`a;b`", "c"]),
        ("a -- b;c\n;d", ["a", "d"]),
        ("a -- b;c\r;d", ["a", "d"]),
        ("a -- it's\n b;c", ["a -- it's\n b", "c"]),
        ("a /* b;c */ d;e", ["a /* b;c */ d", "e"]),
        ("a /* b /* ; */ ; */ d;e", ["a /* b /* ; */ ; */ d", "e"]),
        ("a /* ' */;b", ["a", "b"]),
        ("/* x */ a /* y */; -- z\n b -- w", ["a", "b"]),
        ("-- one\n-- two\na;b", ["a", "b"]),
        ("$$a;b$$;c", ["$$a;b$$", "c"]),
        ("$t$a;$$;$t$;c", ["$t$a;$$;$t$", "c"]),
        ("$1;$2", ["$1", "$2"]),
        ("a$b;c$d", ["a$b", "c$d"]),
        ("$a;$b$;c", ["$a", "$b$;c"]),
        ("f(a;b);c", ["f(a;b)", "c"]),
        ("((a;);b);c", ["((a;);b)", "c"]),
        ("a);b", ["a)", "b"]),
        ("(a;b", ["(a;b"]),
        ("'a;b", ["'a;b"]),
        ('"a;b', ['"a;b']),
        ("a /* b;c", ["a /* b;c"]),
        ("$x$ a;b", ["$x$ a;b"]),
        ("'(';b", ["'('", "b"]),
        ("FROM x (SELECT 'it\\'s'); b", ["FROM x (SELECT 'it\\'s')", "b"]),
        ("ü;é 'ß;';日本", ["ü", "é 'ß;'", "日本"]),
    ],
)
def test_split(text: str, pieces: list[str]) -> None:
    found = split(text)
    assert [piece.text for piece in found] == pieces
    for piece in found:
        assert text[piece.start :].startswith(piece.text)


def test_piece() -> None:
    assert split(" a;\n b;") == [Piece("a", 1), Piece("b", 5)]


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", False),
        (";", True),
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1; ", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1; /* done */\n", True),
        ("SELECT 1; /* not done", False),
        ("SELECT 1; SELECT 2", False),
        ("SELECT ';", False),
        ("SELECT ';'", False),
        ("SELECT (1;", False),
        ("SELECT (1);", True),
        ("SELECT $$;", False),
        ("SELECT 1 -- ;", False),
        ("SELECT 1 /* ;", False),
        ("FROM x (a;", False),
    ],
)
def test_is_complete(text: str, complete: bool) -> None:
    assert is_complete(text) is complete


SOUP = st.text(alphabet="ab; '\"`$()-/*\n\\eE_1é", max_size=60)


@given(SOUP)
def test_pieces_and_gaps_make_the_text(text: str) -> None:
    position = 0
    for piece in split(text):
        gap = text[position : piece.start]
        assert piece.text == text[piece.start : piece.start + len(piece.text)]
        assert piece.text == piece.text.strip() != ""
        assert _is_blank(gap)
        position = piece.start + len(piece.text)
    assert _is_blank(text[position:])


@given(SOUP)
def test_splitting_a_piece_changes_nothing(text: str) -> None:
    for piece in split(text):
        assert split(piece.text) == [Piece(piece.text, 0)]


@given(SOUP)
def test_a_complete_text_ends_with_a_semicolon_or_a_comment(text: str) -> None:
    if is_complete(text):
        assert ";" in text
        assert len(split(text + "\nx")) == len(split(text)) + 1


def _is_blank(gap: str) -> bool:
    """Only spaces, semicolons and comments."""
    while True:
        shorter = re.sub(r"/\*(?:(?!/\*|\*/).)*\*/", "", gap, flags=re.DOTALL)
        if shorter == gap:
            break
        gap = shorter
    return re.sub(r"--[^\n\r]*", "", gap).replace(";", "").strip() == ""


def test_a_long_script_takes_time_in_proportion() -> None:
    text = "INSERT INTO t VALUES (1, 'it''s; so', $$;$$); -- note;\n"

    def seconds(times: int) -> float:
        script = text * times
        start = time.process_time()
        assert len(split(script)) == times
        return time.process_time() - start

    short, long = (min(seconds(times) for _ in range(3)) for times in (500, 5000))
    assert long < 60 * short
