"""Owns the short way of one-row predictions: `/models/{name}?column=value&…`, and a posted JSON row.

It takes what it can answer at once, without a framework around it, and leaves everything else to `models`, whose
answers are the same: whatever is unusual about a request, or wrong with it, is found and told there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mindsql.errors import StatementError
from mindsql.schema import Column, is_integer
from mindsql.server.http import forms, training
from mindsql.server.micro_batching import Row
from mindsql.server.principal import Principal, Role
from mindsql.server.service import Service
from mindsql.snapshot import DEFAULT_PROJECT, Version

_PREFIX = "/models/"
_BODY_BYTES = 64 * 1024
_LIST = frozenset({b"*/*", b"application/json"})
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?")
_FAMILIES = frozenset({"number", "text", "boolean"})
_MOST_VERSIONS = 256


class _Route:
    """What the count of requests calls these."""

    path = "/models/{name}"


class Fallback(Exception):
    """The request is one for `models`."""


class FastPath:
    """ASGI application around the application.

    Args:
        app: What answers all else.
        service: Where the models are.
        routes: Further paths of models, to `[project.]name`.
    """

    def __init__(self, app: ASGIApp, service: Service, routes: Mapping[str, str]) -> None:
        self._app = app
        self._service = service
        self._routes = routes
        self._inputs: dict[str, dict[str, tuple[int, Column]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one row, or hand on."""
        seen: list[Message] = []
        try:
            version = self._version(scope)
            row = self._row(version, await self._cells(scope, receive, seen))
        except Fallback:
            await self._app(scope, _again(seen, receive) if seen else receive, send)
            return
        scope["route"] = _Route
        try:
            answer = forms.dumps([await self._service.gatherer.ask(version, row)])
        except StatementError as error:
            raise training.unprocessable(error) from error
        self._service.metrics.rows("http", 1)
        length = str(len(answer)).encode()
        headers = [(b"content-length", length), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _version(self, scope: Scope) -> Version:
        """The version that answers. Raises Unusual."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "POST"):
            raise Fallback
        path: str = scope["path"]
        name = path[len(_PREFIX) :] if path.startswith(_PREFIX) else self._routes.get(path)
        principal: Principal = scope["state"]["principal"]
        if name is None or principal.role < Role.PREDICT:
            raise Fallback
        project, dot, short = name.partition(".")
        snapshot = self._service.root.snapshot()
        model = snapshot.model(project, short) if dot else snapshot.model(DEFAULT_PROJECT, name)
        if model is None or model.active is None:
            raise Fallback
        return model.version()

    async def _cells(self, scope: Scope, receive: Receive, seen: list[Message]) -> Mapping[str, Any]:
        """The columns of the request. Raises Unusual."""
        headers = dict(scope["headers"])
        if headers.get(b"accept", b"*/*") not in _LIST:
            raise Fallback
        if scope["method"] == "GET":
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            cells = dict(pairs)
            if len(cells) != len(pairs):
                raise Fallback  # several rows
            return {name: value or None for name, value in cells.items()}
        length = headers.get(b"content-length", b"")
        kind = headers.get(b"content-type")
        plain = kind == b"application/json" and b"content-encoding" not in headers and not scope["query_string"]
        if not plain or not length.isdigit() or int(length) > _BODY_BYTES:
            raise Fallback
        while not seen or seen[-1].get("more_body", False):
            seen.append(await receive())
        try:
            body = orjson.loads(b"".join(message.get("body", b"") for message in seen))
        except orjson.JSONDecodeError:
            raise Fallback from None
        row = body[0] if isinstance(body, list) and len(body) == 1 else body
        if not isinstance(row, dict):
            raise Fallback
        return row

    def _row(self, version: Version, cells: Mapping[str, Any]) -> Row:
        """The inputs in their order. Raises Unusual."""
        inputs = self._inputs.get(version.id)
        if inputs is None:
            odd = any(c.family not in _FAMILIES or c.name.startswith("_") for c in version.inputs)
            if odd or version.settings.get("order_by"):
                raise Fallback
            if len(self._inputs) >= _MOST_VERSIONS:
                self._inputs.clear()
            inputs = {column.name: (place, column) for place, column in enumerate(version.inputs)}
            self._inputs[version.id] = inputs
        if len(cells) != len(inputs) or not inputs:
            raise Fallback
        row: list[Any] = [None] * len(inputs)
        for name, value in cells.items():
            found = inputs.get(name)
            if found is None:
                raise Fallback
            row[found[0]] = _cell(value, found[1])
        return tuple(row)


def _cell(value: Any, column: Column) -> Any:
    """A value as the type that `inputs.fit` gives it. Raises Unusual when that takes a second look."""
    if value is None:
        return None
    kind, family = type(value), column.family
    if family == "number":
        if kind is float or (kind is int and -(2**63) <= value < 2**63):
            return value
        if kind is str and is_integer(column.type) and _INTEGER.fullmatch(value):
            return int(value)
        if kind is str and _NUMBER.fullmatch(value):
            return float(value)
    elif (family == "text" and kind is str) or (family == "boolean" and kind is bool):
        return value
    elif family == "boolean" and value in ("true", "false"):
        return value == "true"
    raise Fallback


def _again(seen: list[Message], receive: Receive) -> Receive:
    """What was read of a body, to be read again."""
    left = iter(seen)

    async def again() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return again
