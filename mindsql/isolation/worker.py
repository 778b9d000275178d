"""Owns what runs in a worker process: one engine, asked by its parent over a socket.

It is started as a file, by whatever Python the engine's environment has: `worker.py SOCKET LIFELINE FOLDER`. The engine
contract comes from the parent's own `mindsql` package, so that both always are of one version.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any


class PackageFinder:
    """Imports single packages from where they lie, without all else that lies there."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        """
        Args:
            packages: Top-level package → the folder that holds it.
        """
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        folder = self._packages.get(name) if path is None else None
        return importlib.machinery.PathFinder.find_spec(name, [folder]) if folder is not None else None


def guard(lifeline: int, folder: str) -> None:
    """Leave a process behind that ends this one, and all that it starts, when the parent is done with it or dies.

    No thread could do this: code that never gives the interpreter back would hold it up.

    Args:
        lifeline: A pipe, whose other end the parent holds.
        folder: What is removed then: the worker's temporary files.
    """
    worker = os.getpid()
    if os.fork():
        os.close(lifeline)
        return
    os.setsid()  # not to be among those that it ends
    for stream in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, lifeline)
    os.closerange(lifeline + 1, lifeline + 64)
    os.read(lifeline, 1)
    with contextlib.suppress(OSError):
        os.killpg(worker, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def limit_memory(size: int) -> None:
    """No more than so many bytes of data: beyond it Python raises MemoryError. Files that are mapped do not count."""
    import resource

    if sys.platform.startswith("linux"):
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


class EngineServer:
    """One engine object and the calls that arrive for it."""

    def __init__(self, connection: Connection, cls: type[Any]) -> None:
        self._connection = connection
        self._cls = cls
        self._engine: Any = None
        self._predictors: dict[str, Any] = {}
        self._types: dict[str, Any] = {}

    def tell(self, **head: Any) -> None:
        """Say something in the middle of a call."""
        from mindsql.isolation import channel

        channel.send(self._connection, head)

    def ask(self, **head: Any) -> Any:
        """Ask the parent something in the middle of a call."""
        from mindsql.isolation import channel

        channel.send(self._connection, head)
        return channel.receive(self._connection).head["answer"]

    # The calls: from the head and the bodies of a message to those of its answer. -------------------------------------

    def validate(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """`create_validation`, of a class that the parent cannot import."""
        storage = self._engine_storage(head, bodies)
        self._cls.create_validation(head["target"], args=head["args"], handler_storage=storage)
        return {}, []

    def open(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """A new engine object with the files of its model, of its engine and of the model that it continues."""
        from mindsql.storage import Storage

        self.close(head, bodies)

        def progress(current: float, total: float, phase: str) -> None:
            self.tell(training=[current, total, phase])

        storage = Storage(info=head["info"], progress=progress)
        storage.files.update(zip(head["files"], bodies, strict=False))
        keywords: dict[str, Any] = {"model_storage": storage, "engine_storage": self._engine_storage(head, bodies)}
        if head["base_info"] is not None:
            base = Storage(info=head["base_info"])
            start = len(head["files"]) + len(head["engine_files"])
            base.files.update(zip(head["base_files"], bodies[start:], strict=False))
            keywords["base_model_storage"] = base
        self._engine = self._cls(**keywords)
        return {}, []

    def _engine_storage(self, head: dict[str, Any], bodies: list[Any]) -> Any:
        from mindsql.storage import EngineStorage

        storage = EngineStorage(head["connection_args"])
        storage.files.update(zip(head["engine_files"], bodies[len(head.get("files", ())) :], strict=False))
        return storage

    def train(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """`create` or `update`, and what the engine says of the model afterwards."""
        from mindsql.engine_call import call_create

        engine = self._engine
        rows = self._rows(bodies[0]) if bodies else None
        if head["method"] == "create":
            call_create(engine, head["target"], rows, head["args"])
        else:
            engine.update(rows, head["args"])
        files = engine.model_storage.files
        return {
            "files": list(files),
            "summary": engine.summary(),
            "columns": engine.model_storage.columns_get(),
        }, list(files.values())

    def _rows(self, body: Any) -> Any:
        from mindsql.frames import TrainingRows, plain_text, to_pandas
        from mindsql.isolation import channel

        table = channel.table_from_bytes(body)
        return TrainingRows(table) if self._cls.capabilities.takes_arrow else to_pandas(plain_text(table))

    def create_engine(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """`create_engine`, and what it kept."""
        self._engine.create_engine(head["arguments"])
        storage = self._engine.engine_storage
        return {
            "files": list(storage.files),
            "connection_args": storage.get_connection_args(),
        }, list(storage.files.values())

    def ask_engine(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """A method of the engine that gives records: `translation`, `model_capabilities`, `memory`."""
        found = getattr(self._engine, head["method"])(*head["arguments"])
        return {"answer": found}, []

    def load(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Read what predicting needs; the body has the types of the answers."""
        from mindsql.isolation import channel

        schema = channel.table_from_bytes(bodies[0]).schema
        self._types = dict(zip(schema.names, schema.types, strict=True))
        memory = None
        if self._has_life:
            self._engine.load({**head["args"], "types": self._types})
            memory = self._engine.memory()
        self._predictor(head["args"])
        return {"memory": memory}, []

    @property
    def _has_life(self) -> bool:
        from mindsql.engine_call import has_life

        return has_life(self._engine)

    def _predictor(self, args: dict[str, Any]) -> Any:
        key = repr(args["predict_params"])
        if key not in self._predictors:
            self._predictors[key] = self._engine.predictor({**args, "types": self._types})
        return self._predictors[key]

    def predict(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Answer a batch: columns in Arrow."""
        from mindsql.engine_call import call_predict
        from mindsql.isolation import channel

        batch = channel.batch_from_bytes(bodies[0])
        wanted = {name: self._types[name] for name in head["columns"]}
        answers = call_predict(self._engine, self._predictor(head["args"]), batch, wanted, head["args"])
        return {}, [channel.columns_to_bytes(answers)]

    def predict_frame(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Answer a data frame with one."""
        from mindsql.engine import ROW_ID, BaseMLEngine
        from mindsql.isolation import channel

        frame = channel.frame_from_bytes(bodies[0])
        if isinstance(self._engine, BaseMLEngine) and ROW_ID not in frame:
            frame[ROW_ID] = range(len(frame))
        return {}, [channel.frame_to_bytes(self._engine.predict(frame, head["args"]))]

    def describe(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """`describe`: a data frame."""
        from mindsql.isolation import channel

        return {}, [channel.frame_to_bytes(self._engine.describe(head["key"]))]

    def close(self, head: dict[str, Any], bodies: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Let go of the engine object, and be ready for another one."""
        if self._engine is not None:
            if self._has_life:
                self._engine.close()
            self._engine.model_storage.close()
        self._engine = None
        self._predictors.clear()
        return {}, []

    # ------------------------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer one call after the other, until the parent is gone."""
        from mindsql.engine import Context, Network, numbering, working_for
        from mindsql.isolation import channel

        while True:
            try:
                message = channel.receive(self._connection)
            except (EOFError, OSError):
                return
            head = message.head
            hosts = head.pop("allowed_hosts", None)
            statement = Context(
                Network(None if hosts is None else tuple(hosts), head.pop("private_hosts", True)),
                tell=lambda done, text: self.tell(done=done, text=text),
            )
            bodies: list[Any] = []
            try:
                with working_for(statement), numbering(lambda row: int(self.ask(row=row))):
                    answer, bodies = getattr(self, head.pop("call"))(head, message.bodies)
            except BaseException as error:  # an engine may raise anything, SystemExit too
                answer, bodies = channel.error_to_head(error), []
            channel.send(self._connection, {**answer, "counts": statement.counts}, bodies)


def main() -> None:
    """Start: what the parent says first is where the engine is, and what it may take."""
    connection, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    guard(lifeline, sys.argv[3])
    import json

    start = json.loads(connection.recv_bytes())
    if start["memory_limit"]:
        limit_memory(start["memory_limit"])
    sys.path.extend(path for path in start["path"] if path not in sys.path)
    sys.meta_path.insert(0, PackageFinder(start["packages"]))
    from mindsql.isolation import channel

    try:
        if start["folder"]:
            from mindsql.isolation.folder import find_class

            found: Any = find_class(start["module"], start["folder"])
        else:
            found = importlib.import_module(start["module"])
            for name in start["class"].split("."):
                found = getattr(found, name)
    except BaseException as error:  # a library may raise anything when it is imported
        channel.send(connection, channel.error_to_head(error))
        return
    channel.send(connection, {"ready": True})
    EngineServer(connection, found).serve()


if __name__ == "__main__":
    # As a module of its name it is the same for everybody; what was started as a file is `__main__`.
    main()
