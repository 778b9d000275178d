"""Owns `mindsql backup`: a consistent copy of a database, also while another process serves and writes it.

DuckDB changes a file in two ways: commits are appended to the write-ahead log, and a checkpoint writes new blocks, then
a new header. So a copy of the file and then of the log is one state of the database, as long as the header is the same
before and after: its blocks are not written to until the next checkpoint but one, and a log that is cut off ends with
the last whole commit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress

from mindsql.connection import connect
from mindsql.errors import CatalogError, MindSQLError

_HEADER = 3 * 4096
"""The main header, and the two that checkpoints write in turn."""
_TRIES = 20

_EPILOG = """\
The copy is one file, checked by opening it. It holds all but the key of the secrets, which lies in MINDSQL_KEY or in
~/.config/mindsql/key. To restore, stop the server and put the copy in the place of FILE, without a FILE.wal beside it.
"""


def main(arguments: list[str]) -> int:
    """Run `mindsql backup` and give its exit status."""
    parser = argparse.ArgumentParser(
        prog="mindsql backup",
        usage="mindsql backup FILE TO",
        description="Copy a database into a file, also while it is served and written.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the database")
    parser.add_argument("to", metavar="TO", help="the copy; it must not exist yet, or be a folder")
    given = parser.parse_args(arguments)
    target = backup(given.file, given.to)
    print(f"{target}: {os.path.getsize(target)} bytes", file=sys.stderr)
    return 0


def backup(source: str, target: str) -> str:
    """Copy a database. Returns the path of the copy, which is there whole or not at all.

    Args:
        source: A DuckDB file.
        target: Where the copy goes: a new file, or a folder, in which it gets the name of the source.

    Raises:
        CatalogError: There is no such database, the target exists, or the copy cannot be written.
    """
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    if os.path.exists(target):
        raise CatalogError(f"{target} exists already", hint="name a new file: a backup is not written over")
    if not os.path.isfile(source):
        raise CatalogError(f"there is no database {source}")
    try:
        # In the target's folder, so that the last step is a rename.
        with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(target)), prefix=".backup-") as folder:
            copy = os.path.join(folder, "copy.duckdb")
            for number in range(_TRIES):
                if _copied(source, copy) and _settled(copy):
                    os.replace(copy, target)
                    return target
                time.sleep(min(1.0, 0.05 * 2**number))
    except OSError as error:
        raise CatalogError(f"cannot write {target}: {error.strerror}") from error
    raise CatalogError(
        f"{source} changes too fast to be copied, or is damaged", hint="try again when less is written"
    )


def _copied(source: str, copy: str) -> bool:
    """Copy the file and its log. Returns whether no checkpoint came between."""
    before = _header(source)
    shutil.copyfile(source, copy)
    log = copy + ".wal"
    if os.path.exists(log):
        os.remove(log)
    with suppress(FileNotFoundError):  # all commits are in the file
        shutil.copyfile(source + ".wal", log)
    return before == _header(source)


def _header(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEADER)


def _settled(copy: str) -> bool:
    """Bring the log into the file. Returns whether the copy can be opened."""
    try:
        with connect(copy) as connection:
            connection.execute("CHECKPOINT")
    except MindSQLError:
        return False
    return not os.path.exists(copy + ".wal")
