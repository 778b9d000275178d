"""Owns the engine class that stands for one in a worker process: its methods have the worker do them.

The executor does not know the difference. What a class says of itself is read from the class where it can be imported
here, and asked of a worker once where it cannot.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import (
    Args,
    Capabilities,
    Engine,
    EngineStorage,
    Estimator,
    Option,
    Predictor,
    Storage,
    Summary,
    Translation,
)
from mindsql.errors import Cancelled, EngineError
from mindsql.frames import TrainingRows
from mindsql.isolation import channel
from mindsql.isolation.channel import Message
from mindsql.isolation.folder import module_of
from mindsql.isolation.process import Worker, WorkerPool, WorkerSpec

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def isolated(
    cls: type[Engine],
    python: str | None = None,
    memory_limit: int = 0,
    idle_timeout: float = 900.0,
    workers: int = 1,
    path: str | None = None,
) -> type[IsolatedEngine]:
    """The class that stands for an engine in worker processes.

    Args:
        cls: The engine.
        python: The interpreter of an environment of its own; None: this one, with all that can be imported here.
        memory_limit: Bytes of data that a worker may take, 0 for any.
        idle_timeout: Seconds without a call after which a worker is ended.
        workers: How many workers may answer for one model at once.
        path: Where the engine's code is, of a `FolderEngine`.

    Raises:
        EngineError: The class cannot be imported by another process.
        StatementError: There is no engine at the path.
    """
    module, name, folder = cls.__module__, cls.__qualname__, ""
    packages = _packages("mindsql")
    if path is not None:
        module, folder = module_of(path)
        packages[module] = folder
    else:
        spec = getattr(sys.modules.get(module), "__spec__", None)
        if module == "__main__" or spec is None or "<locals>" in name:
            raise EngineError(
                f"the class {name} cannot be imported by another process",
                hint="put it at the top of a module of its own, in a file",
            )
        packages |= _packages(module.partition(".")[0])
    pool = WorkerPool(
        WorkerSpec(
            module=module,
            name=name,
            packages=packages,
            python=python or sys.executable,
            path=() if python else tuple(entry for entry in sys.path if entry),
            memory_limit=memory_limit,
            idle_timeout=idle_timeout,
            folder=folder,
            variables=cls.environment.variables if cls.environment is not None else (),
        )
    )
    several = max(1, workers)
    kept = ("__doc__", "title", "description", "options", "engine_options", "predict_options", "urls", "requires")
    own: dict[str, Any] = {name: getattr(cls, name) for name in (*kept, "environment", "for_owners")}
    if path is None:
        # What the engine leaves to its base class is left to it here, too: callers look which methods there are.
        optional = ("create_engine", "describe", "update", "translation")
        own |= {name: getattr(Engine, name) for name in optional if getattr(cls, name) is getattr(Engine, name)}
        own["create_validation"] = staticmethod(cls.create_validation)
    else:
        own["create_validation"] = staticmethod(_validation(pool))
    own |= {"capabilities": _proxied(cls.capabilities, several), "real": cls, "pool": pool, "workers": several}
    return type(cls.__name__, (IsolatedEngine,), own)


def _validation(pool: WorkerPool) -> Callable[..., None]:
    """`create_validation` of a class that only a worker can import."""

    def validate(target: str, args: Args | None = None, **kwargs: Any) -> None:
        storage: EngineStorage = kwargs.get("handler_storage") or EngineStorage()
        names = storage.file_list()
        head = {"target": target, "args": args, "engine_files": names}
        worker = pool.take()
        try:
            head["connection_args"] = storage.get_connection_args()
            worker.call("validate", head, [storage.file_get(name) for name in names])
        finally:
            pool.give_back(worker)

    return validate


def _packages(*names: str) -> dict[str, str]:
    """Where top-level packages lie: the folder to import each from."""
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            place = Path(spec.origin).parent
            found[name] = str(place.parent if spec.submodule_search_locations else place)
    return found


def _proxied(of: Capabilities, workers: int) -> Capabilities:
    """The capabilities of an engine, as its proxy has them."""
    most = workers if of.max_concurrency is None else min(workers, of.max_concurrency)
    return replace(of, takes_arrow=True, thread_safe=workers > 1, max_concurrency=most)


class IsolatedEngine(Engine):
    """An engine object in worker processes: one for training, and up to `workers` for predicting."""

    real: ClassVar[type[Engine]]
    pool: ClassVar[WorkerPool]
    workers: ClassVar[int]

    def __init__(
        self,
        model_storage: Storage | None = None,
        engine_storage: EngineStorage | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model_storage, engine_storage, **kwargs)
        self._lock = threading.RLock()
        self._free: list[Worker] = []  # with the model in them, waiting for a call
        self._busy: list[Worker] = []
        weakref.finalize(self, _release, self.pool, self._free).atexit = False
        self._load_args: Args | None = None
        self._summary: Summary | None = None
        self._memory: int | None = None

    # The class --------------------------------------------------------------------------------------------------------

    @classmethod
    def estimators(cls) -> Sequence[Estimator]:
        """See `Engine.estimators`."""
        return cls.real.estimators()

    @classmethod
    def options_for(cls, using: Mapping[str, Any]) -> Sequence[Option]:
        """See `Engine.options_for`."""
        return cls.real.options_for(using)

    @classmethod
    def needs_target(cls, using: Mapping[str, Any]) -> bool:
        """See `Engine.needs_target`."""
        return cls.real.needs_target(using)

    # Workers ----------------------------------------------------------------------------------------------------------

    def _open(self, worker: Worker) -> None:
        """Make the engine object in a worker, with all its files."""
        base = self.base_model_storage
        stores: list[Storage | None] = [self.model_storage, self.engine_storage, base]
        names, bodies = [], []
        for store in stores:
            listed = store.file_list() if store is not None else []
            names.append(listed)
            bodies += [store.file_get(name) for name in listed if store is not None]
        worker.call(
            "open",
            {
                "info": self.model_storage.get_info(),
                "files": names[0],
                "engine_files": names[1],
                "connection_args": self.engine_storage.get_connection_args(),
                "base_files": names[2],
                "base_info": base.get_info() if base is not None else None,
            },
            bodies,
        )
        if self._load_args is not None:
            self._load(worker)

    def _load(self, worker: Worker) -> None:
        import pyarrow as pa

        args = dict(self._load_args or {})
        schema = pa.schema(list(args.pop("types", {}).items()))
        answer = worker.call("load", {"args": args}, [channel.rows_to_bytes(schema.empty_table())])
        self._memory = answer.head["memory"]

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker with this engine object in it, for one call."""
        with self._lock:
            worker = self._free.pop() if self._free else None
        if worker is None or not worker.alive:
            worker = self.pool.take()
            try:
                self._open(worker)
            except BaseException:
                worker.end()
                raise
            self.pool.watch(self)
        with self._lock:
            self._busy.append(worker)
        try:
            yield worker
        finally:
            with self._lock:
                self._busy.remove(worker)
                if worker.alive:
                    self._free.append(worker)

    def _call(self, name: str, head: Mapping[str, Any], bodies: Sequence[Any] = ()) -> Message:
        with self._worker() as worker:
            return worker.call(name, head, bodies, self._tell)

    def _tell(self, current: float, total: float, phase: str) -> None:
        self.model_storage.training_state_set(current, total, phase)

    def end_idle(self, seconds: float) -> bool:
        """End the workers that were not asked for so long; whether there are others."""
        with self._lock:
            old = [worker for worker in self._free if time.monotonic() - worker.used > seconds]
            self._free[:] = [worker for worker in self._free if worker not in old]
            left = bool(self._free or self._busy)
        for worker in old:
            worker.end()
        return left

    def processes(self) -> list[tuple[int, int]]:
        """The process id and the bytes of memory of each worker that has the model in it."""
        with self._lock:
            workers = [*self._free, *self._busy]
        return [(worker.pid, worker.memory()) for worker in workers if worker.alive]

    # The five methods -------------------------------------------------------------------------------------------------

    def create(self, target: str, df: Any = None, args: Args | None = None) -> None:
        """See `Engine.create`."""
        self._train("create", target, df, args)

    def update(self, df: Any = None, args: Args | None = None) -> None:
        """See `Engine.update`."""
        self._train("update", "", df, args)

    def _train(self, method: str, target: str, rows: Any, args: Args | None) -> None:
        head = {"method": method, "target": target, "args": args or {}}
        answer = self._call("train", head, [] if rows is None else [_rows_to_bytes(rows)])
        for name, content in zip(answer.head["files"], answer.bodies, strict=True):
            self.model_storage.file_set(name, content)
        self._summary = answer.head["summary"]

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`."""
        answer = self._call("predict_frame", {"args": args or {}}, [channel.frame_to_bytes(df)])
        frame: pd.DataFrame = channel.frame_from_bytes(answer.bodies[0])
        return frame

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`."""
        frame: pd.DataFrame = channel.frame_from_bytes(self._call("describe", {"key": key}).bodies[0])
        return frame

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        """See `Engine.create_engine`."""
        answer = self._call("create_engine", {"arguments": connection_args})
        for name, content in zip(answer.head["files"], answer.bodies, strict=True):
            self.engine_storage.file_set(name, content)
        self.engine_storage.update_connection_args(answer.head["connection_args"])
        self.close()

    # Beyond the five --------------------------------------------------------------------------------------------------

    def summary(self) -> Summary | None:
        """See `Engine.summary`."""
        return self._summary

    def translation(self, args: Args | None = None) -> Translation | str | None:
        """See `Engine.translation`."""
        found: Translation | str | None = self._call(
            "ask_engine", {"method": "translation", "arguments": [args]}
        ).head["answer"]
        return found

    def model_capabilities(self) -> Capabilities:
        """See `Engine.model_capabilities`."""
        if type(self).real.model_capabilities is Engine.model_capabilities:
            return self.capabilities
        found = self._call("ask_engine", {"method": "model_capabilities", "arguments": []}).head["answer"]
        return _proxied(found, self.workers)

    def load(self, args: Args | None = None) -> None:
        """See `Engine.load`."""
        self._load_args = {"predict_params": {}, **(args or {})}
        with self._worker() as worker:
            self._load(worker)

    def memory(self) -> int | None:
        """What the engine says, else what its processes take."""
        return self._memory or sum(memory for _, memory in self.processes())

    def predictor(self, args: Args | None = None) -> Predictor | None:
        """See `Engine.predictor`."""
        return _IsolatedPredictor(self._call, {key: value for key, value in (args or {}).items() if key != "types"})

    def close(self) -> None:
        """The workers wait for another model."""
        with self._lock:
            free = list(self._free)
            self._free.clear()
        _release(self.pool, free)


def _release(pool: WorkerPool, workers: list[Worker]) -> None:
    """Have workers let go of their model, to wait for another one."""
    for worker in workers:
        try:
            worker.call("close", {})
            pool.give_back(worker)
        except (EngineError, Cancelled):
            worker.end()


class _IsolatedPredictor:
    def __init__(self, call: Callable[[str, Mapping[str, Any], Sequence[Any]], Message], args: Args) -> None:
        self._call = call
        self._args = {"predict_params": {}, **args}

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> Mapping[str, pa.Array]:
        """See `Predictor.predict`."""
        head = {"args": self._args, "columns": list(columns)}
        answer = channel.batch_from_bytes(self._call("predict", head, [channel.rows_to_bytes(batch)]).bodies[0])
        return dict(zip(answer.schema.names, answer.columns, strict=True))


def _rows_to_bytes(rows: Any) -> Any:
    """Training rows, as `TrainingRows` or as a data frame."""
    if not isinstance(rows, TrainingRows):
        return channel.frame_to_bytes(rows)
    import pyarrow as pa

    return channel.rows_to_bytes(pa.table({name: rows.take(name) for name in rows.names}))
