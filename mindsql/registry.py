"""Owns which handlers there are: engines found by entry point, and engines and sources registered on a connection."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mindsql.engine import Engine
from mindsql.errors import EngineError, EngineMissingError, StatementError, UnknownNameError
from mindsql.source import WHAT_IT_NEEDS, Source, is_source

if TYPE_CHECKING:
    from mindsql.isolation.options import Isolation
    from mindsql.isolation.proxy import IsolatedEngine

GROUP = "mindsql.engines"
"""The entry-point group: `name = "package.module:EngineClass"`."""


@dataclass(frozen=True)
class Handler:
    """A name for an Engine class; the class is imported when it is first asked for."""

    name: str
    entry: importlib.metadata.EntryPoint | None = None
    cls: type[Engine] | None = None

    @property
    def package(self) -> str:
        """The distribution it comes from."""
        if self.entry is not None and self.entry.dist is not None:
            return f"{self.entry.dist.name} {self.entry.dist.version}"
        return "registered"


class Registry:
    """The handlers of one database. Names are compared without case."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._loaded: dict[str, type[Engine]] = {}
        self._isolated: dict[tuple[type[Engine], Isolation], type[IsolatedEngine]] = {}
        self._lock = threading.Lock()
        self.sources: dict[str, type[Source]] = {}
        for entry in importlib.metadata.entry_points(group=GROUP):
            other = self._handlers.get(entry.name.casefold())
            if other is not None and other.entry is not None and other.entry.value != entry.value:
                raise EngineError(
                    f'two packages claim the handler "{entry.name}": {other.entry.value} and {entry.value}',
                    hint="uninstall one of them",
                )
            self._handlers[entry.name.casefold()] = Handler(entry.name, entry)

    def register(self, name: str, cls: type[Engine]) -> None:
        """Add or replace a handler. Raises StatementError when `cls` is no Engine."""
        if not (isinstance(cls, type) and issubclass(cls, Engine)):
            raise StatementError(f"{cls!r} is no engine", hint="subclass mindsql.Engine")
        self._handlers[name.casefold()] = Handler(name, cls=cls)
        self._loaded.pop(name.casefold(), None)

    def register_source(self, name: str, cls: type[Source]) -> None:
        """Add or replace an engine of CREATE DATABASE. Raises StatementError when `cls` is no Source."""
        if not is_source(cls):
            raise StatementError(f"{cls!r} is no source", hint=WHAT_IT_NEEDS)
        self.sources[name.casefold()] = cls

    def names(self) -> list[str]:
        """All names; nothing is imported."""
        return sorted(handler.name for handler in self._handlers.values())

    def __iter__(self) -> Iterator[Handler]:
        return iter(sorted(self._handlers.values(), key=lambda handler: handler.name))

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._handlers

    def load(self, name: str, options: Mapping[str, Any] | None = None) -> type[Engine]:
        """The class of an engine: of its handler, or of what stands for it in processes of its own.

        Args:
            name: The handler.
            options: Those of its CREATE ML_ENGINE, as they are stored.

        Raises:
            AccessError: They name code on this machine that its owner has not allowed.
            UnknownNameError: No handler has that name.
            EngineMissingError: A library or an environment that it needs is not installed.
            EngineError: It cannot run in a process of its own.
        """
        cls = self.handler_class(name)
        if cls.environment is None and not options and not cls.for_owners:
            return cls
        from mindsql.isolation.options import permitted

        return self.load_permitted(name, permitted(name.casefold(), cls, options or {}))

    def load_permitted(self, name: str, options: Mapping[str, Any]) -> type[Engine]:
        """As `load`, with options in the clear that were found permitted already."""
        cls = self.handler_class(name)
        from mindsql.isolation.options import isolation_of

        isolation = isolation_of(cls, options)
        if isolation is None:
            return cls
        with self._lock:
            found = self._isolated.get((cls, isolation))
            if found is None:
                from mindsql.isolation.environments import interpreter
                from mindsql.isolation.proxy import isolated

                found = isolated(
                    cls,
                    interpreter(isolation.environment, name),
                    isolation.memory_limit,
                    isolation.idle_timeout,
                    isolation.workers,
                    isolation.path,
                )
                self._isolated[cls, isolation] = found
            return found

    def close(self) -> None:
        """End the processes of engines."""
        with self._lock:
            for cls in self._isolated.values():
                cls.pool.close()
            self._isolated.clear()

    def handler_class(self, name: str) -> type[Engine]:
        """The class of one handler itself.

        Raises:
            UnknownNameError: No handler has that name.
            EngineMissingError: A library that it needs is not installed.
        """
        handler = self._handlers.get(name.casefold())
        if handler is None:
            raise UnknownNameError.of("handler", name, self.names())
        known = handler.cls or self._loaded.get(name.casefold())
        if known is not None:
            return known
        assert handler.entry is not None
        try:
            cls = handler.entry.load()
        except ImportError as error:
            package = handler.entry.dist.name if handler.entry.dist else "its package"
            raise EngineMissingError(
                f'the handler "{name}" could not be imported: {error}',
                hint=f"pip install {error.name or package}",
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, Engine)):
            raise EngineError(f'the handler "{name}" is no subclass of mindsql.Engine: {handler.entry.value}')
        self._loaded[name.casefold()] = cls
        return cls

    def status(self, name: str) -> str:
        """Whether a handler can be used: `ready`, or what must be done first."""
        cls, error = self.attempt(name)
        if cls is None:
            return error or "missing"
        if cls.environment is None:
            return "ready"
        from mindsql.isolation.environments import find

        return "ready" if find(cls.environment) is not None else f"to be installed: mindsql engine install {name}"

    def attempt(self, name: str) -> tuple[type[Engine] | None, str | None]:
        """The class of one handler, or why it cannot be had."""
        try:
            return self.handler_class(name), None
        except EngineError as error:
            return None, error.message
