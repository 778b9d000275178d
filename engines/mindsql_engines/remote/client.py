"""Owns one request: sent with its timeouts, tried again while that makes sense, answered with bytes or an error."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from mindsql.engine import Context
from mindsql.errors import Cancelled, DataError
from mindsql_engines.remote import failures, hosts
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.settings import Settings

if TYPE_CHECKING:
    import requests

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
_REDIRECTS = 3


@dataclass(frozen=True)
class _Request:
    """What to send; `Client.request` says what each means."""

    method: str
    url: str
    body: bytes | IO[bytes] | None
    content_type: str | None
    headers: Mapping[str, str]
    timeout: float
    most: int | None


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body as JSON. Raises RequestError."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            words = failures.spoken(self.content)
            raise RequestError(
                f"{failures.shown(self.url)} answered {self.status} with something that is no JSON: {words[:200]}",
                status=self.status,
                hint="is it the URL of a model?",
            ) from error


def dumps(payload: Any) -> bytes:
    """JSON as every server reads it. NaN and infinity have no place in it: raises DataError."""
    try:
        return json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"a value cannot be sent as JSON: {error}") from error


class Client:
    """Sends requests for one statement; threads may share it.

    Args:
        settings: How to talk to the server.
        home: The URL that key and headers were given for; they go to its origin alone.
        context: The statement.
        session: Pooled connections, shared by the statements of one model; made when not given.
    """

    def __init__(
        self, settings: Settings, home: str, context: Context, session: requests.Session | None = None
    ) -> None:
        from mindsql_engines.remote import connections

        self.settings = settings
        self.context = context
        context.polls = True
        self.calls = connections.Calls()
        self._call = connections.Call
        self._session = session or connections.session(settings.concurrency)
        self._origin = hosts.origin(home)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._pause = 0.0
        self._down = False

    def stop(self) -> None:
        """End all that is on its way, from another thread."""
        self._stop.set()
        self.calls.abort()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop, or its statement was."""
        return self._stop.is_set() or self.context.stopped()

    def post(self, url: str, payload: Any, **keywords: Any) -> Reply:
        """POST JSON. See `request`."""
        return self.request("POST", url, dumps(payload), "application/json", **keywords)

    def request(
        self,
        method: str,
        url: str,
        body: bytes | IO[bytes] | None = None,
        content_type: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retry_rows: bool = True,
        accept: Callable[[int], bool] = lambda status: 200 <= status < 300,
        most: int | None = None,
    ) -> Reply:
        """Send a request, again and again while it may help.

        Args:
            method, url, body, content_type: What to send; a file is sent as it lies there.
            headers: Further headers.
            timeout: Seconds for one whole answer, instead of the settings'.
            retry_rows: Whether to try again after a 500, which rows may be the reason of.
            accept: Which statuses are answers.
            most: The most bytes that the answer may have.

        Raises:
            RequestError: It failed for good.
            Cancelled: The statement was stopped.
        """
        hosts.check_url(url, self.context.network)
        settings = self.settings
        sent = _Request(method, url, body, content_type, headers or {}, timeout or settings.timeout, most)
        waited, tries, told = 0.0, 0, 0
        while True:
            self._wait(self._pause - time.monotonic(), waited)
            wait: float | None = None
            try:
                reply = self._follow(sent)
            except RequestError as failure:
                error, again = failure, failure.status is None
            else:
                if accept(reply.status):
                    self._down = False
                    return reply
                error = failures.of_status(
                    url, reply.status, _reason(reply.status), reply.content, reply.headers.get("Location")
                )
                again = reply.status in failures.RETRIED and (retry_rows or reply.status != 500)
                wait = failures.told_wait(reply.headers, reply.content, time.time()) if again else None
            if not again:
                raise error
            if wait is not None:
                told += 1
                wait = max(0.05, wait)
                if waited + wait > settings.max_wait:
                    raise RequestError(
                        f"{error.message}; it asks to wait {wait:g} s",
                        status=error.status,
                        hint=f"max_wait is {settings.max_wait:g} s: raise it, or ask later",
                    )
                self._pause = max(self._pause, time.monotonic() + wait)
                waited += wait
            elif tries >= settings.retries or self._down:
                self._down = True
                if tries:
                    error.message += f" (tried {tries + 1} times)"
                raise error
            else:
                pause = min(_LONGEST_WAIT, _FIRST_WAIT * 2**tries) * (0.5 + random.random())
                tries += 1
                self._wait(min(pause, max(0.0, settings.max_wait - waited)), waited)
                waited += pause
            self.count("retries")

    def _wait(self, seconds: float, waited: float) -> None:
        """Wait, and notice within a moment that there is no need to."""
        ends = time.monotonic() + seconds
        while True:
            if self.stopped:
                raise Cancelled("the statement was stopped")
            self.check_limit()
            left = ends - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, 0.1))

    def check_limit(self) -> None:
        """Raise RequestError when the statement's time is over."""
        limit = self.settings.time_limit
        if limit is not None and time.monotonic() - self.context.started > limit:
            raise RequestError(
                f"the requests of this statement took longer than {limit:g} s", hint="raise time_limit"
            )

    def _follow(self, request: _Request) -> Reply:
        """Send it, and after a redirect within the origin send it there."""
        from urllib.parse import urljoin

        for _ in range(_REDIRECTS):
            reply = self._send(request)
            location = reply.headers.get("Location")
            if reply.status not in (307, 308) or not location:
                return reply
            target = urljoin(request.url, location)
            if hosts.origin(target) != hosts.origin(request.url):
                return reply
            request = replace(request, url=target)
        return reply

    def _send(self, request: _Request) -> Reply:
        import requests

        settings, url, body = self.settings, request.url, request.body
        limit = settings.time_limit
        ends = time.monotonic() + request.timeout
        if limit is not None:
            ends = min(ends, self.context.started + limit)
        sent = {"User-Agent": "mindsql", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        if hosts.origin(url) == self._origin:
            sent.update({str(key): str(value) for key, value in settings.headers.items()})
            if settings.api_key:
                sent["Authorization"] = f"Bearer {settings.api_key}"
        sent.update(request.headers)
        if request.content_type is not None:
            sent["Content-Type"] = request.content_type
        size = len(body) if isinstance(body, bytes) else 0
        if body is not None and not isinstance(body, bytes):
            size = body.seek(0, 2)
            body.seek(0)
        call = self._call(self.context.network, ends)
        self.calls.begin(call)
        try:
            if self.stopped:
                raise Cancelled("the statement was stopped")
            self.count("requests")
            with self._session.request(
                request.method,
                url,
                data=body,
                headers=sent,
                timeout=(min(settings.connect_timeout, request.timeout), request.timeout),
                allow_redirects=False,
                verify=settings.verify_ssl,
                stream=True,
            ) as answer:
                content = _content(answer, request.most, url)
            self.count("bytes", size + len(content))
            return Reply(url, answer.status_code, answer.headers, content)
        except (requests.RequestException, OSError, ValueError) as error:
            if isinstance(error, RequestError):
                raise
            if call.cut == "stop" or self.stopped:
                raise Cancelled("the statement was stopped") from error
            self.check_limit()
            raise _translated(error, url, request.timeout, call.cut == "time") from error
        finally:
            self.calls.end(call)

    def count(self, name: str, more: int = 1) -> None:
        """Add to the statement's counts."""
        with self._lock:
            counts = self.context.counts
            counts[name] = counts.get(name, 0) + more


class TooLarge(RequestError):
    """An answer has more bytes than allowed."""


def _content(answer: requests.Response, most: int | None, url: str) -> bytes:
    if most is None:
        return answer.content
    parts, size = [], 0
    for part in answer.iter_content(65536):
        size += len(part)
        if size > most:
            raise TooLarge(f"{failures.shown(url)} has more than {most} bytes", status=answer.status_code)
        parts.append(part)
    return b"".join(parts)


def _translated(error: Exception, url: str, timeout: float, late: bool) -> RequestError:
    import requests

    name = failures.shown(url)
    if late or isinstance(error, requests.Timeout):
        return RequestError(f"{name} gave no complete answer within {timeout:g} s", hint="raise timeout")
    if isinstance(error, requests.exceptions.SSLError):
        return RequestError(
            f"{name} has a certificate that cannot be checked: {_cause(error)}",
            status=0,
            hint="verify_ssl = false takes it unchecked",
        )
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, OSError)):
        return RequestError(
            f"{name} cannot be reached, or broke off: {_cause(error)}", hint="is the server running?"
        )
    return RequestError(f"{name} cannot be asked: {_cause(error)}", status=0)


def _cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's wrapping and the addresses of objects."""
    while error.__context__ is not None and not isinstance(error, OSError | ValueError):
        error = error.__context__
    inner = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        following = inner.__cause__ or inner.__context__
        if following is None:
            break
        inner = following
    return f"{type(inner).__name__}: {inner}"[:200]


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
