"""Owns what a statement *is*: one frozen value per statement, the only thing the parser hands on.

Values compare by meaning: spans and source texts take no part in equality, so that
`parse(to_sql(statement)) == statement`. Names are tuples of their parts as written, without quotes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlglot import expressions as exp

Name: TypeAlias = tuple[str, ...]
"""A dotted name, its parts unquoted: `("mindsql", "rentals")`."""


@dataclass(frozen=True)
class Span:
    """Character offsets `[start, end)` in the text given to `parse`."""

    start: int
    end: int


@dataclass(frozen=True)
class Env:
    """`env('NAME')`: a value taken from the environment when it is used, never stored."""

    name: str


@dataclass(frozen=True)
class Parameter:
    """`?` (by position, 1-based, in order of appearance), `$2` or `$name`."""

    name: str


Value: TypeAlias = "str | int | float | bool | Env | Parameter | Sequence[Value] | Mapping[str, Value] | None"


@dataclass(frozen=True)
class Option:
    """One `key = value` of USING. A dotted key is a path: `url.train` is `("url", "train")`.

    Keys keep the case they were written in; they are compared without it.
    """

    path: Name
    value: Value
    span: Span = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        """The path as it is written: `url.train`."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Statement:
    """Base of all statements. `span` covers the statement in the text given to `parse`, without `;`."""

    span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Native:
    """`source (native text)`: the text between the parentheses, verbatim, for that source alone to read."""

    source: Name
    text: str


@dataclass(frozen=True)
class Query(Statement):
    """SELECT, INSERT … SELECT, CREATE TABLE AS, COPY (…) TO and everything else that sqlglot's DuckDB parser
    reads, with our own clauses cut out.

    Attributes:
        tree: The sqlglot tree. A relation `model.3` is the table `model."3"`: a last part of digits only.
            `FROM source (native text)` is a table whose name is `NATIVE_PREFIX` and its place in `natives`.
            A `?` is the parameter `$1`, `$2`, … in order of appearance.
        natives: The native queries of the tree, in order.
        options: The trailing `USING k = v`: `k` is for every model, `alias.k` for one.
    """

    tree: exp.Expr
    natives: tuple[Native, ...] = ()
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class DuckDB(Statement):
    """A statement that is DuckDB's alone (PRAGMA, ATTACH, SET, BEGIN, …), handed on as it was written."""

    text: str


@dataclass(frozen=True)
class Write:
    """`INSERT INTO t [BY NAME] [(columns)] query`, `CREATE [OR REPLACE] TABLE [IF NOT EXISTS] t AS query` or
    `DROP TABLE [IF EXISTS] t`, for a table that may be another database's: `parse` gives the same as Query or DuckDB.

    Attributes:
        target: The table's name, which stands at `place`.
        query_text: The statement with blanks in place of what is not its query.
        exists: Whether IF EXISTS or IF NOT EXISTS is said.
    """

    verb: Literal["insert", "create", "drop"]
    target: Name
    place: Span
    query_text: str = ""
    columns: tuple[str, ...] = ()
    by_name: bool = False
    or_replace: bool = False
    exists: bool = False


@dataclass(frozen=True)
class Rows:
    """Where a command's rows come from: `FROM source (native text)` or `FROM (query)`.

    Exactly one of `native` and `query` is given.
    """

    native: Native | None = None
    query: Query | None = None
    text: str = field(default="", compare=False)
    """The text between the parentheses, verbatim."""


@dataclass(frozen=True)
class CreateEngine(Statement):
    """`CREATE [OR REPLACE] ML_ENGINE [IF NOT EXISTS] name FROM handler [USING …]`."""

    name: str
    handler: str
    options: tuple[Option, ...] = ()
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class CreateModel(Statement):
    """`CREATE [OR REPLACE] {MODEL|PREDICTOR} [IF NOT EXISTS] name [FROM …] PREDICT target [AS alias] …`,
    and `CREATE ANOMALY DETECTION MODEL name …`, whose target may be left out (None)."""

    name: Name
    target: str | None
    alias: str | None = None
    rows: Rows | None = None
    order_by: tuple[str, ...] = ()
    """Terms of ORDER BY, each as SQL text in sqlglot's normal form (`"saledate DESC"`)."""
    group_by: tuple[str, ...] = ()
    window: int | None = None
    horizon: int | None = None
    options: tuple[Option, ...] = ()
    or_replace: bool = False
    if_not_exists: bool = False
    anomaly: bool = False


@dataclass(frozen=True)
class Retrain(Statement):
    """`RETRAIN [MODEL] name [FROM …] [PREDICT target] [USING …]`."""

    name: Name
    rows: Rows | None = None
    options: tuple[Option, ...] = ()
    target: str | None = None


@dataclass(frozen=True)
class Finetune(Statement):
    """`FINETUNE [MODEL] name FROM … [USING …]`."""

    name: Name
    rows: Rows
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Evaluate(Statement):
    """`EVALUATE metric FROM (query) [USING …]` or `EVALUATE [MODEL] name[.version] [FROM …]`.

    Without the word MODEL only the catalog can tell which: `is_model` is then None.
    """

    name: Name
    version: int | None = None
    rows: Rows | None = None
    options: tuple[Option, ...] = ()
    is_model: bool | None = None


@dataclass(frozen=True)
class Describe(Statement):
    """`DESCRIBE [MODEL|ML_ENGINE|HANDLER|ESTIMATOR|DATABASE|PROJECT|VIEW] name[.version][.attribute]`.

    `kind` is lower case, None when no kind was written; `name` holds all parts as written.
    """

    name: Name
    kind: str | None = None


@dataclass(frozen=True)
class Drop(Statement):
    """`DROP {MODEL|PREDICTOR|ML_ENGINE|PROJECT|DATABASE|VIEW} [IF EXISTS] name[.version]`.

    `kind` is `model`, `ml_engine`, `project`, `database` or `view`; `version` is for models alone.
    """

    kind: str
    name: Name
    version: int | None = None
    if_exists: bool = False


@dataclass(frozen=True)
class SetActive(Statement):
    """`SET active name.N`."""

    name: Name
    version: int


@dataclass(frozen=True)
class SetExecutor(Statement):
    """`SET executor = 'local'|'ray'|'ray://host:port'`; None is `RESET executor`."""

    executor: str | None


@dataclass(frozen=True)
class Show(Statement):
    """`SHOW MODELS|LOADED MODELS|ML_ENGINES|HANDLERS|DATABASES|PROJECTS|TABLES|VIEWS [FROM x] [LIKE s] [WHERE e]`, and
    `SHOW ESTIMATORS [FOR task] [LIKE s] [WHERE e]`.

    `what` is lower case plural: `models`; `task` is lower case.
    """

    what: str
    source: Name | None = None
    like: str | None = None
    where: exp.Expr | None = None
    task: str | None = None


@dataclass(frozen=True)
class CreateProject(Statement):
    """`CREATE PROJECT [IF NOT EXISTS] name`."""

    name: str
    if_not_exists: bool = False


@dataclass(frozen=True)
class CreateDatabase(Statement):
    """`CREATE [OR REPLACE] DATABASE [IF NOT EXISTS] name [WITH] ENGINE [=] 'duckdb' [,] PARAMETERS [=] {…}`
    in every spelling that MindsDB takes."""

    name: str
    engine: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    or_replace: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True)
class CreateView(Statement):
    """`CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name AS SELECT …` (parentheses round the query allowed).

    Only the catalog can tell whether it is ours (it names a model or a source) or DuckDB's;
    `text` is the whole statement for the latter, `query_text` the query's own text for the former.
    """

    name: Name
    query: Query
    or_replace: bool = False
    if_not_exists: bool = False
    text: str = field(default="", compare=False)
    query_text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Prepare(Statement):
    """`PREPARE name AS SELECT …`. Only the catalog can tell whether the query asks a model; `query_text` is its text,
    which EXECUTE runs."""

    name: str
    query: Query
    query_text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Execute(Statement):
    """`EXECUTE name [(value, … | parameter := value, …)]`: the values as they are written, by the parameter's name, or
    its number from 1."""

    name: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Deallocate(Statement):
    """`DEALLOCATE [PREPARE] name`."""

    name: str


@dataclass(frozen=True)
class Use(Statement):
    """`USE name`: a project of ours, a source, or a schema of DuckDB."""

    name: Name
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Explain(Statement):
    """`EXPLAIN [ANALYZE] statement`."""

    statement: Statement
    analyze: bool = False
    text: str = field(default="", compare=False)
