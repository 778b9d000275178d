"""Owns what of a session a cluster needs: whether a model may be asked there, its files, DuckDB's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.binder.tree import generate, parameters_in
from mindsql.bound import BoundModel
from mindsql.cluster.distribution import Distribution
from mindsql.cluster.job import ShippedModel
from mindsql.cluster.ray import LOCAL, Cluster, cluster
from mindsql.execution import ExecutionContext
from mindsql.planner.aggregation import in_two_steps
from mindsql.planner.division import Divided, SameEverywhere, computed_here, divide
from mindsql.planner.operators import Plan
from mindsql.planner.translation import framed
from mindsql.secrets import decrypted
from mindsql.snapshot import Version

if TYPE_CHECKING:
    from mindsql.session import Session

_PLACES = frozenset({"use", "schema", "search_path", "threads"})
"""What is set for this database, and this machine, alone: a worker's database has no schemas, and one processor."""
_FUNCTIONS = (
    "SELECT function_name FROM system.main.duckdb_functions() WHERE function_name IN (SELECT unnest($1::VARCHAR[])) "
    "AND (function_type IN ('macro', 'table_macro', 'aggregate') OR NOT internal OR stability = 'VOLATILE' "
    "OR stability = 'CONSISTENT_WITHIN_QUERY' AND (system.main.len(parameters) = 0 OR function_name IN "
    "('age', 'current_schemas', 'current_setting', 'getvariable', 'in_search_path')))"
)
"""Those that are not the same function of a row on every node. A worker is told the time zone, so what needs it is."""


def distribution(
    session: Session, plan: Plan, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Distribution | None:
    """What of a plan the session's cluster answers; None when it has none. Raises StatementError."""
    executor = session.settings.executor
    if executor == LOCAL:
        return None
    same = _same_everywhere(session)
    whole = "a transaction is open" if session.in_transaction else None
    division = divide(plan, lambda model: _stays(session, model), same, whole)
    if not division.parts and not division.reasons:
        return None
    alone, scan = (plan, division), framed(plan)
    if scan is not None and whole is None:  # DuckDB answers it alone, unless the parts can be grouped
        plan, division = scan, divide(scan, lambda model: _stays(session, model), same, scans=True)
    def grouped(plan: Plan, divided: Divided) -> Plan | None:
        """See `Distribution.in_two_steps`."""
        return in_two_steps(
            plan,
            divided.top,
            divided.columns,
            lambda query: database.describe(
                session.raw, generate(query), {name: parameters[name] for name in parameters_in(query)}
            ),
            lambda parts: computed_here(map(generate, parts), same) is None,
        )

    return Distribution(
        division,
        lambda: cluster(executor),
        lambda operator, where: _shipped(session, operator.model, where),
        session.cursor,
        parameters,
        _settings(session) if division.parts else (),
        session.database.sandbox,
        frozenset(database.temporary_names(session.raw) if division.parts else ()),
        grouped,
        alone,
        plan,
        execution,
    )


def _settings(session: Session) -> tuple[str, ...]:
    """Statements that have a worker's DuckDB mean what the session's does: a node may be in another time zone."""
    named = ("TimeZone", "Calendar")
    (found,) = database.rows(session.raw, f"SELECT {', '.join(f'system.main.current_setting({n!r})' for n in named)}")
    said = [text for subject, text in session.replayed.items() if subject not in _PLACES]
    return (*(f"SET {name} = {database.literal(value)}" for name, value in zip(named, found, strict=True)), *said)


def _stays(session: Session, model: BoundModel) -> str | None:
    version = model.version
    if version.settings.get("cache"):
        return f"the answers of {version.model} are kept in the database"
    if session.engine_class(version.engine, version.handler).capabilities.ask_once:
        return f"{version.engine} asks a service, whose limit of requests is for all"
    return None


def _same_everywhere(session: Session) -> SameEverywhere:
    def first(names: list[str]) -> str | None:
        found = {name.casefold() for (name,) in database.rows(session.raw, _FUNCTIONS, [names])}
        return next((name for name in names if name in found), None)

    return first


def _shipped(session: Session, model: BoundModel, where: Cluster) -> ShippedModel:
    version: Version = model.version
    entry = session.snapshot().engine(version.engine)
    stored = decrypted(entry.options) if entry is not None else {}
    handler = next((one for one in session.registry if one.name.casefold() == version.handler.casefold()), None)

    def files() -> Mapping[str, bytes]:
        names = session.catalog.artifact_names(version)
        return {name: content for name in names if (content := session.catalog.artifact(version, name)) is not None}

    return ShippedModel(
        replace(version, options=decrypted(version.options)),
        version.handler,
        handler.cls if handler is not None else None,
        stored,
        dict(session.catalog.engine_files(entry.name)) if entry is not None else {},
        where.store(version.id, files),
        version.id in session.shared.trusted,
    )
