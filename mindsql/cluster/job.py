"""Owns what goes to the workers of a cluster and comes back: a job, its parts, their answers."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

from mindsql import errors
from mindsql.engine import Engine, Network
from mindsql.errors import MindSQLError
from mindsql.executor.pipeline import OperatorMetrics
from mindsql.planner.operators import Aggregate, Predict, Project, Scan
from mindsql.sandbox import Sandbox
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "__mindsql_file"
"""Stands for the path of a part's file in the tree of a scan."""


@dataclass(frozen=True)
class ShippedModel:
    """A model version as a worker needs it.

    Attributes:
        version: The version, its options in the clear.
        handler: The name of its handler, where the worker finds it by itself.
        cls: The class, where it was registered on the connection.
        engine_options: Those of its CREATE ML_ENGINE, in the clear.
        engine_files: What its engine keeps.
        files: Where its artifacts are in the cluster's store: a mapping of names to bytes.
        trusted: Whether a pickle among them may be loaded.
    """

    version: Version
    handler: str
    cls: type[Engine] | None
    engine_options: Mapping[str, Any]
    engine_files: Mapping[str, bytes]
    files: Any
    trusted: bool

    @property
    def key(self) -> str:
        """What a worker keeps it by: an engine may be replaced below its models."""
        return repr((self.version.id, sorted(self.engine_options.items()), self.trusted))


@dataclass(frozen=True)
class Copy:
    """Rows that the workers write themselves.

    Attributes:
        tree: The COPY, whose query reads the frame and whose path is that of a part.
        frame: The name of the frame in it.
        folder: Where the parts' files go.
        suffix: How their names end.
    """

    tree: exp.Copy
    frame: str
    folder: str
    suffix: str


@dataclass(frozen=True)
class Job:
    """What is done with each part.

    Attributes:
        top: The last operator of what is answered in parts; the file of its scan is `FILE`.
        columns: The columns of its rows.
        parameters: Those of the statement.
        models: By the id of the version.
        tables: What is joined to the files, by the names that the scan has for them.
        settings: Statements that every connection of the session is told.
        sandbox: What DuckDB may reach.
        network: Where engines may connect to.
        copy: Where the rows are written to; None when they are sent back.
        libraries: What must be the same on both sides.
    """

    top: Aggregate | Predict | Project | Scan
    columns: tuple[str, ...]
    parameters: Mapping[str, Any]
    models: Mapping[str, ShippedModel]
    tables: Mapping[str, pa.Table]
    settings: tuple[str, ...]
    sandbox: Sandbox | None
    network: Network
    copy: Copy | None
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """Some rows of one file.

    Attributes:
        number: From 0, in the order of the files.
        file: Its path.
        first, last: The numbers of its rows in the file, from 0; None for all.
        size: How many rows they are, before any filter; bytes where that is not known.
    """

    number: int
    file: str
    first: int | None
    last: int | None
    size: int

    @property
    def unit(self) -> str:
        """What `size` counts."""
        return "bytes" if self.first is None else "rows"

    def __str__(self) -> str:
        return f'"{self.file}"' + (f", rows {self.first} to {self.last}" if self.first is not None else "")


@dataclass
class Answer:
    """What a worker gives for a part: rows, or the file that it wrote, or what went wrong.

    Attributes:
        rows: The rows; None when they were written or it failed.
        file: The file that was written.
        count: How many rows there are.
        seconds: How long it took.
        figures: What was measured of its operators, the last one first.
        error: The class, the message and the hint of an error.
    """

    rows: pa.Table | None = None
    file: str | None = None
    count: int = 0
    seconds: float = 0.0
    figures: Sequence[OperatorMetrics] = ()
    error: tuple[str, str, str | None] | None = None

    def check(self) -> None:
        """Raise its error, if it has one."""
        if self.error is not None:
            name, message, hint = self.error
            made: MindSQLError = getattr(errors, name, MindSQLError)(message, hint=hint)
            raise made


def libraries() -> dict[str, str]:
    """What must be the same on both sides of a cluster."""
    names = ("mindsql-server", "duckdb", "pyarrow", "sqlglot")
    return {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
