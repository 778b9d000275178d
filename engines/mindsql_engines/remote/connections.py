"""Owns the pooled connections: each tells which call uses its socket, so that the call can be cut off at any moment,
and looks at the address that it is really connected to."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from mindsql.engine import Network
from mindsql.network import check_address


@dataclass(eq=False)
class Call:
    """One request on its way.

    Attributes:
        network: Where it may go.
        ends: `time.monotonic()` when it must be complete.
        cut: Why it was cut off: empty while it was not.
    """

    network: Network
    ends: float
    cut: str = ""
    _socket: socket.socket | None = field(default=None, repr=False)

    def use(self, sock: socket.socket) -> None:
        """Note the socket that it uses."""
        self._socket = sock
        if self.cut:
            self.abort(self.cut)

    def abort(self, why: str) -> None:
        """Cut it off: whoever waits for the socket wakes up with an error."""
        self.cut = self.cut or why
        sock = self._socket
        if sock is not None:
            with suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_RDWR)


class Calls:
    """The calls on their way, of all threads."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, call: Call) -> None:
        """A thread begins a call."""
        with self._lock:
            self._calls.add(call)
        _CURRENT.call = call

    def end(self, call: Call) -> None:
        """It ended."""
        _CURRENT.call = None
        with self._lock:
            self._calls.discard(call)

    def expire(self) -> None:
        """Cut off those whose time is over: a server that sends a byte now and then never runs into a read timeout."""
        now = time.monotonic()
        with self._lock:
            late = [call for call in self._calls if call.ends < now]
        for call in late:
            call.abort("time")

    def abort(self) -> None:
        """Cut off all."""
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.abort("stop")


_CURRENT = threading.local()
if TYPE_CHECKING:
    # What `_Watched` is mixed into: both kinds of connection have the methods of the plain one.
    _Mixed = HTTPConnection
else:
    _Mixed = object


class _Watched(_Mixed):
    """What both kinds of connection do beside connecting."""

    sock: Any

    def request(self, *args: Any, **kwargs: Any) -> None:
        call: Call | None = getattr(_CURRENT, "call", None)
        if call is not None:
            if self.sock is None:
                self.connect()
            sock: Any = self.sock
            check_address(str(sock.getpeername()[0]), call.network, self.host)
            call.use(sock)
        super().request(*args, **kwargs)


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


def session(size: int = 256) -> requests.Session:
    """A session with pooled connections. Proxies, cookies and .netrc of the environment mean nothing to it."""
    made = requests.Session()
    made.trust_env = False
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=size, max_retries=0, pool_block=False)
    adapter.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made
