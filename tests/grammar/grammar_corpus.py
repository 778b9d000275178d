"""Owns the reading of the corpus files for the grammar's tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mindsql_grammar import split

GRAMMAR = Path(__file__).parents[2] / "grammar"
CORPUS = GRAMMAR / "corpus"


@dataclass(frozen=True)
class ErrorCase:
    """A text, and the error it must give."""

    text: str
    line: int
    column: int
    culprit: str
    message: str
    hint: str | None


def lines(name: str) -> list[str]:
    """The statements of a file that has one a line."""
    text = (CORPUS / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("--")]


def statements(name: str) -> list[str]:
    """The statements of a script."""
    return [piece.text for piece in split((CORPUS / name).read_text(encoding="utf-8"))]


def pairs(name: str) -> list[tuple[str, str]]:
    """`input; expected;` pairs of a script."""
    texts = statements(name)
    assert len(texts) % 2 == 0, f"{name} has an input without what is expected"
    return list(zip(texts[::2], texts[1::2], strict=True))


_EXPECTED = re.compile(r"-> (\d+):(\d+) \[(.*?)\] (.*)")


def errors(name: str) -> list[ErrorCase]:
    """Blocks of a text, `-> line:column [culprit] message` and perhaps `-> hint: …`."""
    blocks = (CORPUS / name).read_text(encoding="utf-8").split("\n\n")
    return [_error(block.strip("\n")) for block in blocks if not block.startswith("#")]


def _error(block: str) -> ErrorCase:
    written = [line for line in block.split("\n") if not line.startswith("-> ")]
    expected, *rest = [line for line in block.split("\n") if line.startswith("-> ")]
    match = _EXPECTED.fullmatch(expected)
    assert match is not None, expected
    hint = rest[0].removeprefix("-> hint: ") if rest else None
    return ErrorCase("\n".join(written), int(match[1]), int(match[2]), match[3], match[4], hint)
