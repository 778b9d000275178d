"""Owns what looks like a secret in the text of a statement, so that errors and history can leave it out."""

from __future__ import annotations

import re

# The whole word at once, and only from its beginning: a long one would else be read again from each of its letters.
_KEY = (
    r"(?<![\w.])(?=[\w.]*?(?:api_?key|passw(?:or)?d|passphrase|pwd|token(?!s)|secret|credential|private_?key|access_?key"
    r"|key_id|authorization))[\w.]++"
)
_STRING = r"'(?:[^']|'')*(?:'|\Z)|\"(?:[^\"]|\"\")*(?:\"|\Z)|(?P<dollar>\$\w*\$).*?(?:(?P=dollar)|\Z)"
# `api_key = 'x'`, `"token": "x"`, `password=x` inside a connection string, and DuckDB's `SECRET 'x'`.
_SECRET = re.compile(
    rf"(?P<key>(?:{_KEY})(?:[\"']?\s*+(?:=>?|:)\s*+|\s++(?=['$])))"
    rf"(?!env\s*\()(?P<value>{_STRING}|[^\s,;'\"(){{}}\[\]]+|[{{\[(])",
    re.IGNORECASE | re.DOTALL,
)
_URL = re.compile(r"(://[^:/@\s'\"]*+:)((?:[^@\s'\":]++|:(?!//))++)@")


def looks_secret(name: str) -> bool:
    """Whether an option of that name holds a secret, for all one can tell."""
    return re.fullmatch(_KEY, name, re.IGNORECASE) is not None


def redact(text: str) -> str | None:
    """The text with `***` for what looks like a secret; None when it is not clear where that ends."""
    if any(match["value"] in ("{", "[", "(") for match in _SECRET.finditer(text)):
        return None
    return _URL.sub(r"\1***@", _SECRET.sub(r"\g<key>'***'", text))


def redact_in_place(text: str) -> str:
    """The text with `*` for each character of what looks like a secret: places in it stay what they were."""

    def cover(match: re.Match[str]) -> str:
        return match["key"] + _stars(match["value"])

    covered_values = _SECRET.sub(cover, text)
    return _URL.sub(lambda match: match[1] + _stars(match[2]) + "@", covered_values)


def _stars(value: str) -> str:
    return re.sub(r"[^\n'\"]", "*", value)
