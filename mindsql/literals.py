"""Owns the lifting of constants: `WHERE a = 5` and `WHERE a = 6` are one statement with a parameter, and one plan."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_MOST_CHARACTERS = 4096
_TOKEN = re.compile(
    r"""
    (?P<skip>"(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/)
  | (?P<text>(?<!\w)'(?:[^']|'')*')
  | (?P<number>(?:(?<=[=(,])|(?<=[=(,]\s))-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))
    """,
    re.X | re.S,
)


def auto_parameterize(text: str) -> tuple[str, dict[str, Any]] | None:
    """A statement with its constants replaced by the parameters `$l0`, `$l1`, …, and their values.

    None when there is nothing to lift, or something that would make the lifting doubtful. Whether the lifted text
    means the same is for the planner to say: a constant may be more than a value, as in LIMIT 5.
    """
    if len(text) > _MOST_CHARACTERS or "$" in text or "?" in text:
        return None
    values: dict[str, Any] = {}

    def replace(match: re.Match[str]) -> str:
        if match["skip"] is not None:
            return match["skip"]
        name = f"l{len(values)}"
        if match["text"] is not None:
            values[name] = match["text"][1:-1].replace("''", "'")
        else:
            number = match["number"]
            whole, exact = number.lstrip("-").isdigit(), "e" not in number.lower()
            # As DuckDB reads them: 2.50 is a DECIMAL, 25e-1 a DOUBLE.
            values[name] = int(number) if whole else Decimal(number) if exact else float(number)
        return f"${name}"

    lifted = _TOKEN.sub(replace, text)
    return (lifted, values) if values else None
