"""Owns a server in this process: a function answers each request, every request is recorded, faults are scripted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to send back.

    Attributes:
        body: JSON, or bytes as they are.
        cut: Send only so many bytes of it, then close the connection.
        delay: Seconds to wait before the status line.
        drip: Seconds to wait after each byte of the body.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    delay: float = 0.0
    drip: float = 0.0


Script = Callable[[Request], Any]


class Server:
    """A server on loopback; use it as a context manager.

    Args:
        answer: Called for each request, in a thread of its own; gives an Answer, or the JSON of one with status 200.
    """

    def __init__(self, answer: Script, port: int = 0) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server._open.add(self.connection)

            def finish(self) -> None:
                server._open.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def _any(self) -> None:
                request = Request(self.command, self.path, dict(self.headers.items()), self._body())
                with server._lock:
                    server.requests.append(request)
                    server._now += 1
                    server.most_at_once = max(server.most_at_once, server._now)
                try:
                    found = server.answer(request)
                finally:
                    with server._lock:
                        server._now -= 1
                self._send(found if isinstance(found, Answer) else Answer(found))

            do_GET = do_POST = do_PUT = _any

            def _body(self) -> bytes:
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    parts = []
                    while size := int(self.rfile.readline(), 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _send(self, found: Answer) -> None:
                time.sleep(found.delay)
                body = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
                self.send_response(found.status)
                headers = {"Content-Type": "application/json", **found.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if found.drip:
                    for i in range(len(body)):
                        self.wfile.write(body[i : i + 1])
                        time.sleep(found.drip)
                elif found.cut is not None:
                    self.wfile.write(body[: found.cut])
                    self.close_connection = True
                else:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop at once, connections included."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *given: Any) -> None:
        self.close()


def in_turn(*answers: Any, then: Any = None) -> Script:
    """A script: these answers one after the other, the last (or `then`) for ever."""
    lock = threading.Lock()
    rest: Iterator[Any] = iter(answers)
    last = [then if then is not None else answers[-1]]

    def answer(request: Request) -> Any:
        with lock:
            found = next(rest, last[0])
        return found(request) if callable(found) else found

    return answer
