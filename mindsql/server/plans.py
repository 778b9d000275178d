"""Owns the second look at a remote statement: the plan that DuckDB has made of it, whatever its text seemed to say.

`access` reads texts. A text that two readers take differently could pass there; what DuckDB is about to run cannot be
hidden from DuckDB's own EXPLAIN.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.catalog import SCHEMA, TABLES
from mindsql.errors import AccessError, MindSQLError
from mindsql.parameters import Parameters
from mindsql.server import functions

if TYPE_CHECKING:
    from mindsql.database import DuckDBConnection
    from mindsql.session import Session

_MOST = 500
_FRAMES = frozenset({"arrow_scan", "arrow_scan_dumb", "pandas_scan", "python_arrow_scan", "python_map_function"})
"""Tables of ours that stand in for what a statement was given."""
_WRITES = re.compile(r"INSERT|UPDATE|DELETE|MERGE|CREATE|COPY|DROP|ALTER")
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALY[SZ]E\s+)?(?:\([^)]*\)\s*)?", re.IGNORECASE)
_QUERIES = re.compile(r"query", re.IGNORECASE)
"""`query('…')`, whose plan depends on a value."""


class Inspector:
    """Looks at the plans of one session.

    Attributes:
        writes: Whether the session may change tables.
    """

    def __init__(self, session: Session, writes: bool) -> None:
        self._session = session
        self.writes = writes
        self._passed: OrderedDict[Any, None] = OrderedDict()

    def __call__(self, raw: DuckDBConnection, text: str, parameters: Parameters) -> None:
        """Let a statement pass that DuckDB is about to run. Raises AccessError."""
        state = self._session.database
        key = text, state.catalog_version, state.schema_version
        if key in self._passed:
            return
        explained = text[found.end() :] if (found := _EXPLAIN.match(text)) else text
        try:
            ((_, plan),) = database.rows(raw, f"EXPLAIN (FORMAT json) {explained}", parameters)
        except (MindSQLError, ValueError):
            return  # it has no plan, or running it will say what is wrong
        for operator in _operators(json.loads(plan)):
            self._check(str(operator.get("name", "")), operator.get("extra_info") or {})
        if not parameters or _QUERIES.search(text) is None:
            self._passed[key] = None
            while len(self._passed) > _MOST:
                self._passed.popitem(last=False)

    def _check(self, name: str, about: dict[str, Any]) -> None:
        table = str(about.get("Table", "")).casefold()
        if any(table.endswith(f"{SCHEMA}.{own}") for own in TABLES):
            raise AccessError(f"the catalog's own tables (schema {SCHEMA}) are not available through a server")
        function = str(about.get("Function", "")).casefold()
        if function and not self._may_call(function):
            raise AccessError(f"the function {function} is not available through a server")
        if not self.writes and _WRITES.search(name) and not name.endswith("_SCAN"):
            raise AccessError("this statement would change the database, which the role may not")

    def _may_call(self, function: str) -> bool:
        if function in functions.TABLES or function in _FRAMES or function == "seq_scan":
            return True
        sandbox = self._session.database.sandbox
        files = any(source.engine == "files" for source in self._session.snapshot().sources)
        return function in functions.FILES and (files or bool(sandbox and sandbox.folders))


def _operators(plan: object) -> Iterator[dict[str, Any]]:
    """Every operator of a plan in JSON."""
    if isinstance(plan, list):
        for item in plan:
            yield from _operators(item)
    elif isinstance(plan, dict):
        yield plan
        yield from _operators(plan.get("children", []))
