"""Owns the routes that MindsDB's Python SDK asks for beside SQL: status, login, projects, the tree, predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from mindsql.database import quote
from mindsql.errors import AuthenticationError
from mindsql.libraries import installed_libraries
from mindsql.server.http.answers import Json
from mindsql.server.http.columns import BodyLimits, from_records
from mindsql.server.http.sql import Caller, JsonRoute, Serving
from mindsql.server.http.stored import POSTED
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import PROJECT_ALIASES

router = APIRouter(tags=["MindsDB's SDK"], route_class=JsonRoute)


class Login(BaseModel):
    """A user name, or an e-mail address, and a token as the password."""

    model_config = ConfigDict(extra="forbid")

    password: str
    username: str | None = None
    email: str | None = None


@router.get("/api/status")
async def status() -> Response:
    """Which server this is."""
    version = installed_libraries().get("mindsql", "")
    return Json({"mindsdb_version": version, "mindsql_version": version, "environment": "local", "auth": {}})


@router.post("/api/login")
@router.post("/cloud/login", include_in_schema=False)
async def login(given: Login, request: Request, service: Serving) -> Response:
    """Exchange a token for itself: the SDK sends what it gets here with each request."""
    if service.options.auth and service.tokens.any():
        client = request.client.host if request.client else ""
        principal = service.tokens.authenticate(given.password, client)
        if {given.username, given.email} - {None, principal.name}:
            raise AuthenticationError("wrong name or token")
    return Json({"token": given.password})


@router.get("/api/projects")
async def projects(service: Serving, caller: Caller) -> Response:
    """The projects. MindsDB's scripts begin with its own default project, which is ours by another name."""
    rows = await _rows(service, caller, "SELECT name FROM information_schema.projects")
    known = {row["name"].casefold() for row in rows}
    return Json([*rows, *({"name": alias} for alias in PROJECT_ALIASES if alias not in known)])


@router.get("/api/tree/")
async def databases(service: Serving, caller: Caller) -> Response:
    """The projects and databases."""
    rows = await _rows(service, caller, "SELECT name, type, engine FROM information_schema.databases")
    return Json([{**row, "class": "db", "deletable": row["type"] == "data", "visible": True} for row in rows])


@router.get("/api/tree/{name}")
async def tables(name: str, service: Serving, caller: Caller, all_schemas: bool = False) -> Response:
    """The models and views of a project, or the tables of a database."""

    def look(session: RemoteSession) -> list[dict[str, Any]]:
        found = _read(session, "SELECT name FROM information_schema.projects WHERE lower(name) = lower($1)", [name])
        if found or name.casefold() == "mindsdb":
            project = found[0]["name"] if found else "mindsql"
            nodes = _read(
                session,
                "SELECT name, 'model' AS type, engine FROM information_schema.models "
                "WHERE project = $1 AND active UNION ALL "
                "SELECT name, 'view', NULL FROM information_schema.views WHERE project = $1",
                [project],
            )
        else:
            nodes = _read(
                session,
                "SELECT table_name AS name, CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END AS type, "
                "table_schema AS schema FROM information_schema.tables "
                "WHERE table_catalog = $1 AND table_schema <> 'mindsql' ORDER BY 1 ASC",
                [name],
            )
        return [{**node, "class": "table", "deletable": False, "visible": True} for node in nodes]

    return Json(await _with_session(service, caller, look))


async def _rows(service: Service, caller: Caller, sql: str) -> list[dict[str, Any]]:
    return await _with_session(service, caller, lambda session: _read(session, sql, []))


async def _with_session(
    service: Service, caller: Caller, look: Callable[[RemoteSession], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    def execution() -> list[dict[str, Any]]:
        session = service.open(caller, "http")
        try:
            return look(session)
        finally:
            session.close()

    return await service.run(execution)


def _read(session: RemoteSession, sql: str, parameters: list[Any]) -> list[dict[str, Any]]:
    result = session.execute(sql, parameters)
    return [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]


class Asked(BaseModel):
    """Rows for a model, and options for it."""

    model_config = ConfigDict(extra="forbid")

    data: list[dict[str, Any]]
    params: dict[str, Any] | None = None


@router.post("/api/projects/{project}/models/{model}/predict")
async def predict(project: str, model: str, asked: Asked, service: Serving, caller: Caller) -> Response:
    """Answers for some rows, in their order: `SELECT … FROM rows JOIN model`."""
    name, _, version = model.rpartition(".") if model.rpartition(".")[2].isdigit() else (model, "", "")
    relation = f"{quote(project)}.{quote(name)}" + (f".{version}" if version else "")

    def look(session: RemoteSession) -> list[dict[str, Any]]:
        if not asked.data:
            return []
        limits = BodyLimits(bytes=service.options.body_bytes)
        connection = session.connection
        connection.register(POSTED, from_records(asked.data, limits))
        try:
            options = ", ".join(f"{quote(key)} = ${key}" for key in asked.params or {})
            sql = f"SELECT m.* FROM {POSTED} AS t JOIN {relation} AS m" + (f" USING {options}" if options else "")
            result = session.execute(sql, asked.params or None)
            rows = [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]
        finally:
            connection.unregister(POSTED)
        return rows

    return Json(await _with_session(service, caller, look))
