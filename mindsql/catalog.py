"""Owns what is kept in the file: projects, engines, models, versions, artifacts, views and sources.

They lie in the schema `mindsql` of the user's own DuckDB file, so that a copy of the file is a backup and a
change of them is part of the user's transaction. The schema is made with the first thing that needs it.
What the binder reads is a `Snapshot`: all of it but the artifacts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from mindsql.database import Database, DuckDBConnection, literal, quote, rows, run
from mindsql.errors import CatalogError
from mindsql.snapshot import DEFAULT_PROJECT, EngineEntry, Model, Snapshot, SourceEntry, Version, View

SCHEMA = "mindsql"
FORMAT = 2
"""The format of the tables below, and of what lies in them. Who changes them adds a step to `migrations`."""

_TABLES = {
    "_meta": "key VARCHAR, value VARCHAR",
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


class Catalog:
    """Reads and writes the catalog on one connection. It never begins or ends a transaction."""

    def __init__(self, database: Database, raw: DuckDBConnection) -> None:
        self._database = database
        self.raw = raw
        self._prefix = f"{quote(database.name)}.{quote(SCHEMA)}."
        self._models: set[tuple[str, str]] = set()
        self._others = False

    def table(self, name: str) -> str:
        """The qualified name of one of our tables."""
        return self._prefix + quote(name)

    def installed(self) -> bool:
        """Whether the schema is there."""
        return self.has("_versions")

    def has(self, name: str) -> bool:
        """Whether one of our tables is there."""
        found = rows(
            self.raw,
            "SELECT 1 FROM system.main.duckdb_tables() WHERE database_name = "
            f"{literal(self._database.name)} AND schema_name = {literal(SCHEMA)} AND table_name = {literal(name)}",
        )
        return bool(found)

    def make(self, name: str) -> None:
        """Make one of our tables, unless it is there."""
        run(self.raw, f"CREATE TABLE IF NOT EXISTS {self.table(name)} ({_TABLES[name]})")

    def install(self) -> None:
        """Make the schema and its tables, unless they are there."""
        self._others = True
        run(self.raw, f"CREATE SCHEMA IF NOT EXISTS {self._prefix[:-1]}")
        for name in _TABLES:
            self.make(name)
        # Two transactions may make a model of one name at once: the second to commit is refused.
        run(
            self.raw,
            f"CREATE UNIQUE INDEX IF NOT EXISTS _models_once ON {self.table('_models')} "
            "(lower(project), lower(name))",
        )
        self.set_format(FORMAT)
        run(
            self.raw,
            f"INSERT INTO {self.table('_projects')} SELECT {literal(DEFAULT_PROJECT)} "
            f"WHERE NOT EXISTS (FROM {self.table('_projects')})",
        )

    def format(self) -> int:
        """The number of the format that the file has."""
        if not self.has("_meta"):
            return 1
        found = rows(self.raw, f"SELECT value FROM {self.table('_meta')} WHERE key = 'format'")
        return int(found[0][0]) if found else 1

    def set_format(self, number: int) -> None:
        """Note the format that the file has now."""
        self._delete("_meta", key="format")
        self._insert("_meta", {"key": "format", "value": str(number)})

    def snapshot(self) -> Snapshot:
        """Read everything but the artifacts."""
        if not self.installed():
            return Snapshot()
        versions: dict[tuple[str, str], list[Version]] = {}
        for row in self._read("_versions", "ORDER BY number ASC"):
            version = _version(row)
            versions.setdefault((version.project, version.model), []).append(version)
        return Snapshot(
            projects=tuple(row["name"] for row in self._read("_projects", "ORDER BY name ASC")),
            engines=tuple(
                EngineEntry(row["name"], row["handler"], json.loads(row["options"]))
                for row in self._read("_engines", "ORDER BY name ASC")
            ),
            models=tuple(
                Model(
                    row["project"],
                    row["name"],
                    row["active"],
                    tuple(versions.get((row["project"], row["name"]), ())),
                )
                for row in self._read("_models", "ORDER BY project ASC, name ASC")
            ),
            views=tuple(
                View(row["project"], row["name"], row["query"])
                for row in self._read("_views", "ORDER BY name ASC")
            ),
            sources=tuple(
                SourceEntry(row["name"], row["engine"], json.loads(row["parameters"]))
                for row in self._read("_sources", "ORDER BY name ASC")
            ),
            installed=True,
        )

    def after(self, before: Snapshot) -> Snapshot | None:
        """The snapshot after what this object wrote, if that was models only: those alone are read anew.

        Args:
            before: The snapshot that was true when it began to write.
        """
        if self._others or not before.installed:
            return None
        return before.with_models({key: self.model(*key) for key in self._models})

    def _read(self, name: str, rest: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        columns = [part.strip().split(" ")[0] for part in _TABLES[name].split(", ")]
        found = rows(self.raw, f"SELECT {', '.join(columns)} FROM {self.table(name)} {rest}", values)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _insert(self, name: str, values: Mapping[str, Any]) -> None:
        marks = ", ".join(f"${index}" for index in range(1, len(values) + 1))
        run(
            self.raw,
            f"INSERT INTO {self.table(name)} ({', '.join(values)}) VALUES ({marks})",
            list(values.values()),
        )

    def _delete(self, name: str, /, **where: Any) -> None:
        terms = " AND ".join(
            f"system.main.lower({key}) = system.main.lower(${index})" for index, key in enumerate(where, 1)
        )
        run(self.raw, f"DELETE FROM {self.table(name)} WHERE {terms}", list(where.values()))

    # Projects, engines, views, sources --------------------------------------------------------------------

    def add_project(self, name: str) -> None:
        """Add a project."""
        self._others = True
        self._insert("_projects", {"name": name})

    def drop_project(self, name: str) -> None:
        """Drop an empty project."""
        self._others = True
        self._delete("_projects", name=name)

    def add_engine(self, entry: EngineEntry, files: Mapping[str, bytes]) -> None:
        """Add an engine and what its `create_engine` kept."""
        self._others = True
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
        self._others = True
        self._delete("_engines", name=name)
        self._delete("_engine_files", engine=name)

    def engine_files(self, engine: str) -> list[tuple[str, bytes]]:
        """All files of an engine, with their names."""
        found = rows(self.raw, f"SELECT name, content FROM {self.table('_engine_files')} WHERE engine = $1", [engine])
        return [(str(name), bytes(content)) for name, content in found]

    def engine_file(self, engine: str, name: str) -> bytes | None:
        """One file of an engine, or None."""
        found = rows(
            self.raw,
            f"SELECT content FROM {self.table('_engine_files')} WHERE engine = $1 AND name = $2",
            [engine, name],
        )
        return found[0][0] if found else None

    def add_view(self, view: View) -> None:
        """Add a view."""
        self._others = True
        self._insert(
            "_views",
            {"project": view.project, "name": view.name, "query": view.query, "created_at": datetime.now()},
        )

    def drop_view(self, view: View) -> None:
        """Drop a view."""
        self._others = True
        self._delete("_views", project=view.project, name=view.name)

    def add_source(self, entry: SourceEntry) -> None:
        """Add a source."""
        self._others = True
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
        self._others = True
        self._delete("_sources", name=name)

    # Models -----------------------------------------------------------------------------------------------

    def hold(self, project: str, name: str) -> Model | None:
        """A model as it is now. Until this transaction ends, no other can add versions to it."""
        run(
            self.raw,
            f"UPDATE {self.table('_models')} SET active = active WHERE project = $1 AND name = $2",
            [project, name],
        )
        return self.model(project, name)

    def model(self, project: str, name: str) -> Model | None:
        """A model by its name, as this connection sees it, or None."""
        where = "WHERE lower(project) = lower($1) AND lower(name) = lower($2)"
        found = self._read("_models", where, [project, name])
        if not found:
            return None
        where = "WHERE lower(project) = lower($1) AND lower(model) = lower($2) ORDER BY number ASC"
        versions = self._read("_versions", where, [project, name])
        row = found[0]
        return Model(row["project"], row["name"], row["active"], tuple(map(_version, versions)))

    def add_version(self, version: Version) -> None:
        """Add a version, and the model if it is its first."""
        self._models.add((version.project, version.model))
        known = rows(
            self.raw,
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
        self._models.add((version.project, version.model))
        row = _version_row(version)
        terms = ", ".join(f"{key} = ${index}" for index, key in enumerate(row, 1))
        run(
            self.raw,
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
            self.raw,
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
            self.raw, f"SELECT name FROM {self.table('_artifacts')} WHERE version = $1", [version.id]
        )
        return [name for (name,) in found]

    def set_active(self, project: str, name: str, number: int) -> None:
        """Make a version the one that answers."""
        self._models.add((project, name))
        run(
            self.raw,
            f"UPDATE {self.table('_models')} SET active = $1 WHERE project = $2 AND name = $3",
            [number, project, name],
        )

    def drop_versions(self, versions: Iterable[Version]) -> None:
        """Drop versions, their artifacts and the answers kept of them."""
        for version in versions:
            self._models.add((version.project, version.model))
            self._delete("_answers", version=version.id)
            self._delete("_artifacts", version=version.id)
            self._delete("_versions", id=version.id)

    def drop_model(self, model: Model) -> None:
        """Drop a model with all its versions, unless another transaction is adding one."""
        # DuckDB sees when two transactions update a row, but not when one updates and the other deletes it.
        self.hold(model.project, model.name)
        self._models.add((model.project, model.name))
        self.drop_versions(model.versions)
        self._delete("_models", project=model.project, name=model.name)

    def mark_interrupted(self, owner: str) -> int:
        """Mark trainings that another process left unfinished. Returns how many there were."""
        self._others = True
        found = rows(
            self.raw,
            f"UPDATE {self.table('_versions')} SET status = 'error', "
            "error = 'the training was interrupted: the process that ran it ended' "
            "WHERE status IN ('generating', 'training') AND owner IS DISTINCT FROM $1 RETURNING id",
            [owner],
        )
        return len(found)


class _Stored(Mapping[str, Any]):
    """A JSON object that is read when somebody looks into it: most of a large catalog is never asked for."""

    def __init__(self, text: str | None) -> None:
        self._text = text or "{}"
        self._read: dict[str, Any] | None = None

    def _value(self) -> dict[str, Any]:
        if self._read is None:
            self._read = json.loads(self._text)
        return self._read

    def __getitem__(self, key: str) -> Any:
        return self._value()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._value())

    def __len__(self) -> int:
        return len(self._value())


def _version(row: dict[str, Any]) -> Version:
    for key in ("options", "settings", "summary", "libraries"):
        row[key] = _Stored(row[key])
    return Version(**row)


def _version_row(version: Version) -> dict[str, Any]:
    row = {field.name: getattr(version, field.name) for field in fields(version)}
    for key in ("options", "settings", "summary", "libraries"):
        row[key] = json.dumps(dict(row[key]))
    return row
