"""Owns the system tables: `information_schema.models` and the like, as Arrow tables made of the catalog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mindsql.database import literal, quote
from mindsql.execution import apart
from mindsql.jobs import Job, Jobs
from mindsql.registry import Registry
from mindsql.secrets import redact_options
from mindsql.snapshot import DEFAULT_PROJECT, PROJECT_ALIASES, Snapshot
from mindsql.statements import MODEL_LISTS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Offer:
    """How rows come into a query.

    Attributes:
        table: Makes an Arrow table one that DuckDB can read in this statement, and gives its name.
        as_text: Whether few rows are written into the query: that needs no further library, but our parser is slow
            to read it.
    """

    table: Callable[[pa.Table], str]
    as_text: bool = False

    def writes(self, rows: int, columns: int) -> bool:
        """Whether so many rows are to be text."""
        return self.as_text and rows * columns <= _FEW_CELLS


@dataclass(frozen=True)
class State:
    """What the tables tell of.

    Attributes:
        snapshot: The catalog.
        jobs: The trainings in the background.
        registry: The handlers.
        loaded: The rows of `loaded_models`.
    """

    snapshot: Snapshot
    jobs: Jobs
    registry: Registry
    loaded: Callable[[], Sequence[Mapping[str, Any]]] = list


OFFERED = "mindsql_"
"""How the names of what is offered begin; sixteen random hexadecimal digits follow."""

TABLES = ("models", "models_versions", "predictors", "ml_engines", "handlers", "estimators", "handler_options",
          "projects", "databases", "views", "model_columns", "loaded_models")  # fmt: skip
"""Tables of `information_schema` that are ours; those that DuckDB has too (`tables`, `columns`) stay DuckDB's."""


def system_table(schema: str, name: str, state: State, offer: Offer) -> str | None:
    """The query that a system table stands for, or None when the name means something else.

    Args:
        schema: `information_schema`, or a project for `project.models`.
        name: The table's name.
        state: What there is.
        offer: Takes the rows.
    """
    folded = name.casefold()
    if schema.casefold() == "information_schema":
        if folded not in TABLES:
            return None
        return _QUERIES[folded](state, offer)
    if folded in MODEL_LISTS and state.snapshot.project(schema) is not None:
        project = state.snapshot.project(schema)
        assert project is not None
        return f"SELECT * FROM ({_models(state, offer)}) WHERE project = {literal(project)}"
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


_FEW_CELLS = 300
_ARROW = {"VARCHAR": "string", "BOOLEAN": "bool", "INTEGER": "int32", "BIGINT": "int64", "DOUBLE": "float64",
          "TIMESTAMP": "timestamp[us]"}


def rows_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows as an Arrow table."""
    import pyarrow as pa

    each = zip(*rows, strict=True) if rows else ([] for _ in columns)
    arrays = [
        pa.array(values, pa.type_for_alias(_ARROW[type_name]))
        for values, (_, type_name) in zip(each, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def listed(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], offer: Offer) -> str:
    """A query that gives these rows."""
    if offer.writes(len(rows), len(columns)):
        return values(columns, rows)
    return f"SELECT * FROM {quote(offer.table(rows_table(columns, rows)))}"


def _json(value: Any) -> str:
    return json.dumps(redact_options(value), ensure_ascii=False)


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


def _models(state: State, offer: Offer) -> str:
    at_work = state.jobs.unfinished()
    count = sum(len(model.versions) for model in state.snapshot.models)
    if at_work or offer.writes(count, len(_MODEL_COLUMNS)):
        return listed(_MODEL_COLUMNS, list(_model_rows(state.snapshot, at_work)), offer)
    if "models" not in state.snapshot.tables:
        state.snapshot.tables["models"] = rows_table(_MODEL_COLUMNS, list(_model_rows(state.snapshot, {})))
    return f"SELECT * FROM {quote(offer.table(state.snapshot.tables['models']))}"


def _model_rows(snapshot: Snapshot, at_work: Mapping[str, Job]) -> Iterator[tuple[Any, ...]]:
    for model in snapshot.models:
        # Before its first version is trained, a model's last one stands for it, as in MindsDB.
        active = model.active or max((version.number for version in model.versions), default=None)
        for version in model.versions:
            yield (
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
                *_phase(at_work.get(version.id)),
                version.tag,
                version.created_at,
                version.seconds,
                version.summary.get("estimator") or None,
            )


def _phase(job: Job | None) -> tuple[int | None, int | None, str | None]:
    """How far a training is: done, of how many, with what."""
    if job is None:
        return None, None, None
    done, total = (None if value is None else int(value) for value in (job.done, job.total))
    return done, total, job.phase or ("waiting" if job.started is None else None)


def _engines(state: State, offer: Offer) -> str:
    columns = [("name", "VARCHAR"), ("handler", "VARCHAR"), ("connection_data", "VARCHAR")]
    rows = [(name, name, "{}") for name in state.registry.names() if state.snapshot.engine(name) is None]
    rows += [(entry.name, entry.handler, _json(dict(entry.options))) for entry in state.snapshot.engines]
    return listed(columns, sorted(rows), offer)


def _handlers(state: State, offer: Offer) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("title", "VARCHAR"),
        ("description", "VARCHAR"),
        ("version", "VARCHAR"),
        ("connection_args", "VARCHAR"),
        ("import_success", "BOOLEAN"),
        ("import_error", "VARCHAR"),
        ("status", "VARCHAR"),
    ]
    rows = []
    for handler in state.registry:
        cls, error = state.registry.attempt(handler.name)
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
                state.registry.status(handler.name),
            )
        )
    return listed(columns, rows, offer)


def _estimators(state: State, offer: Offer) -> str:
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
        for handler in state.registry
        if (cls := state.registry.attempt(handler.name)[0]) is not None
        for one in apart(cls.estimators)
    ]
    return listed(columns, rows, offer)


def _handler_options(state: State, offer: Offer) -> str:
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
    for handler in state.registry:
        cls, _ = state.registry.attempt(handler.name)
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
    return listed(columns, rows, offer)


def _projects(state: State, offer: Offer) -> str:
    return listed([("name", "VARCHAR")], [(name,) for name in state.snapshot.projects], offer)


def _databases(state: State, offer: Offer) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("engine", "VARCHAR"),
        ("connection_data", "VARCHAR"),
    ]
    # MindsDB's scripts look for its default project, which is ours by another name.
    names = [*state.snapshot.projects, *(alias for alias in PROJECT_ALIASES if alias not in state.snapshot.projects)]
    rows: list[tuple[Any, ...]] = [(name, "project", "mindsql", "{}") for name in names]
    rows += [(s.name, "data", s.engine, _json(dict(s.parameters))) for s in state.snapshot.sources]
    known = ", ".join(literal(s.name) for s in state.snapshot.sources) or "''"
    return (
        f"{listed(columns, rows, offer)} UNION ALL SELECT database_name, 'data', 'duckdb', "
        "system.main.json_object('file', system.main.parse_filename(path))::VARCHAR "
        f"FROM system.main.duckdb_databases() WHERE NOT internal AND database_name NOT IN ({known})"
    )


def _views(state: State, offer: Offer) -> str:
    columns = [("name", "VARCHAR"), ("project", "VARCHAR"), ("query", "VARCHAR")]
    ours = listed(columns, [(v.name, v.project, v.query) for v in state.snapshot.views], offer)
    theirs = f"SELECT view_name, {literal(DEFAULT_PROJECT)}, sql FROM system.main.duckdb_views() "
    offered = literal(OFFERED + "[0-9a-f]{16}")
    theirs += f"WHERE NOT internal AND NOT system.main.regexp_full_match(view_name, {offered})"
    return f"{ours} UNION ALL {theirs}"


def _model_columns(state: State, offer: Offer) -> str:
    columns = [
        ("project", "VARCHAR"),
        ("model", "VARCHAR"),
        ("version", "INTEGER"),
        ("name", "VARCHAR"),
        ("type", "VARCHAR"),
        ("role", "VARCHAR"),
    ]
    rows = []
    for model in state.snapshot.models:
        for version in model.versions:
            for role, schema in (("output", version.answers), ("input", version.inputs)):
                rows += [(model.project, model.name, version.number, c.name, c.type, role) for c in schema]
    return listed(columns, rows, offer)


def _loaded_models(state: State, offer: Offer) -> str:
    columns = [
        ("name", "VARCHAR"),
        ("project", "VARCHAR"),
        ("version", "INTEGER"),
        ("engine", "VARCHAR"),
        ("runs_in", "VARCHAR"),
        ("pid", "INTEGER"),
        ("memory", "BIGINT"),
        ("calls", "BIGINT"),
        ("since", "TIMESTAMP"),
    ]
    return listed(columns, [[row[name] for name, _ in columns] for row in state.loaded()], offer)


_QUERIES: dict[str, Callable[[State, Offer], str]] = {
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
    "loaded_models": _loaded_models,
}
