"""Owns the system tables: `information_schema.models` and the like, as SQL text over the catalog's own tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from mindsql.database import literal, quote
from mindsql.jobs import Job, Jobs
from mindsql.registry import Registry
from mindsql.secrets import masked
from mindsql.snapshot import DEFAULT_PROJECT, PROJECT_ALIASES, Snapshot
from mindsql.statements import MODEL_LISTS
from mindsql.work import apart

TABLES = ("models", "models_versions", "predictors", "ml_engines", "handlers", "estimators", "handler_options",
          "projects", "databases", "views", "model_columns")  # fmt: skip
"""Tables of `information_schema` that are ours; those that DuckDB has too (`tables`, `columns`) stay DuckDB's."""


def system_table(
    schema: str, name: str, snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]
) -> str | None:
    """The query that a system table stands for, or None when the name means something else.

    Args:
        schema: `information_schema`, or a project for `project.models`.
        name: The table's name.
        snapshot: The catalog.
        jobs: The trainings in the background.
        registry: The handlers.
        given: Takes the parameters of the query.
    """
    folded = name.casefold()
    if schema.casefold() == "information_schema":
        if folded not in TABLES:
            return None
        return _QUERIES[folded](snapshot, jobs, registry, given)
    if folded in MODEL_LISTS and snapshot.project(schema) is not None:
        project = snapshot.project(schema)
        assert project is not None
        return f"SELECT * FROM ({_models(snapshot, jobs, registry, given)}) WHERE project = {literal(project)}"
    return None


def values(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> str:
    """A query that gives these rows."""
    names = ", ".join(f"CAST({quote(name)} AS {type_name}) AS {quote(name)}" for name, type_name in columns)
    plain = ", ".join(quote(name) for name, _ in columns)
    if not rows:
        nulls = ", ".join("NULL" for _ in columns)
        return f"SELECT {names} FROM (VALUES ({nulls})) AS v({plain}) WHERE false"
    body = ", ".join("(" + ", ".join(_cell(value) for value in row) + ")" for row in rows)
    return f"SELECT {names} FROM (VALUES {body}) AS v({plain})"


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return literal(str(value))


def listed(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], given: dict[str, Any]) -> str:
    """A query that gives these rows. They are a parameter of it, so that its text is short whatever their number.

    Args:
        given: Takes the parameter.
    """
    name = f"mindsql_rows_{len(given)}"
    names = [f"c{number}" for number in range(len(columns))]
    given[name] = json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str)
    shape = json.dumps([dict.fromkeys(names, "VARCHAR")])
    picked = ", ".join(
        f"CAST(r.{short} AS {type_name}) AS {quote(column)}"
        for short, (column, type_name) in zip(names, columns, strict=True)
    )
    unpacked = f"system.main.unnest(system.main.from_json(${name}, {literal(shape)}))"
    return f"SELECT {picked} FROM (SELECT {unpacked} AS r) AS v"


def _json(value: Any) -> str:
    return json.dumps(masked(value), ensure_ascii=False)


_MODEL_COLUMNS = [
    ("name", "VARCHAR"),
    ("engine", "VARCHAR"),
    ("project", "VARCHAR"),
    ("active", "BOOLEAN"),
    ("version", "INTEGER"),
    ("status", "VARCHAR"),
    ("accuracy", "DOUBLE"),
    ("predict", "VARCHAR"),
    ("update_status", "VARCHAR"),
    ("mindsdb_version", "VARCHAR"),
    ("error", "VARCHAR"),
    ("select_data_query", "VARCHAR"),
    ("training_options", "VARCHAR"),
    ("current_training_phase", "INTEGER"),
    ("total_training_phases", "INTEGER"),
    ("training_phase_name", "VARCHAR"),
    ("tag", "VARCHAR"),
    ("created_at", "TIMESTAMP"),
    ("training_time", "DOUBLE"),
    ("estimator", "VARCHAR"),
]


def _models(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    rows = []
    at_work = jobs.unfinished()
    for model in snapshot.models:
        # Before its first version is trained, a model's last one stands for it, as in MindsDB.
        active = model.active or max((version.number for version in model.versions), default=None)
        for version in model.versions:
            job = at_work.get(version.id)
            rows.append(
                (
                    model.name,
                    version.engine,
                    model.project,
                    version.number == active,
                    version.number,
                    version.status,
                    version.summary.get("accuracy"),
                    version.settings.get("alias") or version.target,
                    "up_to_date",
                    version.libraries.get("mindsql"),
                    version.error,
                    version.query,
                    _json(dict(version.options)),
                    *_phase(job),
                    version.tag,
                    version.created_at,
                    version.seconds,
                    version.summary.get("estimator") or None,
                )
            )
    return listed(_MODEL_COLUMNS, rows, given)


def _phase(job: Job | None) -> tuple[int | None, int | None, str | None]:
    """How far a training is: done, of how many, with what."""
    if job is None:
        return None, None, None
    done, total = (None if value is None else int(value) for value in (job.done, job.total))
    return done, total, job.phase or ("waiting" if job.started is None else None)


def _engines(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [("name", "VARCHAR"), ("handler", "VARCHAR"), ("connection_data", "VARCHAR")]
    rows = [(name, name, "{}") for name in registry.names() if snapshot.engine(name) is None]
    rows += [(entry.name, entry.handler, _json(dict(entry.options))) for entry in snapshot.engines]
    return listed(columns, sorted(rows), given)


def _handlers(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("title", "VARCHAR"),
        ("description", "VARCHAR"),
        ("version", "VARCHAR"),
        ("connection_args", "VARCHAR"),
        ("import_success", "BOOLEAN"),
        ("import_error", "VARCHAR"),
    ]
    rows = []
    for handler in registry:
        cls, error = registry.attempt(handler.name)
        rows.append(
            (
                handler.name,
                "ml",
                cls.title if cls else None,
                cls.description if cls else None,
                handler.package,
                json.dumps([option.name for option in cls.engine_options]) if cls else None,
                cls is not None,
                error,
            )
        )
    return listed(columns, rows, given)


def _estimators(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("task", "VARCHAR"),
        ("accepts_missing", "BOOLEAN"),
        ("as_sql", "BOOLEAN"),
        ("finetune", "BOOLEAN"),
        ("description", "VARCHAR"),
        ("handler", "VARCHAR"),
    ]
    rows = [
        (one.name, one.task, one.accepts_missing, one.as_sql, one.finetune, one.description, handler.name)
        for handler in registry
        if (cls := registry.attempt(handler.name)[0]) is not None
        for one in apart(cls.estimators)
    ]
    return listed(columns, rows, given)


def _handler_options(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [
        ("handler", "VARCHAR"),
        ("statement", "VARCHAR"),
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("default", "VARCHAR"),
        ("required", "BOOLEAN"),
        ("secret", "BOOLEAN"),
        ("description", "VARCHAR"),
    ]
    rows = []
    for handler in registry:
        cls, _ = registry.attempt(handler.name)
        if cls is None:
            continue
        for statement, options in (
            ("CREATE MODEL", cls.options),
            ("CREATE ML_ENGINE", cls.engine_options),
            ("SELECT", cls.predict_options),
        ):
            rows += [
                (
                    handler.name,
                    statement,
                    o.name,
                    o.type,
                    None if o.default is None else json.dumps(o.default),
                    o.required,
                    o.secret,
                    o.description,
                )
                for o in options
            ]
    return listed(columns, rows, given)


def _projects(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    return listed([("name", "VARCHAR")], [(name,) for name in snapshot.projects], given)


def _databases(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("engine", "VARCHAR"),
        ("connection_data", "VARCHAR"),
    ]
    # MindsDB's scripts look for its default project, which is ours by another name.
    names = [*snapshot.projects, *(alias for alias in PROJECT_ALIASES if alias not in snapshot.projects)]
    rows: list[tuple[Any, ...]] = [(name, "project", "mindsql", "{}") for name in names]
    rows += [(s.name, "data", s.engine, _json(dict(s.parameters))) for s in snapshot.sources]
    known = ", ".join(literal(s.name) for s in snapshot.sources) or "''"
    return (
        f"{listed(columns, rows, given)} UNION ALL SELECT database_name, 'data', 'duckdb', "
        "system.main.json_object('file', system.main.parse_filename(path))::VARCHAR "
        f"FROM system.main.duckdb_databases() WHERE NOT internal AND database_name NOT IN ({known})"
    )


def _views(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [("name", "VARCHAR"), ("project", "VARCHAR"), ("query", "VARCHAR")]
    ours = listed(columns, [(v.name, v.project, v.query) for v in snapshot.views], given)
    theirs = f"SELECT view_name, {literal(DEFAULT_PROJECT)}, sql FROM system.main.duckdb_views() WHERE NOT internal"
    return f"{ours} UNION ALL {theirs}"


def _model_columns(snapshot: Snapshot, jobs: Jobs, registry: Registry, given: dict[str, Any]) -> str:
    columns = [
        ("project", "VARCHAR"),
        ("model", "VARCHAR"),
        ("version", "INTEGER"),
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("role", "VARCHAR"),
    ]
    rows = []
    for model in snapshot.models:
        for version in model.versions:
            for role, schema in (("output", version.answers), ("input", version.inputs)):
                rows += [(model.project, model.name, version.number, c.name, c.type, role) for c in schema]
    return listed(columns, rows, given)


_QUERIES: dict[str, Callable[[Snapshot, Jobs, Registry, dict[str, Any]], str]] = {
    "models": _models,
    "models_versions": _models,
    "predictors": _models,
    "ml_engines": _engines,
    "handlers": _handlers,
    "estimators": _estimators,
    "handler_options": _handler_options,
    "projects": _projects,
    "databases": _databases,
    "views": _views,
    "model_columns": _model_columns,
}
