"""Owns `/api/sql/query`: a statement in, its rows out, in MindsDB's shapes or as Arrow, CSV or NDJSON."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from mindsql.database import quote
from mindsql.errors import CatalogError, MindSQLError, TooLargeError, UnknownNameError
from mindsql.result import Result
from mindsql.server.http import errors
from mindsql.server.http.answers import (
    ARROW,
    CSV,
    JSON,
    NDJSON,
    Json,
    Streamed,
    attended,
    begin,
    form,
    list_of_objects,
    noted,
    parts,
)
from mindsql.server.principal import Principal
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import PROJECT_ALIASES

_MOST_VALUES = 200_000
"""How many values the JSON around a statement may hold: it is read while everybody else waits."""


class _JsonRequest(Request):
    """A request whose body is read by a parser that takes milliseconds for what it is given."""

    async def json(self) -> Any:
        """See `Request.json`. Raises TooLargeError, JSONDecodeError."""
        body = await self.body()
        if body.count(b",") + body.count(b"[") + body.count(b"{") > _MOST_VALUES and _values(body) > _MOST_VALUES:
            raise TooLargeError(
                f"the body holds more than {_MOST_VALUES} values",
                hint="POST rows to /models/<name>, or send them as the text of an INSERT in parts",
            )
        return orjson.loads(body)


def _values(body: bytes) -> int:
    """The signs in a JSON text, strings left out, that begin a value or separate two."""
    bare = _STRINGS.sub(b"", body)
    return bare.count(b",") + bare.count(b"[") + bare.count(b"{")


_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class JsonRoute(APIRoute):
    """A route that reads its body as JSON, whatever type the body claims: curl -d claims a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            MutableHeaders(scope=request.scope)["content-type"] = JSON
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


router = APIRouter(tags=["sql"], route_class=JsonRoute)


class Context(BaseModel):
    """Where names are looked for."""

    model_config = ConfigDict(extra="forbid")

    db: str | None = Field(default=None, description="the project or database to USE", max_length=1000)


class Question(BaseModel):
    """A statement, or several separated by semicolons: the last one answers."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="SQL", max_length=10_000_000)
    context: Context = Context()
    params: list[Any] | dict[str, Any] | None = Field(
        default=None, description="a list for `?` and `$1`, an object for `$name`"
    )


# These two are coroutines since FastAPI gives each plain function a thread.


async def service_of(request: Request) -> Service:
    """The service of the application."""
    service: Service = request.app.state.service
    return service


async def principal_of(request: Request) -> Principal:
    """Who asks."""
    principal: Principal = request.state.principal
    return principal


Serving = Annotated[Service, Depends(service_of)]
Caller = Annotated[Principal, Depends(principal_of)]

_MEDIA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows.",
        "content": {
            JSON: {"example": {"type": "table", "column_names": ["a"], "data": [[1]], "context": {"db": "mindsql"}}},
            ARROW: {},
            CSV: {},
            NDJSON: {},
        },
    }
}


@router.post("/api/sql/query", responses=_MEDIA)
async def query(
    question: Question,
    request: Request,
    service: Serving,
    caller: Caller,
    mindsql_session: Annotated[str | None, Header(description="a session of POST /api/sql/sessions")] = None,
) -> Response:
    """Run a statement. `Accept` chooses the form: JSON, an Arrow stream, CSV or NDJSON."""
    media = form(request.headers.get("accept"))
    if media is None:
        return errors.plain(
            406, f"no form of {request.headers.get('accept')!r}", f"ask for one of: {JSON}, {ARROW}, {CSV}, {NDJSON}"
        )
    kept = _kept(request, caller, mindsql_session)
    session = kept or service.open(caller, "http")
    session.begin(question.query)  # from here on it is busy

    def done() -> None:
        session.end()
        if kept is None:
            session.close()

    return await answer(service, session, request, lambda: _run(session, question, media == ARROW), media, done)


async def answer(
    service: Service,
    session: RemoteSession,
    request: Request,
    run: Callable[[], Result],
    media: str,
    done: Callable[[], None],
    *,
    as_list: bool = False,
) -> Response:
    """Run something of a session and stream its result.

    Args:
        run: Gives the result; it runs in a worker.
        media: The form of the answer.
        done: Called in a worker when all is over, whatever happened.
        as_list: Whether the lines of `NDJSON` become one JSON list.
    """
    sent = JSON if as_list else media

    notes: list[str] = []

    def execution() -> Response | tuple[Iterator[bytes], bytes]:
        result = run()
        notes.extend(result.notes)
        context: dict[str, Any] = {"context": {"db": session.connection.project}}
        if notes:
            context["notes"] = notes
        if result.kind == "done" or (result.kind == "count" and media == JSON):
            if result.schema:
                result.fetchall()
            rows = result.rowcount if result.kind == "count" else None
            return Json({"type": "ok", "message": result.message, "affected_rows": rows, **context})
        stream = parts(result, media, service.options.rows, context, session.sent)
        if as_list:
            stream = list_of_objects(stream)
        try:
            first, complete = begin(stream)
        except MindSQLError as error:
            raise session.cause(error) from error
        return Response(first, media_type=sent) if complete else (stream, first)

    streamed = False
    try:
        begun = await attended(service, session, request.receive, execution)
        if isinstance(begun, Response):
            return noted(begun, notes)
        streamed = True
        return noted(Streamed(service, session, begun[0], begun[1], sent, done), notes)
    finally:
        if not streamed:
            await service.run(done)


def _run(session: RemoteSession, question: Question, arrow: bool) -> Result:
    if question.context.db:
        use(session, question.context.db)
    return session.execute(question.query, question.params, arrow=arrow)


def use(session: RemoteSession, name: str) -> None:
    """Look for names in a project or database from now on."""
    wanted = PROJECT_ALIASES.get(name.casefold(), name.casefold())
    if wanted != session.connection.project.casefold():
        session.clean = False
        session.execute(f"USE {quote(name)}")


# Sessions that last ---------------------------------------------------------------------------------------


@router.post("/api/sql/sessions", status_code=201, responses={201: {"description": "The session's name."}})
async def open_session(request: Request, service: Serving, caller: Caller) -> Response:
    """Open a session that keeps USE, settings, temporary tables and a transaction from one statement to the next."""
    name = secrets.token_urlsafe(24)
    request.app.state.kept[name] = await service.run(lambda: service.open(caller, "http"))
    return Json({"session": name}, 201)


@router.delete("/api/sql/sessions/{name}", status_code=204)
async def close_session(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Close a session: what runs in it is stopped, what is not committed is rolled back."""
    session = _kept(request, caller, name, busy=True)
    assert session is not None
    request.app.state.kept.pop(name, None)
    await service.stop(session)
    await service.run(session.close)
    return Response(status_code=204)


def _kept(request: Request, caller: Principal, name: str | None, busy: bool = False) -> RemoteSession | None:
    if name is None:
        return None
    session: RemoteSession | None = request.app.state.kept.get(name)
    # A stranger's session is no session: its name is a secret.
    if session is None or session.principal != caller or session.id not in request.app.state.service.sessions:
        request.app.state.kept.pop(name, None) if session is not None and session.principal == caller else None
        raise UnknownNameError("no such session", hint="open one with POST /api/sql/sessions")
    if session.statement is not None and not busy:
        raise CatalogError("the session is busy with another statement", hint="wait for it, or open another session")
    return session
