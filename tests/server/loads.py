"""Owns load on a server: many requests over many connections, clients that vanish, and what the process then holds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests


@dataclass(frozen=True)
class Holdings:
    """What a process holds.

    Attributes:
        megabytes: Its resident memory.
        threads, files, children: How many of them.
    """

    megabytes: float
    threads: int
    files: int
    children: int

    @classmethod
    def of(cls, pid: int) -> Holdings:
        """What it holds now."""
        process = Path(f"/proc/{pid}")
        found = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
        tasks = list((process / "task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        return cls(
            int(found[1]) / 1024 if found else 0.0,
            len(tasks),
            len(list((process / "fd").iterdir())),
            len(children),
        )


@dataclass
class Answers:
    """What came back.

    Attributes:
        seconds: The time of each request.
        statuses: How often each status came.
        bodies: The bodies, by the request's number; kept when asked for.
        total: Seconds of it all.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    total: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.total

    def quantile(self, share: float) -> float:
        """The time within which so many of the requests were answered."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def get(url: str, path: str) -> bytes:
    """A GET request as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()


def post(url: str, path: str, body: object, accept: str = "application/json") -> bytes:
    """A POST of JSON as it is sent."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAccept: {accept}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def statement(url: str, sql: str, params: object = None, accept: str = "application/json") -> bytes:
    """A statement as it is sent."""
    return post(url, "/api/sql/query", {"query": sql, "params": params}, accept)


class _Connection(asyncio.Protocol):
    """One connection that sends the next request as soon as it has the answer to the last."""

    def __init__(self, messages: Iterator[tuple[int, bytes]], answers: Answers, keep: bool) -> None:
        self._messages = messages
        self._answers = answers
        self._keep = keep
        self._received = bytearray()
        self._number = 0
        self._begin = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        following = next(self._messages, None)
        if following is None:
            self._transport.close()
            return
        self._number, message = following
        self._begin = time.perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        # Only answers of a known length are asked for here: whatever is small has one.
        at = self._received.lower().find(b"content-length:", 0, head)
        end = head + 4 + int(self._received[at + 15 : self._received.index(b"\r\n", at)])
        if len(self._received) < end:
            return
        answers = self._answers
        answers.seconds.append(time.perf_counter() - self._begin)
        status = int(self._received[9:12])
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if self._keep:
            answers.bodies[self._number] = bytes(self._received[head + 4 : end])
        del self._received[:end]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def many(url: str, messages: Sequence[bytes], connections: int, keep: bool = False) -> Answers:
    """Send requests over so many connections that stay open, each connection one after the other."""
    answers = Answers()
    host, port = _address(url)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        numbered = iter(enumerate(messages))
        begin = time.perf_counter()
        opened = [
            await loop.create_connection(lambda: _Connection(numbered, answers, keep), host, port)
            for _ in range(connections)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in opened))
        answers.total = time.perf_counter() - begin

    asyncio.run(run())
    return answers


def vanish(url: str, message: Callable[[int], bytes], count: int, seed: int = 0) -> None:
    """Clients that send a request, wait a moment, perhaps read a little, and are gone as killed processes are."""
    chance = random.Random(seed)
    for number in range(count):
        with socket.create_connection(_address(url), timeout=30) as client:
            client.sendall(message(number))
            time.sleep(chance.choice([0, 0, 0.002, 0.01]))
            if chance.random() < 0.3:
                client.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    client.recv(1024)
            # Closed so, the kernel sends a reset, as it does for a process that is killed with unread data.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def idle(url: str, count: int) -> list[socket.socket]:
    """Connections that ask once and then stay silent; the caller closes them."""
    clients = [socket.create_connection(_address(url), timeout=30) for _ in range(count)]
    for client in clients:
        client.sendall(get(url, "/health"))
    for client in clients:
        client.recv(4096)
    return clients


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port


class Writers:
    """Clients that write until the server dies under them, and know what it said yes to.

    Attributes:
        rows: The numbers whose INSERT was answered.
        models: The models whose CREATE MODEL was answered.
    """

    def __init__(self, url: str, round: int) -> None:
        self.rows: list[int] = []
        self.models: list[str] = []
        self._url = url
        self._round = round
        calls = (self._insert, self._insert, self._train)
        self._threads = [threading.Thread(target=self._run, args=(call, n)) for n, call in enumerate(calls)]
        for thread in self._threads:
            thread.start()

    def _run(self, call: Callable[[int], None], writer: int) -> None:
        for number in itertools.count(self._round * 10_000_000 + writer * 1_000_000):
            try:
                call(number)
            except OSError:
                return

    def _insert(self, number: int) -> None:
        self._say(f"INSERT INTO written SELECT i FROM range({number}, {number} + 1) r(i)")
        self.rows.append(number)

    def _train(self, number: int) -> None:
        name = f"m{number}"
        self._say(
            f"CREATE MODEL {name} FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'LinearRegression'"
        )
        self.models.append(name)

    def _say(self, sql: str) -> None:
        answer = requests.post(f"{self._url}/api/sql/query", json={"query": sql}, timeout=60)
        assert answer.status_code == 200, answer.text

    def have(self, rows: int, models: int) -> bool:
        """Whether so much has been written."""
        return len(self.rows) >= rows and len(self.models) >= models

    def join(self) -> None:
        """Wait until they have noticed."""
        for thread in self._threads:
            thread.join()
