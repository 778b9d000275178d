"""Owns how an error leaves over HTTP: its status, and `{"error": {"code", "message", "hint", "details"}}`."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import compile_path

from mindsql.errors import Error, InternalError, MemoryLimitError, MindSQLError
from mindsql.server.http.answers import Json

log = logging.getLogger("mindsql.server")

_CODES = {
    400: "BAD_REQUEST",
    401: "AUTHENTICATION",
    403: "ACCESS",
    404: "NOT_FOUND",
    405: "METHOD",
    406: "NOT_ACCEPTABLE",
    408: "TIMEOUT",
    409: "CONFLICT",
    411: "LENGTH_REQUIRED",
    413: "LIMIT",
    414: "LIMIT",
    415: "MEDIA_TYPE",
    422: "UNPROCESSABLE",
    429: "LIMIT",
    431: "LIMIT",
    503: "UNAVAILABLE",
}

_SHAPE = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "hint": {"type": ["string", "null"]},
                "details": {"type": "object"},
            },
        }
    },
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": _SHAPE}}}
    for status, what in (("4XX", "What is wrong, and what to do."), (503, _CODES[503]))
}
"""For the OpenAPI document: what any endpoint may answer when something is wrong."""


def body(code: str, message: str, hint: str | None = None, details: Mapping[str, Any] | None = None) -> Any:
    """The body of an error. The keys of MindsDB's own shape stand beside ours, for its clients."""
    return {
        "type": "error",
        "error_code": 0,
        "error_message": message + (f"\nhint: {hint}" if hint else ""),
        "error": {"code": code, "message": message, "hint": hint, "details": dict(details or {})},
    }


def of(error: BaseException) -> tuple[int, Any]:
    """The status and the body for whatever was raised. A bug is logged, and its user gets the number in the log."""
    if isinstance(error, MemoryError):
        error = MemoryLimitError("the server has no memory left for this")
    if isinstance(error, InternalError) or not isinstance(error, MindSQLError):
        if isinstance(error, Error) and not isinstance(error, MindSQLError):
            return 400, body("BAD_REQUEST", str(error))
        number = secrets.token_hex(4)
        log.error("error %s", number, exc_info=error)
        return 500, body(
            "INTERNAL", "a bug in the server", f"its log tells more under {number}", {"id": number}
        )
    details: dict[str, Any] = {"sqlstate": error.sqlstate, **getattr(error, "details", {})}
    if error.position is not None:
        details["line"], details["column"] = error.position
        details["text"] = str(error)
    return error.http_status, body(error.code, error.message, error.hint, details)


def response(error: BaseException) -> Json:
    """The whole answer for an error."""
    status, content = of(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 408:
        headers["Connection"] = "close"  # what is left of the body is not waited for
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    return Json(content, status, headers)


def plain(
    status: int, message: str, hint: str | None = None, details: Mapping[str, Any] | None = None
) -> Json:
    """The answer for a fault of the request itself."""
    return Json(body(_CODES.get(status, "BAD_REQUEST"), message, hint, details), status)


def _methods(app: FastAPI, path: str) -> list[str]:
    """The methods of a path: Starlette would name those of the first function that has it."""
    found = (
        operations for pattern, operations in app.openapi()["paths"].items() if compile_path(pattern)[0].match(path)
    )
    return sorted({method.upper() for operations in found for method in operations})


def install(app: FastAPI) -> None:
    """Have an application answer every error so."""

    async def ours(request: Request, error: Exception) -> Json:
        return response(error)

    async def http(request: Request, error: Exception) -> Json:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, (MindSQLError, MemoryError)):
            return response(error.__cause__)  # a body that is too large or too slow, seen while it is read
        answer = plain(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_methods(app, request.url.path)) or answer.headers["Allow"]
        return answer

    async def invalid(request: Request, error: Exception) -> Json:
        assert isinstance(error, RequestValidationError)
        found = [
            {"where": ".".join(map(str, item["loc"][1:] or item["loc"])), "what": item["msg"]}
            for item in error.errors()
        ]
        if any(item["type"] == "json_invalid" for item in error.errors()):
            hint = 'send {"query": "SELECT 1"}' if request.url.path == "/api/sql/query" else None
            return plain(400, "the body is no JSON", hint, {"problems": found})
        first = found[0]
        return plain(422, f"{first['where']}: {first['what']}", details={"problems": found})

    app.add_exception_handler(Error, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
