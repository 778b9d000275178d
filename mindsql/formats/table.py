"""Owns the layouts that align columns: table, box, markdown, and what a small terminal leaves out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TextIO

from mindsql.formats.cells import ELLIPSIS, NULL, cut, pad, printable, short_number, width_of
from mindsql.formats.rows import Row, Rows, chunks, types_of
from mindsql.formats.types import Type
from mindsql.formats.values import Writer, text_writer

_NUMBER = 9
"""The width in which every number can be written, rounded, with its exponent."""
NARROWEST = 10
"""Columns are cut down to this width before whole columns are left out."""


@dataclass(frozen=True)
class Style:
    """The lines of a layout: left end, filling, crossing, right end; None where it has no such line."""

    top: str | None
    under: str
    bottom: str | None
    bar: str
    ellipsis: str = ELLIPSIS
    markdown: bool = False


TABLE = Style("+-++", "+-++", "+-++", "|", ellipsis="...")
BOX = Style("┌─┬┐", "├─┼┤", "└─┴┘", "│")
MARKDOWN = Style(None, "|-||", None, "|", markdown=True)


PLAN = ["explain_key", "explain_value"]
"""The columns of EXPLAIN, DuckDB's and ours: texts of several lines, that no table can hold."""
_PAIRS = ["property", "value"]
"""The columns of DESCRIBE: its values are wrapped, for none may be lost."""


@dataclass(frozen=True)
class TableLimits:
    """How much is shown; None is everything."""

    width: int | None = None
    max_rows: int | None = None
    max_col_width: int | None = None


@dataclass
class _Grid:
    """The columns that are shown: index (None for the gap), name, width, alignment."""

    style: Style
    columns: list[int | None]
    names: list[str]
    widths: list[int]
    numeric: list[bool]
    dropped: int = field(default=0)

    def line(self, marks: str) -> str:
        left, fill, between, right = tuple(marks)
        if self.style.markdown:
            cells = (
                "-" * (w + 1) + (":" if n else "-") for w, n in zip(self.widths, self.numeric, strict=True)
            )
            return left + between.join(cells) + right
        return left + between.join(fill * (width + 2) for width in self.widths) + right

    def row(self, cells: list[str], *, right: bool = True) -> str:
        padded = (
            pad(
                short_number(cell, width) if numeric and right else cut(cell, width, self.style.ellipsis),
                width,
                right=numeric and right,
            )
            for cell, width, numeric in zip(cells, self.widths, self.numeric, strict=True)
        )
        bar = self.style.bar
        return f"{bar} " + f" {bar} ".join(padded) + f" {bar}"


def write_plan(result: Rows, stream: TextIO) -> None:
    """Write a plan as the text that it is."""
    for chunk in chunks(result):
        stream.writelines(str(row[-1]).rstrip("\n") + "\n" for row in chunk)


def write(result: Rows, stream: TextIO, style: Style, limits: TableLimits) -> None:
    """Write all rows (streaming, widths taken from the first rows) or, within `limits`, the ends of them."""
    kinds = types_of(result)
    writers = [_cell_writer(text_writer(kind), style) for kind in kinds]
    if limits.max_rows is None:
        _write_all(result, stream, style, limits, kinds, writers)
    else:
        _write_ends(result, stream, style, limits, kinds, writers)


def _write_all(
    result: Rows, stream: TextIO, style: Style, limits: TableLimits, kinds: list[Type], writers: list[Writer]
) -> None:
    parts = ([_cells(row, writers) for row in chunk] for chunk in chunks(result))
    first = next(parts, [])
    # Later rows with longer cells push their bars out: nothing is cut, and memory stays flat.
    grid = _fit(result.columns, first, kinds, style, limits)
    _open(stream, grid)
    for part in chain([first], parts):
        stream.writelines(grid.row(_shown(cells, grid)) + "\n" for cells in part)
    _close(stream, grid)


def _write_ends(
    result: Rows, stream: TextIO, style: Style, limits: TableLimits, kinds: list[Type], writers: list[Writer]
) -> None:
    most = max(2, limits.max_rows or 0)
    head: list[Row] = []
    tail: deque[Row] = deque(maxlen=most // 2)
    total = 0
    for chunk in chunks(result):
        total += len(chunk)
        head.extend(chunk[: most - len(head)])
        tail.extend(chunk)
    whole = total <= most
    above = [_cells(row, writers) for row in (head if whole else head[: most - most // 2])]
    below = [] if whole else [_cells(row, writers) for row in tail]
    grid = _fit(result.columns, [*above, *below], kinds, style, limits)
    _open(stream, grid)
    if result.columns == _PAIRS:
        above = [line for cells in above for line in _wrapped(cells, grid.widths)]
    stream.writelines(grid.row(_shown(cells, grid)) + "\n" for cells in above)
    if not whole:
        dots = "·" if style is BOX else "."
        for _ in range(3):
            stream.write(grid.row([dots] * len(grid.widths)) + "\n")
        stream.writelines(grid.row(_shown(cells, grid)) + "\n" for cells in below)
    _close(stream, grid)
    stream.write(footer(total, total if whole else most, len(result.columns), grid.dropped) + "\n")


def _wrapped(cells: list[str], widths: list[int]) -> list[list[str]]:
    """A row as several lines, in which its last cell has room."""
    from textwrap import wrap

    lines = wrap(cells[-1], max(1, widths[-1]), break_on_hyphens=False) or [""]
    return [[cell if number == 0 else "" for cell in cells[:-1]] + [line] for number, line in enumerate(lines)]


def footer(rows: int, shown: int, columns: int, dropped: int) -> str:
    """`1,000 rows (40 shown), 12 columns (9 shown)`."""
    text = f"{rows:,} row{'' if rows == 1 else 's'}"
    text += f" ({shown:,} shown)" if shown < rows else ""
    text += f", {columns:,} column{'' if columns == 1 else 's'}"
    return text + (f" ({columns - dropped:,} shown; the format line shows all)" if dropped else "")


def _cell_writer(write: Writer, style: Style) -> Writer:
    if style.markdown:
        return lambda value: NULL if value is None else _markdown(write(value))
    return lambda value: NULL if value is None else printable(write(value))


def _markdown(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\n", "<br>").replace("|", "\\|")
    return printable(text)


def _cells(row: Row, writers: list[Writer]) -> list[str]:
    return [write(value) for write, value in zip(writers, row, strict=True)]


def _shown(cells: list[str], grid: _Grid) -> list[str]:
    if not grid.dropped:
        return cells
    return [grid.style.ellipsis if at is None else cells[at] for at in grid.columns]


def _open(stream: TextIO, grid: _Grid) -> None:
    if grid.style.top:
        stream.write(grid.line(grid.style.top) + "\n")
    stream.write(grid.row(grid.names, right=grid.style.markdown) + "\n")
    stream.write(grid.line(grid.style.under) + "\n")


def _close(stream: TextIO, grid: _Grid) -> None:
    if grid.style.bottom:
        stream.write(grid.line(grid.style.bottom) + "\n")


def _fit(names: list[str], rows: list[list[str]], kinds: list[Type], style: Style, limits: TableLimits) -> _Grid:
    """The grid for these rows: cells are cut first, then columns in the middle are left out."""
    escape = _markdown if style.markdown else printable
    names = [escape(name) for name in names]
    # Three dashes are the least that every reader of markdown takes for a table.
    wanted = [max(3 if style.markdown else 1, width_of(name)) for name in names]
    for at, column in enumerate(_columns(rows)):
        wanted[at] = max(wanted[at], max(map(width_of, column)))
    if limits.max_col_width is not None:
        wanted = [min(width, max(1, limits.max_col_width)) for width in wanted]
    shown: list[int | None] = list(range(len(names)))
    room = limits.width
    if room is not None and not style.markdown:
        # The middle goes first: keys stand left, predictions right.
        while len(shown) > 3 and _total(shown, wanted, NARROWEST, style) > room:
            real = [at for at in shown if at is not None]
            real.pop(len(real) // 2)
            middle = (len(real) + 1) // 2
            shown = [*real[:middle], None, *real[middle:]]
        cap = max(wanted, default=1)
        if _total(shown, wanted, cap, style) > room:
            low, high = 1, cap
            while low < high:
                cap = (low + high + 1) // 2
                low, high = (cap, high) if _total(shown, wanted, cap, style) <= room else (low, cap - 1)
            # A number that is cut is another number: it is rounded, and needs some room for that.
            least = [min(width, _NUMBER) if kinds[at].is_number else 1 for at, width in enumerate(wanted)]
            wanted = [max(few, min(width, low)) for width, few in zip(wanted, least, strict=True)]
    gap = width_of(style.ellipsis)
    return _Grid(
        style,
        shown,
        [style.ellipsis if at is None else names[at] for at in shown],
        [gap if at is None else wanted[at] for at in shown],
        [at is not None and kinds[at].is_number for at in shown],
        len(names) - sum(at is not None for at in shown),
    )


def _columns(rows: list[list[str]]) -> Iterator[tuple[str, ...]]:
    return zip(*rows, strict=True)


def _total(shown: Iterable[int | None], wanted: list[int], cap: int, style: Style) -> int:
    widths = [width_of(style.ellipsis) if at is None else min(wanted[at], cap) for at in shown]
    return sum(widths) + 3 * len(widths) + 1
