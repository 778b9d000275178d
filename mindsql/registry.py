"""Owns which handlers there are: engines found by entry point, and engines and sources registered on a connection."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass

from mindsql.engine import Engine
from mindsql.errors import EngineError, EngineMissingError, StatementError, UnknownNameError
from mindsql.source import WHAT_IT_NEEDS, Source, is_source

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

    def load(self, name: str) -> type[Engine]:
        """The class of one handler.

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

    def attempt(self, name: str) -> tuple[type[Engine] | None, str | None]:
        """The class of one handler, or why it cannot be had."""
        try:
            return self.load(name), None
        except EngineError as error:
            return None, error.message
