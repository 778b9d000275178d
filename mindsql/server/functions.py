"""Owns which of DuckDB's functions a remote statement may call.

Table functions are listed: one that a later DuckDB brings is closed until it is looked at. Scalar functions and
aggregates compute from their arguments alone, but for a few that are named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mindsql import database
from mindsql.database import LexedToken
from mindsql.errors import AccessError
from mindsql.sandbox import Sandbox

if TYPE_CHECKING:
    from mindsql.database import DuckDBConnection


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


TABLES = names(
    # rows out of nothing, or out of an argument
    "range generate_series unnest repeat repeat_row summary json_each json_tree "
    "icu_calendar_names pg_timezone_names test_all_types "
    # what there is in the database
    "duckdb_columns duckdb_connection_count duckdb_constraints duckdb_databases duckdb_dependencies duckdb_extensions "
    "duckdb_functions "
    "duckdb_indexes duckdb_keywords duckdb_memory duckdb_optimizers duckdb_prepared_statements duckdb_schemas "
    "duckdb_sequences duckdb_settings duckdb_tables duckdb_temporary_files duckdb_triggers duckdb_types "
    "duckdb_variables duckdb_views pragma_collations pragma_database_size pragma_platform pragma_show "
    "pragma_table_info pragma_user_agent pragma_version"
)
FILES = names(
    "glob parquet_file_metadata parquet_kv_metadata parquet_metadata parquet_scan parquet_schema read_blob read_csv "
    "read_csv_auto read_json read_json_auto read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto "
    "read_ndjson_objects read_parquet read_text sniff_csv"
)
"""They read files: those of declared folders, and no others. DuckDB alone would let them read the database's own."""
_SCALARS = names(
    # states and encodings that DuckDB trusts to be its own
    "combine finalize index_key to_aggregate_state variant_bytes_to_variant "
    # they run a text, or write to the log
    "getenv json_serialize_plan write_log"
)
ADMIN = names("duckdb_databases duckdb_extensions duckdb_settings duckdb_temporary_files pragma_database_size")
"""They tell where on the machine things lie."""
_BY_NAME = names("pragma_show pragma_table_info")
"""They take the name of a table, which must be there to be read: a computed one could be any."""
_PLACES = re.compile(r"director|path|file|config|secret|home")
CHANGING = frozenset({"nextval", "setval"})
"""They change the database in the middle of a query."""

_known: dict[str, frozenset[str]] = {}


def calls(tokens: Sequence[LexedToken]) -> Iterator[tuple[str, Sequence[LexedToken]]]:
    """Each name that an opening parenthesis follows, with the tokens after the parenthesis."""
    for index, token in enumerate(tokens[:-1]):
        if token.kind in ("identifier", "keyword") and tokens[index + 1].text == "(":
            yield token.word, tokens[index + 2 :]


def tells_places(tokens: Sequence[LexedToken]) -> bool:
    """Whether a statement asks where on the machine things lie."""
    for name, arguments in calls(tokens):
        if name in ADMIN:
            return True
        if name == "current_setting":
            setting = string(arguments)
            if setting is None or _PLACES.search(setting.casefold()):
                return True
    return False


def check(raw: DuckDBConnection, tokens: Sequence[LexedToken], sandbox: Sandbox) -> None:
    """Refuse calls that reach past the statement. Raises AccessError."""
    for name, arguments in calls(tokens):
        if name in FILES:
            for path in _paths(name, arguments):
                sandbox.admit(path)
        elif name in _BY_NAME and string(arguments) is None:
            raise AccessError(f"the function {name} takes a table's name, written out as one string")
        elif name in _closed(raw) or name in _SCALARS or name.startswith("__internal"):
            raise AccessError(f"the function {name} is not available through a server")


def string(tokens: Sequence[LexedToken]) -> str | None:
    """The string that tokens begin with, when a `,`, a closing sign or nothing follows it; else None."""
    if not tokens or tokens[0].kind != "string_const" or not tokens[0].text.startswith("'"):
        return None
    if len(tokens) > 1 and tokens[1].text not in (",", ")", "]", "(", ";"):
        return None
    return tokens[0].text[1:-1].replace("''", "'")


def _paths(name: str, arguments: Sequence[LexedToken]) -> Iterator[str | None]:
    """The paths in a call: one string, or a list of strings."""
    if not arguments or arguments[0].text != "[":
        yield string(arguments)
        return
    rest = arguments[1:]
    while True:
        yield string(rest)
        if len(rest) < 2 or rest[1].text != ",":
            return
        rest = rest[2:]


def is_built_in(raw: DuckDBConnection, name: str) -> bool:
    """Whether a function that comes with DuckDB has that name."""
    if "built in" not in _known:
        _known["built in"] = frozenset(known.casefold() for known, _ in database.functions(raw))
    return name.casefold() in _known["built in"]


def _closed(raw: DuckDBConnection) -> frozenset[str]:
    """DuckDB's table functions that are not listed."""
    if "closed" not in _known:
        tables = {
            name.casefold() for name, kind in database.functions(raw) if kind in ("table", "table_macro")
        }
        _known["closed"] = frozenset(tables - TABLES)
    return _known["closed"]
