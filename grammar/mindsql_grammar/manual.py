"""Owns the manual: the section of this grammar's README that is about a statement."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_HEADING = re.compile(r"^### (.+?): `\w+`\n", re.M)
_FENCE = re.compile(r"^```\w*\n?", re.M)
_EMPHASIS = re.compile(r"[`*]")


@lru_cache(maxsize=1)
def sections() -> dict[str, str]:
    """What the README says of each statement, as plain text; examples are indented."""
    here = Path(__file__).parent
    # Beside the package in a checkout, inside it in an installation.
    path = next(path for path in (here / "README.md", here.parent / "README.md") if path.exists())
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return {name: _plain(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def section(words: str) -> tuple[str, str] | None:
    """The heading and the text about the statement that begins with these words; of several the first."""
    asked = words.upper().split()
    for name, text in sections().items():
        if name.upper().split()[: len(asked)] == asked or asked[: len(name.split())] == name.upper().split():
            return name, text
    return None


def _plain(text: str) -> str:
    text = text.partition("\n## ")[0]
    prose, *rest = _FENCE.split(text)
    pieces = [_EMPHASIS.sub("", prose).strip()]
    for number, piece in enumerate(rest):
        example = "\n".join(f"    {line}" for line in piece.strip("\n").splitlines())
        pieces.append(example if number % 2 == 0 else _EMPHASIS.sub("", piece).strip())
    return "\n\n".join(piece for piece in pieces if piece)
