"""Owns what every HTTP request passes: its host, its token, the size and the pace of its body, and the count of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mindsql.errors import AccessError, AuthenticationError, TooLargeError, TooSlowError
from mindsql.server.http import errors
from mindsql.server.metrics import Metrics
from mindsql.server.options import LOOPBACK
from mindsql.server.principal import LOCAL, NOBODY, Principal
from mindsql.server.service import Service

OPEN_PATHS = frozenset({"/health", "/api/status", "/api/login", "/cloud/login"})
"""What needs no token."""
BODY_SECONDS = 30.0
"""How long the next piece of a body may take to come, and how late a body may be by `BYTES_PER_SECOND`."""
BYTES_PER_SECOND = 16 * 1024
"""A body that comes more slowly than that on the whole is not waited for."""
_SMALL = 4 * 1024
"""The largest body of a request without a token, which is one to log in."""
_STATEMENT = 16 * 1024 * 1024
"""The largest body with a statement or a token in it; rows may be larger."""


class AuthMiddleware:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, service: Service, metrics: Metrics) -> None:
        self.app = app
        self.service = service
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check_origin(headers, scope["scheme"])
            scope.setdefault("state", {})["principal"] = principal = self._who(scope, headers)
            self.service.tokens.limits.spend(principal)
            most = self._most(scope["path"], principal)
            length = headers.get("content-length")
            if length is not None and int(length) > most:
                raise _too_large(most)
            await self.app(scope, _limited(receive, most), counted)
        except ClientDisconnect:
            pass
        except Exception as error:  # the last place where an error can still be an answer
            if status:
                raise  # half an answer is out: break it off
            answer = errors.response(error)
            if answer.status_code == 401 and "text/html" in Headers(scope=scope).get("accept", ""):
                answer.headers["WWW-Authenticate"] = 'Basic realm="MindSQL: any name, a token as password"'
            await answer(scope, receive, counted)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            seconds = time.perf_counter() - begin
            self.metrics.request(path, scope["method"], status, seconds)
            who = scope.get("state", {}).get("principal")
            self.service.audit.request(who, scope["method"], scope["path"], status, seconds)

    # Who ----------------------------------------------------------------------------------------------------

    def _who(self, scope: Scope, headers: Headers) -> Principal:
        service = self.service
        if not service.options.auth or not service.tokens.any():
            return LOCAL
        if scope["path"] in OPEN_PATHS:
            return NOBODY
        secret = headers.get("x-api-key")
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            secret = bearer.strip()
        elif scheme.lower() == "basic":  # what a browser can send: any name, the token as password
            with contextlib.suppress(ValueError):
                secret = base64.b64decode(bearer).decode().partition(":")[2]
        client = scope["client"][0] if scope.get("client") else ""
        if not secret:
            raise AuthenticationError(
                "a token is needed", hint="send it as the header Authorization: Bearer <token>; mindsql token makes one"
            )
        return service.tokens.authenticate(secret, client)

    def _check_origin(self, headers: Headers, scheme: str) -> None:
        """A page in a browser must not use a server that trusts whoever reaches it."""
        options = self.service.options
        host = _name(headers.get("host", ""))
        known = {*LOOPBACK, options.host, *options.names}
        anywhere = options.host in ("0.0.0.0", "::")
        if not host or (host not in known and not (anywhere and self.service.tokens.any() and options.auth)):
            raise AccessError(f"this server is not known as {host!r}", hint="start it with --name for that host name")
        origin = headers.get("origin")
        own = {_origin(f"{scheme}://{headers.get('host', '')}")}
        own |= {("https", name, 443) for name in options.names if name == host}  # a proxy in front may end TLS
        if origin is not None and _origin(origin) not in own:
            raise AccessError("a page of another origin may not use this server")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise AccessError("a page of another site may not use this server")

    # How much -----------------------------------------------------------------------------------------------

    def _most(self, path: str, principal: Principal) -> int:
        most = min(self.service.options.body_bytes, principal.body_bytes or self.service.options.body_bytes)
        if path in OPEN_PATHS:
            return min(most, _SMALL)
        return min(most, _STATEMENT) if path.startswith(("/api/sql/", "/tokens")) else most


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"the body is larger than {most} bytes",
        hint="send it in parts, or have the server started with a greater --max-body",
    )


def _limited(receive: Receive, most: int) -> Receive:
    """The body, as long as it comes and is not too large."""
    begin, total, over = time.monotonic(), 0, False

    async def limited() -> Message:
        nonlocal total, over
        if over:
            return await receive()
        left = begin + BODY_SECONDS + total / BYTES_PER_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(BODY_SECONDS, left)))
        except TimeoutError:
            raise TooSlowError("the body comes too slowly", hint="send it again over a faster connection") from None
        total += len(message.get("body", b""))
        over = not message.get("more_body", False)
        if total > most:
            raise _too_large(most)
        return message

    return limited


def _origin(text: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of `http://localhost:8000`."""
    try:
        parts = urlsplit(text)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return text, "", None


def _name(netloc: str) -> str:
    """`localhost` of `localhost:8000`, `::1` of `[::1]:8000`."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""
