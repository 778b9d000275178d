"""Owns the output formats: a result in, text out, with every DuckDB type written in full.

`table` and `box` align columns and can be held to a terminal's size, `markdown` is for documents, `csv`,
`json` and `jsonl` are for programs, `line` is for wide rows. All stream: memory stays flat on large results.
"""

from __future__ import annotations

import io
import shutil
from typing import TextIO

from mindsql.formats.rows import CHUNK, Rows

FORMATS = ("table", "box", "csv", "json", "jsonl", "markdown", "line")
MAX_ROWS = 40
"""Rows shown on a terminal: the first and the last twenty."""
MAX_COL_WIDTH = 80
"""Terminal cells that one column takes at most where no width of the whole is given."""

__all__ = ["CHUNK", "FORMATS", "MAX_COL_WIDTH", "MAX_ROWS", "Rows", "render_table", "write", "write_for"]


def write(
    result: Rows,
    stream: TextIO,
    format: str,
    *,
    width: int | None = None,
    max_rows: int | None = None,
    max_col_width: int | None = None,
) -> None:
    """Write a result.

    Args:
        result: Its rows are taken to the end.
        stream: Where to.
        format: One of `FORMATS`.
        width: Terminal cells in a line; table and box cut cells and leave out middle columns to fit.
        max_rows: Rows that table and box show, half from either end, with a footer that counts them all.
        max_col_width: Terminal cells in a column of table and box.
    """
    # Each format is imported when it is asked for: a quick statement should not wait for the others.
    if format in ("csv", "line"):
        from mindsql.formats import stream as streaming

        {"csv": streaming.write_csv, "line": streaming.write_line}[format](result, stream)
    elif format in ("json", "jsonl"):
        from mindsql.formats import objects

        {"json": objects.write_json, "jsonl": objects.write_jsonl}[format](result, stream)
    else:
        from mindsql.formats import table

        if result.columns == table.PLAN and format != "markdown":
            table.write_plan(result, stream)
            return
        styles = {"table": table.TABLE, "box": table.BOX, "markdown": table.MARKDOWN}
        limits = table.TableLimits() if format == "markdown" else table.TableLimits(width, max_rows, max_col_width)
        table.write(result, stream, styles[format], limits)


def write_for(result: Rows, stream: TextIO, format: str) -> None:
    """Write a result as fits the stream: within the size of a terminal, in full into anything else."""
    if stream.isatty():
        write(result, stream, format, width=shutil.get_terminal_size().columns, max_rows=MAX_ROWS)
    else:
        write(result, stream, format)


def render_table(
    result: Rows,
    *,
    style: str = "box",
    width: int | None = None,
    max_rows: int | None = MAX_ROWS,
    max_col_width: int | None = MAX_COL_WIDTH,
) -> str:
    """A result as the text of a table, without the last line feed."""
    text = io.StringIO()
    write(result, text, style, width=width, max_rows=max_rows, max_col_width=max_col_width)
    return text.getvalue().rstrip("\n")
