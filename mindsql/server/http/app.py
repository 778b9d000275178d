"""Owns the HTTP application: its routes put together, and what tells of its state."""

from __future__ import annotations

import asyncio

import swagger_ui_bundle
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from mindsql.libraries import installed_libraries
from mindsql.server.http import errors, jobs, mindsdb, models, routes, sql, tokens
from mindsql.server.http.answers import Json
from mindsql.server.http.authentication import AuthMiddleware
from mindsql.server.http.fast_path import FastPath
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
        docs_url=None,
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

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The description as a page, from files of this server's own: no other address is asked for."""
        files = "/docs/files"
        return get_swagger_ui_html(
            openapi_url="/docs/openapi.json",
            title="MindSQL",
            swagger_js_url=f"{files}/swagger-ui-bundle.js",
            swagger_css_url=f"{files}/swagger-ui.css",
            swagger_favicon_url=f"{files}/favicon-32x32.png",
        )

    @app.get("/docs/openapi.json", include_in_schema=False)
    async def described() -> Response:
        """The description under the version number that the page knows."""
        return Json({**app.openapi(), "openapi": "3.0.3"})

    app.mount("/docs/files", StaticFiles(directory=swagger_ui_bundle.swagger_ui_path))

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

    app.add_middleware(FastPath, service=service, routes=further)
    app.add_middleware(AuthMiddleware, service=service, metrics=service.metrics)
    return app
