"""The engine border: loads a model version, asks it for answers, holds it to its contract, and turns what it raises
into our errors."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mindsql.engine import Engine, Predictor, Translation, row_number
from mindsql.engine_call import call_predict, has_life
from mindsql.errors import (
    Cancelled,
    DataError,
    EngineContractError,
    EngineError,
    EngineMissingError,
    EngineProcessError,
    MindSQLError,
    innermost,
    spoken,
)
from mindsql.frames import moments
from mindsql.schema import Column, Schema
from mindsql.secrets import redact_secrets
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa


_FAMILY_TYPES = {"number": "float64", "text": "string", "boolean": "bool", "time": "timestamp[us]"}
"""The Arrow type that stands for a family."""


class LoadedModel:
    """A model version ready to answer.

    Args:
        version: The version.
        engine: Its engine, with storage.
        types: The Arrow type of each output.
        args: What `predict` is told: `using`, `target`.
        size: Bytes of its artifacts, for the cache.

    Attributes:
        capabilities: What the executor may rely on.
        abandoned: Whether a stopped statement left a call behind in it.
        calls: How often it was asked.
        since: When it was loaded.
        observe: Is told of each call; see `Settings`.
    """

    def __init__(
        self,
        version: Version,
        engine: Engine,
        types: Mapping[str, pa.DataType],
        args: dict[str, Any],
        size: int,
    ) -> None:
        self.version = version
        self.engine = engine
        self._size = size
        self._closing = weakref.finalize(self, _close, engine)
        self._types = types
        self._args = args
        self.abandoned = False
        self.calls = 0
        self.since = datetime.now()
        self._loaded = False
        self.observe: Callable[[str, int, float], None] | None = None
        self._lock = threading.Lock()
        self.capabilities = engine.model_capabilities()
        allowed = 1 if not self.capabilities.thread_safe else self.capabilities.max_concurrency
        self._turns = threading.BoundedSemaphore(allowed) if allowed else None
        self._predictors: dict[str, Predictor | None] = {}
        alias = version.settings.get("alias")
        # PREDICT y AS z: the engine says y, y_explain; the query says z, z_explain.
        self._engine_names = {
            item.name: (
                version.target + item.name[len(alias) :]
                if alias and (item.name == alias or item.name.startswith(alias + "_"))
                else item.name
            )
            for item in version.answers
        }
        self._engine_types = {self._engine_names[output]: kind for output, kind in types.items()}

    def close(self) -> None:
        """Have the engine let go of what it holds; done by itself when nobody has the model any more."""
        self._closing()

    def memory(self) -> int:
        """Bytes that it takes: what its engine says, else the size of its artifacts."""
        if has_life(self.engine):
            with suppress(Exception):  # it is an engine's code
                return self.engine.memory() or self._size
        return self._size

    def rows(self) -> Iterator[dict[str, Any]]:
        """Its rows in `information_schema.loaded_models`: one for each process that it is loaded in."""
        version = self.version
        what = {"name": version.model, "project": version.project, "version": version.number, "engine": version.engine}
        processes: Sequence[tuple[int, int]] = getattr(self.engine, "processes", tuple)()
        where = [("worker process", *one) for one in processes] or [("this process", os.getpid(), self.memory())]
        for runs_in, pid, memory in where:
            at = {"runs_in": runs_in, "pid": pid, "memory": memory}
            yield {**what, **at, "calls": self.calls, "since": self.since}

    def arrow_type(self, output: str) -> pa.DataType:
        """The Arrow type of an output."""
        return self._types[output]

    @contextmanager
    def turn(self, stopped: Callable[[], bool]) -> Iterator[None]:
        """Inside, no more threads ask the model than its engine allows, of whatever session. Raises Cancelled."""
        while self._turns is not None and not self._turns.acquire(timeout=0.05):
            if stopped():
                raise Cancelled
        try:
            yield
        finally:
            if self._turns is not None:
                self._turns.release()

    def prepare(self) -> None:
        """Let the engine load what it needs to answer. Raises EngineError."""
        with engine_boundary(self.version.engine, self.version.model):
            self._predictor({})

    def translation(self) -> Translation | str | None:
        """The model as SQL, outputs named as the query names them, or why it has no such form. Raises EngineError."""
        with engine_boundary(self.version.engine, self.version.model):
            found = self.engine.translation(self._args)
        if not isinstance(found, Translation):
            return found
        return replace(
            found,
            outputs={
                output: found.outputs[name]
                for output, name in self._engine_names.items()
                if name in found.outputs
            },
        )

    def answer(
        self, batch: pa.RecordBatch, outputs: Sequence[str], params: Mapping[str, Any]
    ) -> list[pa.Array]:
        """Answer n rows.

        Args:
            batch: The inputs, named and ordered as in the version's schema.
            outputs: The outputs wanted.
            params: The options of the query's USING.

        Returns:
            One array of n values for each of `outputs`.

        Raises:
            EngineError: The engine failed, or broke its contract.
            DataError: A value does not fit the input.
        """
        batch = self._conform(batch)
        names = [self._engine_names[output] for output in outputs]
        begin = time.perf_counter()
        with engine_boundary(self.version.engine, self.version.model):
            args = {**self._args, "predict_params": dict(params)}
            wanted = {name: self._engine_types[name] for name in names}
            answer = call_predict(self.engine, self._predictor(params), batch, wanted, args)
        self.calls += 1
        if self.observe is not None:
            name = f"{self.version.project}.{self.version.model}"
            self.observe(name, batch.num_rows, time.perf_counter() - begin)
        return [answer[name] for name in names]

    def _predictor(self, params: Mapping[str, Any]) -> Predictor | None:
        key = repr(sorted(params.items()))
        with self._lock:
            if key not in self._predictors:
                if len(self._predictors) > 8:
                    self._predictors.clear()
                args = {**self._args, "predict_params": dict(params), "types": self._engine_types}
                if not self._loaded and has_life(self.engine):
                    self.engine.load(args)
                self._loaded = True
                self._predictors[key] = self.engine.predictor(args)
            return self._predictors[key]

    def _conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Bring each input to the type family it was trained with."""
        import pyarrow as pa

        arrays = []
        changed = False
        for item, array in zip(self.version.inputs, batch.columns, strict=True):
            if array.null_count and not self.capabilities.accepts_missing:
                raise DataError(
                    f'the input "{item.name}" of the model "{self.version.model}" is NULL in a row, '
                    f'and the engine "{self.version.engine}" takes no NULL',
                    hint=f"WHERE {item.name} IS NOT NULL, or give it a value: coalesce({item.name}, …)",
                )
            if self.capabilities.casts:
                arrays.append(array)
                continue
            given = arrow_family(array.type)
            untyped = (
                given is None and item.family in _FAMILY_TYPES
            )  # all NULL: the engine still gets its type
            spelt = item.family == "binary" and given == "text"  # base64, a URL, a path: the engine reads it
            if untyped or (given not in (None, item.family) and item.family != "other" and not spelt):
                array = self._cast(array, item)
                changed = True
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=self.version.inputs.names) if changed else batch

    def _cast(self, array: pa.Array, item: Column) -> pa.Array:
        import pyarrow as pa

        name = _FAMILY_TYPES.get(item.family)
        target = pa.type_for_alias(name) if name is not None else None
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()

        def cast(values: pa.Array) -> pa.Array:
            if target is None:
                raise pa.ArrowInvalid(f"no cast from {values.type}")
            if item.family == "time" and arrow_family(values.type) == "text":
                return moments(values, item.type)
            return values.cast(target)

        try:
            return cast(array)
        except pa.ArrowException as error:
            where = "" if target is None else _unfit_row(array, cast)
            raise DataError(
                f'a value does not fit the input "{item.name}" {item.type} of the model '
                f'"{self.version.model}"{where}: {error}',
                hint=f"ON {self.version.model}.{item.name} = TRY_CAST(… AS {item.type})",
            ) from error


def _unfit_row(array: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> str:
    """` in row 3` of the statement, for the first value that cannot be cast."""
    import pyarrow as pa

    for row in range(len(array)):
        try:
            cast(array.slice(row, 1))
        except pa.ArrowException:
            return f" in row {row_number(row)}"
    return ""


def arrow_family(type_: pa.DataType) -> str | None:
    """The type family of an Arrow type; None for the type of NULL."""
    import pyarrow as pa

    check = pa.types
    if check.is_null(type_):
        return None
    if check.is_dictionary(type_):
        return arrow_family(type_.value_type)
    if check.is_nested(type_):
        return "nested"
    if check.is_boolean(type_):
        return "boolean"
    if check.is_integer(type_) or check.is_floating(type_) or check.is_decimal(type_):
        return "number"
    if check.is_string(type_) or check.is_large_string(type_) or "string" in str(type_):
        return "text"
    if check.is_temporal(type_):
        return "time"
    if check.is_binary(type_) or check.is_large_binary(type_):
        return "binary"
    return "other"


class ModelCache:
    """Loaded models, the least used dropped when they take more than `limit` bytes together.

    What is dropped is closed as soon as no statement uses it any more.
    """

    def __init__(self, limit: int | None = None) -> None:
        """
        Args:
            limit: In bytes; a quarter of the machine's memory when not given.
        """
        self._limit = limit if limit is not None else max(1 << 30, _machine_memory() // 4)
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, threading.Event] = {}
        self._lock = threading.RLock()

    def get(self, key: str, load: Callable[[], LoadedModel], check: Callable[[], None]) -> LoadedModel:
        """A loaded model; where there is none, one thread loads it and others wait.

        Args:
            key: Which.
            load: Loads it.
            check: Is called while waiting, and raises to end the wait.
        """
        while True:
            with self._lock:
                model = self._models.get(key)
                if model is not None and not model.abandoned:
                    self._models.move_to_end(key)
                    return model
                # A call that was left behind is still inside: the next statement must not wait for it.
                self._models.pop(key, None)
                loading = self._loading.get(key)
                if loading is None:
                    mine = self._loading[key] = threading.Event()
                    break
            while not loading.wait(0.05):
                check()
        try:
            model = load()
            self._put(key, model)
            return model
        finally:
            with self._lock:
                del self._loading[key]
            mine.set()

    def _put(self, key: str, model: LoadedModel) -> None:
        with self._lock:
            self._models[key] = model
            while len(self._models) > 1 and sum(m.memory() for m in self._models.values()) > self._limit:
                self._models.popitem(last=False)

    def forget(self, keys: Iterable[str]) -> None:
        """Let go of models that are no more."""
        with self._lock:
            for key in keys:
                self._models.pop(key, None)

    def clear(self) -> None:
        """Close all, now."""
        with self._lock:
            models = list(self._models.values())
            self._models.clear()
        for model in models:
            model.close()

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `information_schema.loaded_models`."""
        with self._lock:
            return [row for model in self._models.values() for row in model.rows()]


def _machine_memory() -> int:
    """Bytes of memory of this machine; 0 when the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _close(engine: Engine) -> None:
    if has_life(engine):
        with suppress(Exception):  # it is an engine's code
            engine.close()
    engine.model_storage.close()


@contextmanager
def engine_boundary(engine: str, model: str) -> Iterator[None]:
    """Code of an engine runs inside: what it raises leaves as EngineError, with its innermost frame."""
    try:
        yield
    except Cancelled:
        raise
    except (EngineContractError, EngineProcessError) as error:
        raise type(error)(f"[{engine}/{model}] {error.message}", hint=error.hint) from error
    except MindSQLError:
        raise
    except ImportError as error:
        raise EngineMissingError(
            f"[{engine}/{model}] needs a library that is not installed: {error}",
            hint=f"pip install {error.name}" if error.name else None,
        ) from error
    except BaseException as error:  # the border: an engine may raise anything, SystemExit too
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # the user's own
        raise EngineError(
            f"[{engine}/{model}] {type(error).__name__}: {redact_secrets(spoken(error))}",
            hint=f"raised at {innermost(error)}",
        ) from error


_ANSWER_TYPES = {"f": "DOUBLE", "i": "BIGINT", "u": "UBIGINT", "b": "BOOLEAN", "M": "TIMESTAMP"}
"""What a dtype's kind is as a type of DuckDB's; others are texts."""


def trial_outputs(
    engine: Engine, name: str, target: Column | None, frame: Any, args: dict[str, Any]
) -> Schema:
    """The outputs of an engine that does not declare them, told from a trial prediction on a few rows.

    Args:
        engine: The engine, trained.
        name: The column that the model predicts.
        target: That column of the training rows; None when they have none of that name.
        frame: The rows to try.
        args: What `predict` is told.

    Raises:
        EngineContractError: Its answer breaks the contract.
        Exception: Whatever the engine raises.
    """
    answer = engine.predict(frame, args)
    if not hasattr(answer, "columns"):
        raise EngineContractError(f"predict returned {type(answer).__name__}, not a DataFrame")
    columns = [str(column) for column in answer.columns]
    if name not in columns:
        raise EngineContractError(
            f'predict returned no column "{name}"',
            hint=f"it returned: {', '.join(columns)}",
        )
    if len(answer) != len(frame):
        raise EngineContractError(
            f"predict was given {len(frame)} rows and returned {len(answer)}",
            hint="an engine answers every row, in order; use NULL for what it cannot answer",
        )
    kind = getattr(getattr(answer[name], "dtype", None), "kind", "")
    if target is None:
        target = Column(name, _ANSWER_TYPES.get(kind, "VARCHAR"))
    elif target.family == "number" and (kind == "f" or target.type.startswith("DECIMAL")):
        # Trained on whole numbers or DECIMALs, it answers floats: they need not fit the type of the rows.
        target = Column(name, "DOUBLE")
    outputs = [target]
    for suffix, type_name in (("_confidence", "DOUBLE"), ("_explain", "JSON"), ("_error", "VARCHAR")):
        if name + suffix in columns:
            outputs.append(Column(name + suffix, type_name))
    return Schema(outputs)
