"""Owns what the prompt knows of the database: names for completion, read through SQL alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from mindsql.database import quote

if TYPE_CHECKING:
    from mindsql.connection import Connection

_TABLES = """
    SELECT if(schema_name = 'main', table_name, schema_name || '.' || table_name), column_name
    FROM system.main.duckdb_columns()
    WHERE NOT internal AND NOT (schema_name = 'mindsql' AND database_name = system.main.current_database())
    ORDER BY table_oid, column_index
"""
_MODEL_COLUMNS = "SELECT project, model, name FROM information_schema.model_columns"
_MODELS = "SELECT project, name FROM information_schema.models"
_HANDLERS = "SELECT name FROM information_schema.handlers"
_ENGINES = "SELECT name FROM information_schema.ml_engines"
_OPTIONS = "SELECT handler, name FROM information_schema.handler_options"
_ESTIMATORS = "SELECT name FROM information_schema.estimators"
_SOURCES = "SELECT name FROM information_schema.databases WHERE type = 'data' AND engine <> 'duckdb'"
_KEYWORDS = "SELECT upper(keyword_name) FROM system.main.duckdb_keywords()"
DEFAULT_PROJECT = "mindsql"


@dataclass
class Names:
    """A snapshot of names.

    Args:
        tables: Columns by table or view.
        models: Input and output columns by model.
        handlers: Names of handlers and of engines made from them.
        options: Options by handler.
        keywords: The words of DuckDB.
        sources: By other database, gives its tables; it is asked when its name is written.
        described: Gives the columns of a table of another database.
        estimators: Gives what USING estimator may name; its library is loaded when that is first asked for.
    """

    tables: dict[str, list[str]] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    handlers: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    keywords: list[str] = field(default_factory=list)
    sources: dict[str, Callable[[], list[str]]] = field(default_factory=dict)
    described: Callable[[str], list[str]] = lambda _: []
    estimators: Callable[[], list[str]] = list

    def tables_of(self, source: str) -> list[str]:
        """The tables of another database, by its name in any case."""
        found = next((read for name, read in self.sources.items() if name.casefold() == source.casefold()), list)
        return found()

    def columns(self, relation: str) -> list[str]:
        """The columns of a table or a model, by its name in any case."""
        wanted = relation.replace('"', "").replace("`", "").casefold()
        for name, columns in [*self.tables.items(), *self.models.items()]:
            if wanted in (name.casefold(), f"{DEFAULT_PROJECT}.{name}".casefold(), f"main.{name}".casefold()):
                return columns
        return self.described(relation) if wanted.partition(".")[0] in map(str.casefold, self.sources) else []


def read(connection: Connection) -> Names:
    """The names as they are now; what cannot be read (in a failed transaction, say) stays empty."""
    names = Names()
    for table, column in _rows(connection, _TABLES):
        names.tables.setdefault(table, []).append(column)
    for project, model in _rows(connection, _MODELS):
        names.models.setdefault(_model(project, model), [])
    for project, model, column in _rows(connection, _MODEL_COLUMNS):
        columns = names.models.setdefault(_model(project, model), [])
        if column not in columns:
            columns.append(column)
    names.handlers = [
        *dict.fromkeys(row[0] for sql in (_HANDLERS, _ENGINES) for row in _rows(connection, sql))
    ]
    for handler, option in _rows(connection, _OPTIONS):
        names.options.setdefault(handler, []).append(option)
    for (source,) in _rows(connection, _SOURCES):
        names.sources[source] = cache(partial(_firsts, connection, f"SHOW TABLES FROM {quote(source)}"))
    names.described = cache(lambda table: _firsts(connection, f"DESCRIBE {table}"))
    names.estimators = lambda: [row[0] for row in _rows(connection, _ESTIMATORS)]
    names.keywords = [row[0] for row in _rows(connection, _KEYWORDS)]
    return names


def _model(project: str, model: str) -> str:
    return model if project == DEFAULT_PROJECT else f"{project}.{model}"


def _firsts(connection: Connection, sql: str) -> list[str]:
    return [row[0] for row in _rows(connection, sql)]


def _rows(connection: Connection, sql: str) -> list[Any]:
    try:
        return list(connection.execute(sql).fetchall())
    except Exception:  # completion is a comfort: whatever fails in it must not reach the prompt
        return []
