"""Owns where posted training rows are kept: a table of the user's own database, and the query that trains on it.

The rows for the model `titanic` are the table `mindsql_data.titanic`, those for the model `m` of a project `shop` are
`mindsql_data."shop.m"`: to be read, changed and dropped like any other. The model's query is a SELECT from it, so that
RETRAIN does in SQL what it does over HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mindsql.database import quote
from mindsql.errors import DataError, MindSQLError, suggest
from mindsql.server.http.faults import UnprocessableError
from mindsql.snapshot import DEFAULT_PROJECT, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.server.service import RemoteSession

SCHEMA = "mindsql_data"
POSTED = "mindsql_posted"
"""What a session calls the rows of its request."""
_NOTE = re.compile(r"/\* (\{.*\}) \*/$")


def table(project: str, name: str) -> str:
    """The table of a model's rows, quoted."""
    return f"{quote(SCHEMA)}.{quote(_short(project, name))}"


def _short(project: str, name: str) -> str:
    return name if project == DEFAULT_PROJECT else f"{project}.{name}"


@dataclass(frozen=True)
class Preparation:
    """What is done to the stored rows before training: Gramex's options of the same names.

    Attributes:
        include: The columns to train on, all when empty; wins over `exclude`.
        exclude: Columns to leave out.
        nums, cats: Columns to take as numbers, and as categories.
        dropna: Leave out rows with NULLs.
        drop_duplicates: Leave out rows that come again.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    nums: tuple[str, ...] = ()
    cats: tuple[str, ...] = ()
    dropna: bool = False
    drop_duplicates: bool = False

    def changed(self, **given: Any) -> Preparation:
        """With some of it changed. Raises UnprocessableError when that makes no sense."""
        made = replace(self, **given)
        both = set(made.nums) & set(made.cats)
        if both:
            raise UnprocessableError(f'the column "{min(both)}" is among nums and among cats')
        return made

    def check(self, columns: Sequence[str] | None) -> None:
        """Raise UnprocessableError for a column that the rows do not have; None when there are no rows yet."""
        folded = {column.casefold() for column in columns or ()}
        for option in ("include", "exclude", "nums", "cats"):
            for name in getattr(self, option):
                if columns is not None and name.casefold() not in folded:
                    raise UnprocessableError(
                        f'{option} names "{name}", which is no column of the stored rows',
                        hint=suggest(name, columns),
                    )

    def query(self, source: str, target: str) -> str:
        """The training query. What it was made from stands behind it as a comment, to be read back."""
        casts = {
            name: f"CAST({quote(name)} AS {kind})"
            for chosen, kind in ((self.nums, "DOUBLE"), (self.cats, "VARCHAR"))
            for name in chosen
            if name != target
        }
        if self.include:
            names = list(dict.fromkeys([*(name for name in self.include if name != target), target]))
            items = [f"{casts[name]} AS {quote(name)}" if name in casts else quote(name) for name in names]
            columns, every = ", ".join(items), ", ".join(map(quote, names))
            missing = " AND ".join(f"{quote(name)} IS NOT NULL" for name in names)
        else:
            left_out = [quote(name) for name in self.exclude if name != target]
            every = f"* EXCLUDE ({', '.join(left_out)})" if left_out else "*"
            items = [f"{cast} AS {quote(name)}" for name, cast in casts.items() if name not in self.exclude]
            columns = f"{every} REPLACE ({', '.join(items)})" if items else every
            missing = f"COLUMNS({every}) IS NOT NULL"
        text = f"SELECT {'DISTINCT ' if self.drop_duplicates else ''}{columns} FROM {source}"
        text += f" WHERE {missing}" if self.dropna else ""
        if self == Preparation():
            return text
        note = json.dumps({key: value for key, value in asdict(self).items() if value}).replace("*/", "*\\/")
        return f"{text} /* {note} */"

    @classmethod
    def of(cls, query: str | None) -> Preparation:
        """Read back from a training query."""
        found = _NOTE.search(query or "")
        if found is None:
            return cls()
        known = {field.name for field in fields(cls)}
        noted: dict[str, Any] = json.loads(found[1])
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in noted.items()
            if key in known
        }
        return cls(**given)


def is_stored(version: Version) -> bool:
    """Whether a version is trained on the stored rows of its model."""
    return f"FROM {table(version.project, version.model)}" in (version.query or "")


def left_out(session: RemoteSession, version: Version) -> list[str]:
    """The columns that a version's training left out of the stored rows: rows to predict may have them, too."""
    preparation = Preparation.of(version.query)
    if preparation == Preparation() or not is_stored(version):
        return []
    return [*preparation.exclude, *(columns(session, version.project, version.model) or ())]


def columns(session: RemoteSession, project: str, name: str) -> list[str] | None:
    """The columns of the stored rows, None when there are none."""
    # Asking the table itself would break off the transaction if there is none.
    result = session.execute(
        "SELECT column_name FROM system.main.duckdb_columns() WHERE database_name = system.main.current_database() "
        "AND schema_name = $schema AND table_name = $table ORDER BY column_index ASC",
        {"schema": SCHEMA, "table": _short(project, name)},
    )
    return [column for (column,) in result.fetchall()] or None


def keep(session: RemoteSession, project: str, name: str, rows: pa.Table, append: bool) -> None:
    """Put rows in the place of the stored ones, or behind them; within the session's transaction.

    Raises:
        UnprocessableError: The rows do not fit behind those that are there.
    """
    target = table(project, name)
    there = columns(session, project, name) if append else None
    session.connection.register(POSTED, rows)
    try:
        if there is None:
            session.execute(f"CREATE OR REPLACE TABLE {target} AS SELECT {_plain(rows)} FROM {POSTED}")
            return
        folded = {column.casefold() for column in there}
        strange = [column for column in rows.column_names if column.casefold() not in folded]
        if strange:
            raise UnprocessableError(
                f"the stored rows have no column {', '.join(strange)}", hint=f"they have: {', '.join(there)}"
            )
        session.execute(f"INSERT INTO {target} BY NAME SELECT * FROM {POSTED}")
    except DataError as error:
        raise UnprocessableError(f"the rows do not fit the stored ones: {error.message}") from error
    finally:
        _unregister(session)


def _plain(rows: pa.Table) -> str:
    """All columns; one that has only NULLs becomes text, as DuckDB has no type for it."""
    import pyarrow as pa

    empty = [quote(field.name) for field in rows.schema if pa.types.is_null(field.type)]
    return (
        f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in empty)})" if empty else "*"
    )


def _unregister(session: RemoteSession) -> None:
    with suppress(MindSQLError):  # a transaction that is broken off does it by its rollback
        session.connection.unregister(POSTED)


def drop(session: RemoteSession, project: str, name: str) -> None:
    """Forget the stored rows, if there are any."""
    session.execute(f"DROP TABLE IF EXISTS {table(project, name)}")


def names(query: Any, options: Sequence[str]) -> dict[str, Any]:
    """The preparation options in a query string, typed."""
    given: dict[str, Any] = {}
    for field in fields(Preparation):
        if field.name in options:
            given[field.name] = (
                query.flag(field.name) if field.default is False else tuple(query.all(field.name))
            )
    return given
