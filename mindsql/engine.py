"""Owns the engine contract: what a handler must and may implement, and the two storages that it is given.

An engine does one thing: rows in, the same rows with answers out. Two methods are needed, `create` and
`predict`; everything else has a default. The five methods keep the signatures of MindsDB's `BaseMLEngine`
(docs: *Building a Machine Learning Handler*), so that a handler written for it ports by changing its import.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from mindsql.library_warnings import capture_warnings as capture_warnings
from mindsql.library_warnings import suppress_warnings as suppress_warnings
from mindsql.schema import Schema
from mindsql.storage import EngineStorage as EngineStorage
from mindsql.storage import Storage as Storage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Args: TypeAlias = dict[str, Any]
OptionType: TypeAlias = Literal["string", "integer", "float", "boolean", "object", "array", "any"]
Task: TypeAlias = Literal["regression", "classification", "anomaly", "clustering", "other"]


@dataclass(frozen=True)
class Option:
    """A typed option of USING, checked before anything runs.

    Args:
        name: The key as the user writes it; dots make a path (`url.train`).
        type: What values fit. An integer fits `float`; `any` takes everything.
        default: The value when the option is not given.
        required: Not giving it is an error.
        secret: Stored encrypted, and shown nowhere.
        choices: The only values allowed, when not empty.
        description: One line for SHOW, DESCRIBE and completion.
        aliases: Other names for it.
        minimum, maximum: Bounds of a number, both allowed values.
        file: A path on this machine, or a URL or an object in which one may stand; a server takes paths in its declared
            folders alone.
    """

    name: str
    type: OptionType = "string"
    default: Any = None
    required: bool = False
    secret: bool = False
    choices: tuple[Any, ...] = ()
    description: str = ""
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    file: bool = False


ANY_OPTION = Option("*", "any", description="any other option, handed on as it is given")
"""Among an engine's options: what is not declared is taken, and hidden when its name looks like that of a secret."""


@dataclass(frozen=True)
class Capabilities:
    """What the executor may rely on.

    Attributes:
        deterministic: Equal rows get equal answers, so they may be asked once and kept.
        row_wise: An answer depends on its own row alone, so rows may come in batches of any size.
        thread_safe: `predict` may run in several threads at once on one loaded model.
        needs_training_data: `create` cannot do without `df`.
        accepts_missing: An input may be NULL; otherwise a NULL or a missing input is an error.
        supports_time_series: ORDER BY, GROUP BY, WINDOW and HORIZON are understood.
        takes_arrow: `create` and `update` are given `mindsql.frames.TrainingRows`, columns in Arrow, instead of a data
            frame, which they still take from callers in Python.
        ask_once: An answer is dear: equal rows of one statement are asked once.
        casts: Inputs come in the types of the query, and the engine says which values do not fit. Otherwise each is
            cast to the family that it had in training.
        batch_rows: The most rows of one `predict` call; None leaves it to the executor.
        max_concurrency: The most `predict` calls at once; None leaves it to the executor.
    """

    deterministic: bool = True
    row_wise: bool = True
    thread_safe: bool = False
    needs_training_data: bool = True
    accepts_missing: bool = True
    supports_time_series: bool = False
    takes_arrow: bool = False
    ask_once: bool = False
    casts: bool = False
    batch_rows: int | None = None
    max_concurrency: int | None = None


@dataclass(frozen=True)
class Environment:
    """A Python environment that an engine's library needs for itself, since it cannot live beside ours. The engine then
    runs in a process of its own, by that environment's Python.

    Attributes:
        python: Which Python, as a version specifier (`>=3.12`); empty for any from 3.10 on.
        requires: What is installed, as requirements of pip; pyarrow and pandas are added.
        overrides: Requirements that replace what the packages themselves ask for.
        constraints: Requirements that bound versions, without installing anything.
        index: Where packages are looked for first; PyPI else.
        variables: The names of environment variables that its process is given; few others are.
    """

    python: str = ""
    requires: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    index: str | None = None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimator:
    """What `USING estimator` may name, for SHOW ESTIMATORS.

    Attributes:
        name: As it is written.
        task: What kind of answer it gives.
        accepts_missing: It takes missing inputs as they are; otherwise the engine puts something in their place.
        as_sql: Its models may have a `Translation`.
        finetune: FINETUNE continues it.
        description: What it is, in a few words.
    """

    name: str
    task: Task
    accepts_missing: bool = False
    as_sql: bool = False
    finetune: bool = False
    description: str = ""


@dataclass(frozen=True)
class Network:
    """Where engines may connect to.

    Attributes:
        allowed_hosts: Names of hosts, `*.example.com` for those below one; None for any.
        private: Whether loopback, private and link-local addresses may be asked; a server says no.
    """

    allowed_hosts: tuple[str, ...] | None = None
    private: bool = True


@dataclass
class Context:
    """The statement that an engine works for; `context()` gives it inside `create`, `update` and `predict`.

    Attributes:
        network: Where it may connect to.
        started: `time.monotonic()` when the statement's asking began, for a limit on the whole.
        counts: What EXPLAIN ANALYZE shows beside the rows: `requests`, `retries`, …; engines add to it.
        tell: Is told the rows done within this call, and what else there is to say of it, for the progress.
        stopped: Whether the user stopped the statement.
        polls: Set by an engine that looks at `stopped` often. Others are ended by an exception in their thread.
        threads: The threads at work for it.
    """

    network: Network = Network()
    started: float = field(default_factory=time.monotonic)
    counts: dict[str, int] = field(default_factory=dict)
    tell: Callable[[int, str], None] = lambda done, text: None
    stopped: Callable[[], bool] = lambda: False
    polls: bool = False
    threads: set[int] = field(default_factory=set)


_CONTEXT: ContextVar[Context | None] = ContextVar("mindsql_context", default=None)
_ROW: ContextVar[Callable[[int], int]] = ContextVar("mindsql_row", default=lambda row: row)


def context() -> Context:
    """The statement that this thread works for; outside of any, one that allows everything."""
    return _CONTEXT.get() or Context()


def row_number(row: int) -> int:
    """The number, from 1 and among all rows that the statement asks about, of a row of this call, from 0."""
    return _ROW.get()(row) + 1


@contextmanager
def working_for(statement: Context) -> Iterator[None]:
    """Code of an engine inside works for a statement."""
    token = _CONTEXT.set(statement)
    statement.threads.add(threading.get_ident())
    try:
        yield
    finally:
        statement.threads.discard(threading.get_ident())
        _CONTEXT.reset(token)


@contextmanager
def numbering(row: Callable[[int], int]) -> Iterator[None]:
    """Inside, `row_number` counts by a function: row of the call → row of the statement, both from 0."""
    token = _ROW.set(row)
    try:
        yield
    finally:
        _ROW.reset(token)


@dataclass(frozen=True)
class Summary:
    """What an engine says of a version after `create` or `update`; stored with the version.

    Attributes:
        inputs: The columns it needs to predict, with the DuckDB types they had in training.
        outputs: The columns it can answer, the target first: `y`, then any of `y_confidence` DOUBLE,
            `y_explain` JSON, `y_error` VARCHAR and others. Extra columns are only asked for when a query reads them.
        extra: Further columns it can answer, which a query must name: `*` does not give them.
        task: What kind of answer the target is.
        classes: The labels of a classifier, as text.
        rows: Rows trained on. `rows_left_out`: rows that could not be used (NULL target).
        metrics: Scores on rows not trained on. `baseline`: the same scores of the most frequent class or the mean.
        accuracy: The one score shown in `models.accuracy`.
        notes: Sentences that the answer of CREATE and DESCRIBE show: what was inferred and why, what was left out.
        left_out: Columns of the training rows that are no inputs, and why.
        estimator: What was trained, in the words of the engine's library.
    """

    inputs: Schema
    outputs: Schema
    extra: Schema = field(default_factory=Schema)
    task: Task = "other"
    classes: tuple[str, ...] = ()
    rows: int = 0
    rows_left_out: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    estimator: str = ""


@dataclass(frozen=True)
class Translation:
    """A model as SQL, which DuckDB computes instead of asking the engine.

    The expressions are in DuckDB's dialect. They name the model's inputs as quoted identifiers, spelt as in
    `Summary.inputs` (`"sqft"`), whose values come with any type of the input's family, NULLs among them. The answers
    must be the predictor's: labels equal, numbers within 1e-9. The executor compares both on a sample of rows, edge
    values included, before it believes it.

    Attributes:
        steps: Columns to compute first, a mapping of name → expression for each level; a level may name the columns
            of earlier ones. Names begin with `__`.
        outputs: Output → expression. Outputs that are left out are asked of the engine.
        kind: What it is, for EXPLAIN and DESCRIBE: `linear, 72 terms`.
    """

    outputs: Mapping[str, str]
    steps: tuple[Mapping[str, str], ...] = ()
    kind: str = ""


@runtime_checkable
class Predictor(Protocol):
    """A loaded model, from Arrow to Arrow: the fast path that an engine may offer."""

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> Mapping[str, pa.Array]:
        """Answer one batch.

        Args:
            batch: n rows; its columns are the model's inputs, named as in `Summary.inputs`, in that order.
                A type may be another one of the same family than in training.
            columns: The names of the outputs that are wanted (a subset of `Summary.outputs`).

        Returns:
            For each of `columns` an Arrow array of n values.
        """
        ...


class Engine:
    """Base class of all handlers. Subclass it, implement `create` and `predict`, register it.

    Class attributes:
        title, description: For SHOW HANDLERS.
        options: What `CREATE MODEL … USING` takes beside the options every model has (`engine`, `tag`).
        engine_options: What `CREATE ML_ENGINE … USING` takes.
        predict_options: What `SELECT … USING` takes.
        urls: The options that are addresses: through a server, a secret goes to the origin that it was stored with.
        capabilities: What the executor may rely on.
        requires: The command that installs what the engine imports, for the error message.
        environment: The Python environment that it must run in; None for the database's own.
        for_owners: Only the owner of a local connection may make an ML_ENGINE of it, since it runs code of theirs.

    An instance serves one version of one model; `self.model_storage` and `self.engine_storage` are its own.
    """

    title: ClassVar[str] = ""
    description: ClassVar[str] = ""
    options: ClassVar[tuple[Option, ...]] = ()
    engine_options: ClassVar[tuple[Option, ...]] = ()
    predict_options: ClassVar[tuple[Option, ...]] = ()
    urls: ClassVar[tuple[str, ...]] = ()
    capabilities: ClassVar[Capabilities] = Capabilities()
    requires: ClassVar[str] = ""
    environment: ClassVar[Environment | None] = None
    for_owners: ClassVar[bool] = False

    def __init__(
        self,
        model_storage: Storage | None = None,
        engine_storage: EngineStorage | None = None,
        **kwargs: Any,
    ) -> None:
        self.model_storage = model_storage if model_storage is not None else Storage()
        self.engine_storage = engine_storage if engine_storage is not None else EngineStorage()
        self.base_model_storage: Storage | None = kwargs.get("base_model_storage")

    @staticmethod
    def create_validation(target: str, args: Args | None = None, **kwargs: Any) -> None:
        """Optional: check a CREATE MODEL before anything is done; raise what is wrong.

        Args:
            target: The name of the target column.
            args: `using`, the options.
            kwargs: `handler_storage`, the engine's storage.
        """

    # The five methods -------------------------------------------------------------------------------------

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """Train or register a model; keep what is needed to predict in `self.model_storage`.

        Args:
            target: The name of the target column.
            df: The training rows, the target among its columns; None when no query was given.
            args: `using` (the options, checked, defaults filled in), `target`, `schema` (a `Schema`: the DuckDB
                types of the columns of `df`), `anomaly` (bool), and for time series `timeseries_settings`
                (`is_timeseries`, `order_by`, `group_by`, `window`, `horizon`).
        """
        raise NotImplementedError

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """Answer each row of `df`, in its order.

        Args:
            df: n rows; its columns are the model's inputs.
            args: `predict_params` (the options of the query's USING), `using` (those of the model), `columns`
                (the outputs that are wanted).

        Returns:
            n rows with a column named as the target, and any of `<target>_explain`, `_confidence`, `_error`.
        """
        raise NotImplementedError

    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """Optional: continue training on new rows (FINETUNE). `self.base_model_storage` holds the old version,
        `self.model_storage` takes the new one."""
        raise NotImplementedError

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """Optional: `DESCRIBE model.key`. Without a key: one column `tables`, the keys there are."""
        raise NotImplementedError

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        """Optional: check what CREATE ML_ENGINE was given, connect to what is outside."""
        raise NotImplementedError

    # Beyond the five, all optional ------------------------------------------------------------------------

    @classmethod
    def estimators(cls) -> Sequence[Estimator]:
        """Optional: what `USING estimator` may name. `options_for({"estimator": name})` has its parameters."""
        return ()

    @classmethod
    def options_for(cls, using: Mapping[str, Any]) -> Sequence[Option]:
        """The options that fit once the given ones are known (an estimator brings its own parameters)."""
        return cls.options

    @classmethod
    def needs_target(cls, using: Mapping[str, Any]) -> bool:
        """Whether the target must be among the training rows. Not so for what finds its answers by itself: clusters,
        outliers; PREDICT then only names the answer."""
        return True

    def summary(self) -> Summary | None:
        """After `create` or `update`: the version's columns, scores and notes. None leaves it to the executor: all
        columns of `df` but the target are inputs, and a trial prediction tells the outputs."""
        return None

    def load(self, args: Args | None = None) -> None:
        """Optional: read what predicting needs. Called once, by one thread, before the first `predict`."""

    def close(self) -> None:
        """Optional: let go of what `load` took. Called once, when the model is dropped, retrained, unused for long, or
        the database is closed."""

    def memory(self) -> int | None:
        """Optional: the bytes that the loaded model takes, for the cache of loaded models and SHOW LOADED MODELS. None:
        those of its stored files are counted."""
        return None

    def translation(self, args: Args | None = None) -> Translation | str | None:
        """After `create` or `update`: the model as SQL. When it has no such form, or one too long to be fast, None or
        a few words that say why, for EXPLAIN."""
        return None

    def model_capabilities(self) -> Capabilities:
        """After `create` or `update`: what may be relied on of this model, where that is not the same for all."""
        return self.capabilities

    def predictor(self, args: Args | None = None) -> Predictor | None:
        """A loaded model for many calls; `args` as for `predict`, and `types`, the Arrow type of each output. None
        means: call `predict`."""
        return None


ROW_ID = "__mindsdb_row_id"
"""The column of row numbers that a `BaseMLEngine` finds beside its inputs."""


class BaseMLEngine(Engine):
    """`Engine` by its MindsDB name and with MindsDB's habits: options need not be declared, and are then handed on
    as they are given; `update` may be called `finetune`; the training rows need not have the target, nor be there."""

    options: ClassVar[tuple[Option, ...]] = (ANY_OPTION,)
    engine_options: ClassVar[tuple[Option, ...]] = (ANY_OPTION,)
    predict_options: ClassVar[tuple[Option, ...]] = (ANY_OPTION,)
    # The handler itself says whether it can do without rows.
    capabilities: ClassVar[Capabilities] = Capabilities(needs_training_data=False)

    @classmethod
    def needs_target(cls, using: Mapping[str, Any]) -> bool:
        """See `Engine.needs_target`: a recommender or a generative model answers what no row shows."""
        return False

    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.update`."""
        self.finetune(df, args)

    def finetune(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """Optional: the newer name of `update`."""
        raise NotImplementedError


_OLD_NAMES = {"heard": capture_warnings, "quiet": suppress_warnings}


def __getattr__(name: str) -> Any:
    """Names of 0.1 that engines of others may import."""
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _OLD_NAMES[name]
    message = f"mindsql.engine.{name} is now called {found.__name__}"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return found
