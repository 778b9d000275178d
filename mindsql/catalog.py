"""Owns what is kept in the file: projects, engines, models, versions, artifacts, views and sources.

They lie in the schema `mindsql` of the user's own DuckDB file, so that a copy of the file is a backup and a
change of them is part of the user's transaction. The schema is made with the first thing that needs it.
A `Snapshot` is what the binder reads: an immutable picture of everything but the artifacts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from mindsql.database import Database, Raw, literal, quote, rows, run
from mindsql.errors import CatalogError, UnknownNameError
from mindsql.schema import Schema

SCHEMA = "mindsql"
DEFAULT_PROJECT = "mindsql"
PROJECT_ALIASES = {"mindsdb": DEFAULT_PROJECT}

_TABLES = {
    "_projects": "name VARCHAR",
    "_engines": "name VARCHAR, handler VARCHAR, options JSON, created_at TIMESTAMP",
    "_engine_files": "engine VARCHAR, name VARCHAR, content BLOB",
    "_models": "project VARCHAR, name VARCHAR, active INTEGER, created_at TIMESTAMP",
    "_versions": (
        "id VARCHAR, project VARCHAR, model VARCHAR, number INTEGER, status VARCHAR, engine VARCHAR, "
        "handler VARCHAR, target VARCHAR, query VARCHAR, options JSON, settings JSON, tag VARCHAR, summary JSON, "
        "error VARCHAR, libraries JSON, digest VARCHAR, created_at TIMESTAMP, seconds DOUBLE, owner VARCHAR"
    ),
    "_artifacts": "version VARCHAR, name VARCHAR, content BLOB, digest VARCHAR",
    "_answers": "version VARCHAR, key BLOB, answer VARCHAR",
    "_views": "project VARCHAR, name VARCHAR, query VARCHAR, created_at TIMESTAMP",
    "_sources": "name VARCHAR, engine VARCHAR, parameters JSON, created_at TIMESTAMP",
    "_tokens": (
        "id VARCHAR, name VARCHAR, role VARCHAR, digest BLOB, native BLOB, created_at TIMESTAMP, "
        "expires_at TIMESTAMP, requests_per_minute INTEGER, body_bytes BIGINT"
    ),
}


TABLES = frozenset(_TABLES)
"""The catalog's own tables: remote statements never see them."""


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


@dataclass(frozen=True)
class Snapshot:
    """An immutable picture of the catalog. Names are looked up without case."""

    projects: tuple[str, ...] = (DEFAULT_PROJECT,)
    engines: tuple[EngineEntry, ...] = ()
    models: tuple[Model, ...] = ()
    views: tuple[View, ...] = ()
    sources: tuple[SourceEntry, ...] = ()
    installed: bool = False

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

    def names(self) -> Iterator[str]:
        """Every name that makes a statement ours when it stands in its text."""
        yield from (m.name for m in self.models)
        yield from (v.name for v in self.views)
        yield from (s.name for s in self.sources)


class Catalog:
    """Reads and writes the catalog on one connection. It never begins or ends a transaction."""

    def __init__(self, database: Database, raw: Raw) -> None:
        self._database = database
        self._raw = raw
        self._prefix = f"{quote(database.name)}.{quote(SCHEMA)}."

    def table(self, name: str) -> str:
        """The qualified name of one of our tables."""
        return self._prefix + quote(name)

    def installed(self) -> bool:
        """Whether the schema is there."""
        return self.has("_versions")

    def has(self, name: str) -> bool:
        """Whether one of our tables is there."""
        found = rows(
            self._raw,
            "SELECT 1 FROM duckdb_tables() WHERE database_name = "
            f"{literal(self._database.name)} AND schema_name = {literal(SCHEMA)} AND table_name = {literal(name)}",
        )
        return bool(found)

    def make(self, name: str) -> None:
        """Make one of our tables, unless it is there."""
        run(self._raw, f"CREATE TABLE IF NOT EXISTS {self.table(name)} ({_TABLES[name]})")

    def install(self) -> None:
        """Make the schema and its tables, unless they are there."""
        run(self._raw, f"CREATE SCHEMA IF NOT EXISTS {self._prefix[:-1]}")
        for name in _TABLES:
            self.make(name)
        # Two transactions may make a model of one name at once: the second to commit is refused.
        run(
            self._raw,
            f"CREATE UNIQUE INDEX IF NOT EXISTS _models_once ON {self.table('_models')} "
            "(lower(project), lower(name))",
        )
        run(
            self._raw,
            f"INSERT INTO {self.table('_projects')} SELECT {literal(DEFAULT_PROJECT)} "
            f"WHERE NOT EXISTS (FROM {self.table('_projects')})",
        )

    def snapshot(self) -> Snapshot:
        """Read everything but the artifacts."""
        if not self.installed():
            return Snapshot()
        versions: dict[tuple[str, str], list[Version]] = {}
        for row in self._read("_versions", "ORDER BY number"):
            for key in ("options", "settings", "summary", "libraries"):
                row[key] = json.loads(row[key] or "{}")
            version = Version(**row)
            versions.setdefault((version.project, version.model), []).append(version)
        return Snapshot(
            projects=tuple(row["name"] for row in self._read("_projects", "ORDER BY name")),
            engines=tuple(
                EngineEntry(row["name"], row["handler"], json.loads(row["options"]))
                for row in self._read("_engines", "ORDER BY name")
            ),
            models=tuple(
                Model(
                    row["project"],
                    row["name"],
                    row["active"],
                    tuple(versions.get((row["project"], row["name"]), ())),
                )
                for row in self._read("_models", "ORDER BY project, name")
            ),
            views=tuple(
                View(row["project"], row["name"], row["query"])
                for row in self._read("_views", "ORDER BY name")
            ),
            sources=tuple(
                SourceEntry(row["name"], row["engine"], json.loads(row["parameters"]))
                for row in self._read("_sources", "ORDER BY name")
            ),
            installed=True,
        )

    def _read(self, name: str, order: str) -> list[dict[str, Any]]:
        columns = [part.strip().split(" ")[0] for part in _TABLES[name].split(", ")]
        found = rows(self._raw, f"SELECT {', '.join(columns)} FROM {self.table(name)} {order}")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _insert(self, name: str, values: Mapping[str, Any]) -> None:
        marks = ", ".join(f"${index}" for index in range(1, len(values) + 1))
        run(
            self._raw,
            f"INSERT INTO {self.table(name)} ({', '.join(values)}) VALUES ({marks})",
            list(values.values()),
        )

    def _delete(self, name: str, /, **where: Any) -> None:
        terms = " AND ".join(f"lower({key}) = lower(${index})" for index, key in enumerate(where, 1))
        run(self._raw, f"DELETE FROM {self.table(name)} WHERE {terms}", list(where.values()))

    # Projects, engines, views, sources --------------------------------------------------------------------

    def add_project(self, name: str) -> None:
        """Add a project."""
        self._insert("_projects", {"name": name})

    def drop_project(self, name: str) -> None:
        """Drop an empty project."""
        self._delete("_projects", name=name)

    def add_engine(self, entry: EngineEntry, files: Mapping[str, bytes]) -> None:
        """Add an engine and what its `create_engine` kept."""
        self._insert(
            "_engines",
            {
                "name": entry.name,
                "handler": entry.handler,
                "options": json.dumps(dict(entry.options)),
                "created_at": datetime.now(),
            },
        )
        for name, content in files.items():
            self._insert("_engine_files", {"engine": entry.name, "name": name, "content": content})

    def drop_engine(self, name: str) -> None:
        """Drop an engine."""
        self._delete("_engines", name=name)
        self._delete("_engine_files", engine=name)

    def engine_file(self, engine: str, name: str) -> bytes | None:
        """One file of an engine, or None."""
        found = rows(
            self._raw,
            f"SELECT content FROM {self.table('_engine_files')} WHERE engine = $1 AND name = $2",
            [engine, name],
        )
        return found[0][0] if found else None

    def add_view(self, view: View) -> None:
        """Add a view."""
        self._insert(
            "_views",
            {"project": view.project, "name": view.name, "query": view.query, "created_at": datetime.now()},
        )

    def drop_view(self, view: View) -> None:
        """Drop a view."""
        self._delete("_views", project=view.project, name=view.name)

    def add_source(self, entry: SourceEntry) -> None:
        """Add a source."""
        self._insert(
            "_sources",
            {
                "name": entry.name,
                "engine": entry.engine,
                "parameters": json.dumps(dict(entry.parameters)),
                "created_at": datetime.now(),
            },
        )

    def drop_source(self, name: str) -> None:
        """Drop a source."""
        self._delete("_sources", name=name)

    # Models -----------------------------------------------------------------------------------------------

    def hold(self, project: str, name: str) -> Model | None:
        """A model as it is now. Until this transaction ends, no other can add versions to it."""
        run(
            self._raw,
            f"UPDATE {self.table('_models')} SET active = active WHERE project = $1 AND name = $2",
            [project, name],
        )
        return self.snapshot().model(project, name)

    def add_version(self, version: Version) -> None:
        """Add a version, and the model if it is its first."""
        known = rows(
            self._raw,
            f"SELECT 1 FROM {self.table('_models')} WHERE project = $1 AND name = $2",
            [version.project, version.model],
        )
        if not known:
            self._insert(
                "_models",
                {
                    "project": version.project,
                    "name": version.model,
                    "active": None,
                    "created_at": version.created_at,
                },
            )
        self._insert("_versions", _version_row(version))

    def save_version(self, version: Version) -> None:
        """Write a version's row anew."""
        row = _version_row(version)
        terms = ", ".join(f"{key} = ${index}" for index, key in enumerate(row, 1))
        run(
            self._raw,
            f"UPDATE {self.table('_versions')} SET {terms} WHERE id = ${len(row) + 1}",
            [*row.values(), version.id],
        )

    def add_artifacts(self, version: Version, files: Mapping[str, bytes]) -> Version:
        """Store a version's files. Returns the version with their digest."""
        whole = hashlib.sha256()
        for name in sorted(files):
            digest = hashlib.sha256(files[name]).hexdigest()
            whole.update(f"{name}:{digest}\n".encode())
            self._insert(
                "_artifacts",
                {"version": version.id, "name": name, "content": files[name], "digest": digest},
            )
        return replace(version, digest=whole.hexdigest())

    def artifact(self, version: Version, name: str) -> bytes | None:
        """One file of a version, or None. Raises CatalogError when it is not what was stored."""
        found = rows(
            self._raw,
            f"SELECT content, digest FROM {self.table('_artifacts')} WHERE version = $1 AND name = $2",
            [version.id, name],
        )
        if not found:
            return None
        content, digest = found[0]
        if hashlib.sha256(content).hexdigest() != digest:
            raise CatalogError(
                f'the stored file "{name}" of {version.model}.{version.number} is damaged: its digest does not match',
                hint=f"RETRAIN {version.model}, or restore the database file from a copy",
            )
        return bytes(content)

    def artifact_names(self, version: Version) -> list[str]:
        """The names of a version's files."""
        found = rows(
            self._raw, f"SELECT name FROM {self.table('_artifacts')} WHERE version = $1", [version.id]
        )
        return [name for (name,) in found]

    def set_active(self, project: str, name: str, number: int) -> None:
        """Make a version the one that answers."""
        run(
            self._raw,
            f"UPDATE {self.table('_models')} SET active = $1 WHERE project = $2 AND name = $3",
            [number, project, name],
        )

    def drop_versions(self, versions: Iterable[Version]) -> None:
        """Drop versions, their artifacts and the answers kept of them."""
        keeps = self.has("_answers")  # files of an older release have no such table until they need it
        for version in versions:
            if keeps:
                self._delete("_answers", version=version.id)
            self._delete("_artifacts", version=version.id)
            self._delete("_versions", id=version.id)

    def drop_model(self, model: Model) -> None:
        """Drop a model with all its versions, unless another transaction is adding one."""
        # DuckDB sees when two transactions update a row, but not when one updates and the other deletes it.
        self.hold(model.project, model.name)
        self.drop_versions(model.versions)
        self._delete("_models", project=model.project, name=model.name)

    def mark_interrupted(self, owner: str) -> int:
        """Mark trainings that another process left unfinished. Returns how many there were."""
        found = rows(
            self._raw,
            f"UPDATE {self.table('_versions')} SET status = 'error', "
            "error = 'the training was interrupted: the process that ran it ended' "
            "WHERE status IN ('generating', 'training') AND owner IS DISTINCT FROM $1 RETURNING id",
            [owner],
        )
        return len(found)


def _version_row(version: Version) -> dict[str, Any]:
    row = {field.name: getattr(version, field.name) for field in fields(version)}
    for key in ("options", "settings", "summary", "libraries"):
        row[key] = json.dumps(row[key])
    return row
