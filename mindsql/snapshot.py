"""Owns the immutable picture of the catalog that the stages read: projects, engines, models, views, sources."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from mindsql.errors import CatalogError, UnknownNameError
from mindsql.schema import Schema

DEFAULT_PROJECT = "mindsql"
PROJECT_ALIASES = {"mindsdb": DEFAULT_PROJECT}


@dataclass(frozen=True)
class EngineEntry:
    """An engine: a handler with stored options."""

    name: str
    handler: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One trained artifact of a model, never changed once it is complete.

    Attributes:
        status: `untrained` (noted for the next RETRAIN), `generating` (its rows are still to be read), `training`,
            `complete` or `error`.
        query: The text of the training query, with its `FROM`; None when there was none.
        options: The options as given: JSON values, secrets encrypted or by reference.
        settings: What is no option: `alias`, `anomaly`, `order_by`, `group_by`, `window`, `horizon`.
        summary: `inputs`, `outputs`, `task`, `classes`, `rows`, `metrics` … as JSON (see `engine.Summary`).
        owner: The process that trains it, to tell an interrupted training at the next open.
    """

    id: str
    project: str
    model: str
    number: int
    status: str
    engine: str
    handler: str
    target: str
    query: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tag: str | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    created_at: datetime | None = None
    seconds: float | None = None
    owner: str | None = None

    @cached_property
    def inputs(self) -> Schema:
        """The columns it needs."""
        return Schema.of(map(tuple, self.summary.get("inputs", ())))

    @cached_property
    def outputs(self) -> Schema:
        """The columns it answers, the target first."""
        return Schema.of(map(tuple, self.summary.get("outputs", ())))

    @cached_property
    def extra(self) -> Schema:
        """Further columns it answers, which `*` does not give."""
        return Schema.of(map(tuple, self.summary.get("extra", ())))

    @cached_property
    def answers(self) -> Schema:
        """All columns it answers: the outputs, then the extra ones."""
        return Schema((*self.outputs, *self.extra))

    @property
    def task(self) -> str:
        """What kind of answer it gives; of an engine that does not say, by the type of its answers."""
        task: str = self.summary.get("task") or "other"
        if task == "other" and self.outputs:
            kinds = {"number": "regression", "text": "classification", "boolean": "classification"}
            task = kinds.get(self.outputs[0].family, task)
        return task


@dataclass(frozen=True)
class Model:
    """A name for versions, one of which is active."""

    project: str
    name: str
    active: int | None
    versions: tuple[Version, ...]

    def version(self, number: int | None = None) -> Version:
        """The version of that number, or the active one.

        Raises:
            UnknownNameError: No such version.
            CatalogError: No version is complete, or that one is not.
        """
        if number is None and self.active is None:
            last = self.versions[-1] if self.versions else None
            if last is not None and last.status == "error":
                raise CatalogError(
                    f'the model "{self.name}" could not be trained: {last.error}',
                    hint=f"mend what it says, then RETRAIN {self.name} or CREATE OR REPLACE MODEL {self.name}",
                )
            if last is not None and last.status == "untrained":
                raise CatalogError(f'the model "{self.name}" is not trained yet', hint=f"RETRAIN {self.name}")
            status = last.status if last else "missing"
            raise CatalogError(f'the model "{self.name}" is not ready yet: its status is {status}')
        wanted = self.active if number is None else number
        for version in self.versions:
            if version.number == wanted:
                if version.status != "complete":
                    raise CatalogError(
                        f'version {wanted} of the model "{self.name}" has the status {version.status}'
                        + (f": {version.error}" if version.error else ""),
                        hint=f"SELECT * FROM {self.project}.models WHERE name = '{self.name}'",
                    )
                return version
        raise UnknownNameError(
            f'the model "{self.name}" has no version {wanted}',
            hint="there are: " + ", ".join(str(version.number) for version in self.versions),
        )

    def untrained(self) -> Version | None:
        """The version that is noted for the next RETRAIN, if there is one."""
        return next((version for version in self.versions if version.status == "untrained"), None)

    def next_number(self) -> int:
        """The number that a new version gets."""
        return max((version.number for version in self.versions), default=0) + 1


@dataclass(frozen=True)
class View:
    """A stored query that names a model or a source."""

    project: str
    name: str
    query: str


@dataclass(frozen=True)
class SourceEntry:
    """Where rows come from: the arguments of CREATE DATABASE."""

    name: str
    engine: str
    parameters: Mapping[str, Any]


def _place(model: Model) -> tuple[str, str]:
    """By what models are sorted."""
    return model.project, model.name


@dataclass(frozen=True)
class Snapshot:
    """An immutable picture of the catalog. Names are looked up without case."""

    projects: tuple[str, ...] = (DEFAULT_PROJECT,)
    engines: tuple[EngineEntry, ...] = ()
    models: tuple[Model, ...] = ()  # sorted by project and name
    views: tuple[View, ...] = ()
    sources: tuple[SourceEntry, ...] = ()
    installed: bool = False

    @cached_property
    def tables(self) -> dict[str, Any]:
        """Tables that were made of it, by name: they are as immutable as it is."""
        return {}

    @cached_property
    def _models(self) -> dict[tuple[str, str], Model]:
        return {(m.project.casefold(), m.name.casefold()): m for m in self.models}

    @cached_property
    def _views(self) -> dict[tuple[str, str], View]:
        return {(v.project.casefold(), v.name.casefold()): v for v in self.views}

    def project(self, name: str) -> str | None:
        """The project of that name (or alias), or None."""
        name = PROJECT_ALIASES.get(name.casefold(), name)
        return next((p for p in self.projects if p.casefold() == name.casefold()), None)

    def model(self, project: str, name: str) -> Model | None:
        """The model, or None."""
        return self._models.get((project.casefold(), name.casefold()))

    def view(self, project: str, name: str) -> View | None:
        """The view, or None."""
        return self._views.get((project.casefold(), name.casefold()))

    def engine(self, name: str) -> EngineEntry | None:
        """The engine, or None."""
        return next((e for e in self.engines if e.name.casefold() == name.casefold()), None)

    def source(self, name: str) -> SourceEntry | None:
        """The source, or None."""
        return next((s for s in self.sources if s.name.casefold() == name.casefold()), None)

    def with_models(self, changes: Mapping[tuple[str, str], Model | None]) -> Snapshot:
        """This snapshot with some models as they are now; None for those that are no more."""
        # Of ten thousand models one is changed: the others keep their places, and nothing is folded or sorted anew.
        listed, folded = list(self.models), dict(self._models)
        for (project, name), model in changes.items():
            key = project.casefold(), name.casefold()
            old = folded.pop(key, None)
            if old is not None:
                del listed[bisect_left(listed, _place(old), key=_place)]
            if model is not None:
                folded[key] = model
                insort(listed, model, key=_place)
        after = replace(self, models=tuple(listed))
        vars(after)["_models"] = folded
        return after

    def own_query(self, of: Sequence[str]) -> str | None:
        """The project in which `name (text)` is a query of ours; None when the text is for a source to read."""
        return self.project(of[0]) if self.source(of[0]) is None else None

    def names(self) -> Iterator[str]:
        """Every name that makes a statement ours when it stands in its text."""
        yield from (m.name for m in self.models)
        yield from (v.name for v in self.views)
        yield from (s.name for s in self.sources)
