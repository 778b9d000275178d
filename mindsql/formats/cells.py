"""Owns texts on a terminal: how wide they are, cutting and filling them, and what may not be sent to it."""

from __future__ import annotations

NULL = "NULL"
ELLIPSIS = "…"

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def printable(text: str) -> str:
    """A text without control characters: it stays on its line and cannot steer the terminal."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def width_of(text: str) -> int:
    """How many terminal cells a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    width = wcswidth(text)
    return width if width >= 0 else len(text)


def pad(text: str, width: int, *, right: bool) -> str:
    """A text filled with spaces to a width in terminal cells."""
    fill = " " * (width - width_of(text))
    return fill + text if right else text + fill


def short_number(text: str, width: int) -> str:
    """A number written in a width: rounded, with an exponent where it needs one, never cut."""
    if len(text) <= width:
        return text
    try:
        value = float(text)
    except ValueError:
        return cut(text, width)
    for digits in range(17, 0, -1):
        short = f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e+")
        if len(short) <= width:
            return short
    return "#" * width


def cut(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """A text cut to a width in terminal cells, its end marked."""
    if width_of(text) <= width:
        return text
    room = width - width_of(ellipsis)
    if room <= 0:
        return ellipsis[:width]
    end = min(room, len(text))
    while width_of(text[:end]) > room:
        end -= 1
    return text[:end] + ellipsis
