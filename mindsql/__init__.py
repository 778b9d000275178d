"""MindSQL: a database in which machine-learning models are tables.

    import mindsql
    con = mindsql.connect("shop.duckdb")
    con.execute("CREATE MODEL rentals FROM (SELECT * FROM home_rentals) PREDICT rental_price")
    con.execute("SELECT rental_price FROM rentals WHERE sqft = 823").fetchone()

The module has the names of DB-API 2.0 (PEP 249). Everything is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mindsql.errors import (
    AccessError,
    AuthenticationError,
    Cancelled,
    CatalogError,
    DatabaseError,
    DataError,
    EngineContractError,
    EngineError,
    EngineMissingError,
    EngineProcessError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    LimitError,
    MemoryLimitError,
    MindSQLError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    SourceError,
    StatementError,
    TimeLimitError,
    TooLargeError,
    UnknownNameError,
    Warning,
)

if TYPE_CHECKING:
    from mindsql.connection import Connection, connect
    from mindsql.dbapi import (
        BINARY,
        DATETIME,
        NUMBER,
        ROWID,
        STRING,
        Binary,
        Date,
        DateFromTicks,
        Time,
        TimeFromTicks,
        Timestamp,
        TimestampFromTicks,
    )
    from mindsql.engine import BaseMLEngine, Capabilities, Engine, Option, Predictor, Summary, Translation
    from mindsql.result import Result
    from mindsql.schema import Column, Schema

__version__ = "0.1.0"

apilevel = "2.0"
threadsafety = 1
"""PEP 249: threads may share the module, but not connections: take `connection.cursor()` for each thread."""
paramstyle = "qmark"

_LAZY = {
    **dict.fromkeys(
        (
            "STRING",
            "BINARY",
            "NUMBER",
            "DATETIME",
            "ROWID",
            "Date",
            "Time",
            "Timestamp",
            "Binary",
            "DateFromTicks",
            "TimeFromTicks",
            "TimestampFromTicks",
        ),
        "mindsql.dbapi",
    ),
    "connect": "mindsql.connection",
    "Connection": "mindsql.connection",
    "Result": "mindsql.result",
    "Engine": "mindsql.engine",
    "BaseMLEngine": "mindsql.engine",
    "Capabilities": "mindsql.engine",
    "Option": "mindsql.engine",
    "Predictor": "mindsql.engine",
    "Summary": "mindsql.engine",
    "Translation": "mindsql.engine",
    "Column": "mindsql.schema",
    "Schema": "mindsql.schema",
}

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "AccessError",
    "AuthenticationError",
    "BaseMLEngine",
    "Binary",
    "Cancelled",
    "Capabilities",
    "CatalogError",
    "Column",
    "Connection",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Engine",
    "EngineContractError",
    "EngineError",
    "EngineMissingError",
    "EngineProcessError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LimitError",
    "MemoryLimitError",
    "MindSQLError",
    "NotSupportedError",
    "OperationalError",
    "Option",
    "Predictor",
    "ProgrammingError",
    "Result",
    "Schema",
    "SourceError",
    "StatementError",
    "Summary",
    "Time",
    "TimeFromTicks",
    "TimeLimitError",
    "Timestamp",
    "TimestampFromTicks",
    "TooLargeError",
    "Translation",
    "UnknownNameError",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mindsql' has no attribute {name!r}")
