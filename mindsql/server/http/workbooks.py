"""Owns XLSX: the first sheet of a workbook as a table."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

from mindsql.errors import MindSQLError
from mindsql.server.http import columns
from mindsql.server.http.columns import BodyLimits
from mindsql.server.http.faults import RequestError

if TYPE_CHECKING:
    import pyarrow as pa


def read(content: bytes, limits: BodyLimits) -> pa.Table:
    """The cells below the first row, which has the names. Formulas are their last results, errors are NULL.

    Raises:
        RequestError: No workbook, or a cell of a column without a name.
        TooLargeError: It unpacks to too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            # No more than the sizes said here is ever unpacked.
            if sum(item.file_size for item in packed.infolist()) > limits.unpacked_bytes:
                raise limits.too_much()
        return _first_sheet(content, limits)
    except MindSQLError:
        raise
    except Exception as error:  # openpyxl lets out whatever its parsers raise
        raise RequestError(f"the workbook cannot be read: {str(error)[:200]}") from error


def _first_sheet(content: bytes, limits: BodyLimits) -> pa.Table:
    from openpyxl import load_workbook
    from openpyxl.cell.cell import ERROR_CODES

    book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    try:
        sheet = book.worksheets[0]
        # What the file says of its size need not be so.
        sheet.reset_dimensions()
        rows = sheet.iter_rows(values_only=True, max_col=limits.columns + 1)
        names: list[Any] = list(next(rows, ()))
        while names and names[-1] is None:
            names.pop()
        found: list[list[Any]] = [[] for _ in names]
        count = 0
        for count, row in enumerate(rows, 1):
            limits.check(count, len(names))
            for place, value in enumerate(row):
                if place < len(names):
                    found[place].append(None if value in ERROR_CODES else value)
                elif value is not None:
                    raise RequestError(f"row {count + 1} has a cell in column {place + 1}, which has no name")
            for column in found[len(row) :]:
                column.append(None)
    finally:
        book.close()
    while count and all(column[count - 1] is None for column in found):
        count -= 1  # rows that were only ever formatted
    for place, name in enumerate(names):
        if name is None:
            raise RequestError(f"column {place + 1} of the workbook has no name")
    return columns.from_columns(
        [str(name) for name in names], [column[:count] for column in found], count, limits
    )
