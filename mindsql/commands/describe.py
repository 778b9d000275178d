"""Owns DESCRIBE of models, engines, handlers, databases, projects and views; of tables it is DuckDB's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.bound import BoundModel
from mindsql.commands.answers import frame, table
from mindsql.database import quote
from mindsql.engine import Engine, Option
from mindsql.errors import MindSQLError, UnknownNameError
from mindsql.execution import ExecutionContext, apart
from mindsql.executor.engines import engine_boundary
from mindsql.result import Result
from mindsql.secrets import redact_options
from mindsql.snapshot import DEFAULT_PROJECT, Model, Version

if TYPE_CHECKING:
    from mindsql.session import Session

_PROPERTIES = [("property", "VARCHAR"), ("value", "VARCHAR")]
_DESCRIBE = re.compile(r"\s*DESC(?:RIBE)?\s+(?=SELECT|WITH|FROM|\()", re.I)
_QUERY = re.compile(r"\s*(?:\(|(?:SELECT|FROM|WITH|VALUES|TABLE|PIVOT|UNPIVOT|DESCRIBE|SHOW)\b)", re.I)
_SUMMARIZE = re.compile(r"\s*SUMMARIZE\s+", re.I)
_OWN = ("inputs", "outputs", "versions")


def describe(
    session: Session, statement: grammar.Describe, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """DESCRIBE [kind] name[.version][.attribute]. None when the name means something of DuckDB's."""
    if statement.kind in (None, "model", "predictor"):
        found = _find_model(session, statement.name)
        if found is not None:
            return _model(session, *found, execution)
        if statement.kind is not None:
            known = [model.name for model in session.snapshot().models]
            raise UnknownNameError.of("model", ".".join(statement.name), known)
    snapshot = session.snapshot()
    name = ".".join(statement.name)
    if statement.kind == "ml_engine":
        entry = snapshot.engine(name)
        if entry is None and name not in session.registry:
            raise UnknownNameError.of(
                "engine", name, [e.name for e in snapshot.engines] + session.registry.names()
            )
        rows: list[tuple[str, str | None]] = [
            ("name", entry.name if entry else name),
            ("handler", entry.handler if entry else name),
        ]
        rows += [(key, _text(redact_options(value))) for key, value in (entry.options.items() if entry else ())]
        return table(_PROPERTIES, rows)
    if statement.kind == "handler":
        return _handler(session, name)
    if statement.kind == "estimator":
        return _estimator(session, name)
    if statement.kind == "database":
        source = snapshot.source(name)
        if source is None:
            raise UnknownNameError.of("database", name, [s.name for s in snapshot.sources])
        rows = [("name", source.name), ("engine", source.engine)]
        rows += [(key, _text(redact_options(value))) for key, value in source.parameters.items()]
        return table(_PROPERTIES, [*rows, ("tables", ", ".join(session.source(name).tables()))])
    if statement.kind == "project":
        project = snapshot.project(name)
        if project is None:
            raise UnknownNameError.of("project", name, snapshot.projects)
        models = ", ".join(m.name for m in snapshot.models if m.project == project)
        views = ", ".join(v.name for v in snapshot.views if v.project == project)
        return table(_PROPERTIES, [("name", project), ("models", models), ("views", views)])
    if len(statement.name) > 1 and snapshot.source(statement.name[0]) is not None:
        return _columns(session, grammar.parse_query(f"FROM {'.'.join(map(quote, statement.name))}"), parameters)
    project = session.project if len(statement.name) == 1 else snapshot.project(statement.name[0])
    view = snapshot.view(project, statement.name[-1]) if project is not None else None
    if view is not None:
        return table(_PROPERTIES, [("name", view.name), ("project", view.project), ("query", view.query)])
    return None


def describe_query(
    session: Session, statement: grammar.DuckDB, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """`DESCRIBE SELECT …` and `SUMMARIZE SELECT …` with models, as DuckDB answers them. None for everything else."""
    summary = _SUMMARIZE.match(statement.text)
    if summary is not None:
        return _summarize(session, statement.text[summary.end() :], parameters, execution)
    found = _DESCRIBE.match(statement.text)
    if found is None:
        return None
    try:
        query = grammar.parse_query(statement.text[found.end() :])
    except grammar.ParseError:
        return None
    return _columns(session, query, parameters)


def _columns(session: Session, query: grammar.Query, parameters: Mapping[str, Any]) -> Result | None:
    """The columns of a query, as DuckDB's DESCRIBE tells them; None when it is DuckDB's alone."""
    plan = queries.prepare(session, query, None, parameters)
    if plan is None:
        return None
    columns = [
        (name, "VARCHAR") for name in ("column_name", "column_type", "null", "key", "default", "extra")
    ]
    return table(columns, [(c.name, c.type, "YES", None, None, None) for c in plan.schema])


def _summarize(
    session: Session,
    text: str,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
) -> Result | None:
    if not _QUERY.match(text):
        text = f"FROM {text}"  # a table's name
    try:
        query = grammar.parse_query(f"SELECT * FROM (SUMMARIZE {text.rstrip().removesuffix(';')})")
        plan = queries.prepare(session, query, None, parameters)
    except grammar.ParseError:
        return None
    except MindSQLError as error:
        error.span = None  # places are those of another text
        raise
    return queries.answer(session, plan, parameters, execution) if plan is not None else None


def _find_model(session: Session, name: tuple[str, ...]) -> tuple[Model, int | None, str | None] | None:
    """`[project.]name[.version][.attribute]`: the longest reading that is a model."""
    snapshot = session.snapshot()
    readings: list[tuple[str, tuple[str, ...]]] = [(session.project, name), (DEFAULT_PROJECT, name)]
    if len(name) > 1 and (project := snapshot.project(name[0])) is not None:
        readings.insert(0, (project, name[1:]))
    for project, rest in readings:
        model = snapshot.model(project, rest[0])
        if model is None:
            continue
        version = int(rest[1]) if len(rest) > 1 and rest[1].isdigit() else None
        attribute = rest[2 if version is not None else 1 :]
        return model, version, ".".join(attribute) or None
    return None


def _model(
    session: Session,
    model: Model,
    number: int | None,
    attribute: str | None,
    execution: ExecutionContext,
) -> Result:
    if attribute is None and (model.active is None or number is not None):
        version = next((v for v in model.versions if v.number == (number or model.versions[-1].number)), None)
        if version is None:
            version = model.version(number)
        return table(_PROPERTIES, _properties(model, version, []))
    if attribute == "versions":
        return table(
            [("version", "INTEGER"), ("active", "BOOLEAN"), ("status", "VARCHAR"), ("estimator", "VARCHAR"),
             ("accuracy", "DOUBLE"), ("scores", "VARCHAR"), ("options", "VARCHAR"), ("rows", "BIGINT"),
             ("created_at", "TIMESTAMP"), ("error", "VARCHAR")],
            [
                (v.number, v.number == model.active, v.status, v.summary.get("estimator") or None,
                 v.summary.get("accuracy"), _figures(v.summary.get("metrics")), _options(v),
                 v.summary.get("rows"), v.created_at, v.error)
                for v in model.versions
            ],
        )  # fmt: skip
    version = model.version(number)
    if attribute in ("inputs", "outputs"):
        schema = version.inputs if attribute == "inputs" else version.answers
        return table([("name", "VARCHAR"), ("type", "VARCHAR")], list(schema.pairs()))
    loaded = queries.load(session, BoundModel(version))

    def ask(key: str | None) -> Any:
        with engine_boundary(version.engine, version.model):
            try:
                return loaded.engine.describe(key)
            except NotImplementedError:
                return None

    keys = execution.wait(execution.submit(lambda: ask(None)))
    known = [str(value) for value in keys[keys.columns[0]]] if keys is not None else []
    if attribute is None:
        return table(_PROPERTIES, _properties(model, version, [*known, *_OWN]))
    # A handler that lists no parts may have them all the same.
    matched = next((key for key in known if key.casefold() == attribute.casefold()), None if known else attribute)
    found = execution.wait(execution.submit(lambda: ask(matched))) if matched is not None else None
    if found is None:
        raise UnknownNameError.of(f'part of the model "{model.name}":', attribute, [*known, *_OWN])
    return frame(found)


def _properties(model: Model, version: Version, attributes: list[str]) -> list[tuple[str, str | None]]:
    summary = version.summary
    rows: list[tuple[str, str | None]] = [
        ("name", model.name),
        ("project", model.project),
        ("version", f"{version.number}" + (" (active)" if version.number == model.active else "")),
        ("status", version.status),
        ("engine", version.engine),
        ("estimator", summary.get("estimator")),
        ("target", version.settings.get("alias") or version.target),
        ("task", summary.get("task")),
        ("accuracy", _text(summary.get("accuracy"))),
        ("metrics", _figures(summary.get("metrics"))),
        ("baseline", _figures(summary.get("baseline"))),
        ("rows", _text(summary.get("rows"))),
        ("rows_left_out", _text(summary.get("rows_left_out") or None)),
        ("inputs", ", ".join(f"{c.name} {c.type}" for c in version.inputs)),
        ("outputs", ", ".join(f"{c.name} {c.type}" for c in version.outputs)),
        ("query", version.query),
        ("using", _options(version)),
        ("tag", version.tag),
        ("error", version.error),
        (
            "created_at",
            version.created_at.isoformat(sep=" ", timespec="seconds") if version.created_at else None,
        ),
        ("training_seconds", _text(version.seconds)),
        ("libraries", ", ".join(f"{name} {number}" for name, number in version.libraries.items())),
        *(("note", note) for note in summary.get("notes", ())),
        ("more", ", ".join(f"DESCRIBE {model.name}.{key}" for key in attributes)),
    ]
    return [(name, value) for name, value in rows if value not in (None, "")]


def _options(version: Version) -> str | None:
    return json.dumps(redact_options(dict(version.options)), ensure_ascii=False) if version.options else None


def _handler(session: Session, name: str) -> Result:
    cls = session.registry.handler_class(name)
    columns = [("statement", "VARCHAR"), ("option", "VARCHAR"), ("type", "VARCHAR"), ("default", "VARCHAR"),
               ("required", "BOOLEAN"), ("description", "VARCHAR")]  # fmt: skip
    rows = [
        (
            statement,
            option.name,
            option.type,
            None if option.default is None else _text(option.default),
            option.required,
            option.description,
        )
        for statement, options in (
            ("CREATE ML_ENGINE", cls.engine_options),
            ("CREATE MODEL", cls.options),
            ("SELECT", cls.predict_options),
        )
        for option in options
    ]
    return table(columns, rows)


def _estimator(session: Session, name: str) -> Result:
    """The parameters of an estimator. Raises UnknownNameError."""
    known: dict[str, tuple[str, type[Engine]]] = {}
    for handler in session.registry:
        cls, _ = session.registry.attempt(handler.name)
        if cls is not None:
            known.update((one.name, (handler.name, cls)) for one in apart(cls.estimators))
    found = next((own for own in known if own.casefold() == name.casefold()), None)
    if found is None:
        raise UnknownNameError.of("estimator", name, known)
    handler_name, cls = known[found]
    with engine_boundary(handler_name, "options"):
        options = apart(lambda: cls.options_for({"estimator": found}))
    every = {option.name for option in cls.options}
    columns = [("option", "VARCHAR"), ("type", "VARCHAR"), ("default", "VARCHAR"), ("meaning", "VARCHAR")]
    return table(
        columns,
        [
            (option.name, _type(option), _text(option.default), option.description)
            for option in options
            if option.name not in every
        ],
    )


def _type(option: Option) -> str:
    """`float 0 … 1`, `string: a, b`."""
    if option.choices:
        return f"{option.type}: " + ", ".join(map(str, option.choices))
    low, high = (("" if bound is None else f"{bound:g}") for bound in (option.minimum, option.maximum))
    return f"{option.type} {low} … {high}".replace("  ", " ").strip() if low or high else option.type


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _figures(figures: Mapping[str, float] | None) -> str | None:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items()) if figures else None
