"""Owns the HTTP application: its routes put together, and what tells of its state."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from mindsql.libraries import installed_libraries
from mindsql.server.http import errors, jobs, mindsdb, models, routes, sql, tokens
from mindsql.server.http.answers import Json
from mindsql.server.http.gate import Gate
from mindsql.server.http.single import Single
from mindsql.server.metrics import CONTENT_TYPE
from mindsql.server.service import Service

_DESCRIPTION = """\
SQL in which machine-learning models are tables, and every model as an endpoint.

Errors are `{"error": {"code", "message", "hint", "details"}}`.
"""


def create_app(service: Service) -> FastAPI:
    """The application that serves a service."""
    app = FastAPI(
        title="MindSQL",
        version=installed_libraries().get("mindsql", ""),
        description=_DESCRIPTION,
        redoc_url=None,
        responses=errors.RESPONSES,
    )
    app.state.service = service
    app.state.kept = {}
    errors.install(app)
    app.include_router(sql.router)
    app.include_router(mindsdb.router)
    app.include_router(tokens.router)
    app.include_router(models.router)
    app.include_router(jobs.router)
    further = routes.install(app, service)

    @app.get("/", include_in_schema=False)
    async def start() -> Response:
        """Lead whoever opens the server's address to its description."""
        return RedirectResponse("/docs")

    @app.get("/health", tags=["state"])
    @app.head("/health", tags=["state"])
    async def health() -> Response:
        """Whether the server answers."""
        return Json({"status": "ok"})

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Counters in Prometheus' form."""
        # Not by a worker of statements: when all of them are busy one wants to know.
        return Response(await asyncio.to_thread(service.metrics.text), media_type=CONTENT_TYPE)

    app.add_middleware(Single, service=service, routes=further)
    app.add_middleware(Gate, service=service, metrics=service.metrics)
    return app
