"""Runs a server for a long time under clients of every kind, and kills one again and again; prints what it saw.

    python -m tests.server.soak load --seconds 600 --clients 32
    python -m tests.server.soak kills --times 200

Each answer is checked by its content: a model's by the versions that can have given it, a count by what was written.
The exit status is 1 when one was wrong, when an acknowledged write is lost, or when memory, files or the log before the
database (WAL) have grown.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
import requests

import mindsql
from tests.server.conftest import Served, serving
from tests.server.loads import Holdings, Writers

FLATS = "CREATE TABLE flats AS SELECT i AS sqft, i * {factor}.0::DOUBLE AS rent FROM range(1, 400) r(i)"
TRAIN = "(SELECT sqft, sqft * {factor}.0::DOUBLE AS rent FROM flats) PREDICT rent USING estimator = 'LinearRegression'"


class Load:
    """Clients that do one thing after the other, chosen by lot.

    Attributes:
        done: How often each thing was done.
        refused: Answers that a busy server may give, such as 503.
        wrong: What was not as it should be.
    """

    def __init__(self, served: Served, clients: int, seed: int) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._served = served
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._factors = [1]  # of the versions that were trained; the last may be on its way
        self._written = 0
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        self._threads.append(threading.Thread(target=self._trainer))

    def run(self, seconds: float) -> list[tuple[Holdings, int]]:
        """Let them work, and look every five seconds at what the server holds and at its WAL."""
        for thread in self._threads:
            thread.start()
        seen = []
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.wrong:
            time.sleep(5)
            wal = self._served.file.with_name(self._served.file.name + ".wal")
            seen.append((Holdings.of(self._served.process.pid), wal.stat().st_size if wal.exists() else 0))
            if len(seen) % 12 == 1:
                print(f"{seen[-1]} {dict(self.done)} {dict(self.refused)}", flush=True)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        counted = self._rows("SELECT count(*) FROM written", requests.Session())
        if counted != [[self._written]]:
            self.wrong.append(f"{self._written} rows were written, and {counted} are there")
        return seen

    def _client(self, number: int) -> None:
        lot, http = random.Random(self._seed + number), requests.Session()
        things: list[Callable[[random.Random, requests.Session, int], None]] = [
            self._one, self._one, self._many, self._rest, self._rest, self._mysql, self._write, self._own,
            self._session, self._vanish, self._checkpoint,
        ]  # fmt: skip
        while not self._stop.is_set():
            thing = lot.choice(things)
            try:
                thing(lot, http, number)
                with self._lock:
                    self.done[thing.__name__] += 1
            except _Refused as refused:
                with self._lock:
                    self.refused[str(refused)] += 1
            except Exception as error:  # whatever a client meets is what the run is for: it is reported, and ends it
                self.wrong.append(f"{thing.__name__}: {type(error).__name__}: {error}")
                return

    def _trainer(self) -> None:
        """RETRAINs the model: from then on it answers with another factor."""
        http = requests.Session()
        while not self._stop.wait(1.0):
            factor = self._factors[-1] + 1
            self._factors.append(factor)
            try:
                self._rows(f"RETRAIN rent FROM {TRAIN.format(factor=factor)}", http)
            except _Refused as refused:
                self.wrong.append(f"RETRAIN: {refused}")
            # Versions that are no longer asked for go, as an owner would have it.
            if factor % 20 == 0:
                for old in range(max(1, factor - 30), factor - 10):
                    with contextlib.suppress(_Refused):
                        self._rows(f"DROP MODEL rent.{old}", http)
            with self._lock:
                self.done["retrain"] += 1

    def _one(self, lot: random.Random, http: requests.Session, number: int) -> None:
        before, sqft = len(self._factors), lot.randint(1, 399)
        ((rent,),) = self._rows(f"SELECT rent FROM rent WHERE sqft = {sqft}", http)
        self._check(rent / sqft, before)

    def _many(self, lot: random.Random, http: requests.Session, number: int) -> None:
        before = len(self._factors)
        ((low, high, count),) = self._rows(
            "SELECT min(m.rent / t.sqft), max(m.rent / t.sqft), count(*) FROM flats AS t JOIN rent AS m", http
        )
        assert count == 399, count
        assert abs(low - high) < 1e-6, f"two versions in one answer: {low}, {high}"
        self._check(low, before)

    def _rest(self, lot: random.Random, http: requests.Session, number: int) -> None:
        before, sqft = len(self._factors), lot.randint(1, 399)
        answer = self._ask(http, "GET", f"/models/rent?sqft={sqft}")
        self._check(answer[0] / sqft, before)

    def _mysql(self, lot: random.Random, http: requests.Session, number: int) -> None:
        before, sqft = len(self._factors), lot.randint(1, 399)
        with contextlib.closing(
            pymysql.connect(host="127.0.0.1", port=self._served.mysql_port, user="u", read_timeout=60)
        ) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT rent FROM rent WHERE sqft = %s", (sqft,))
            self._check(cursor.fetchall()[0][0] / sqft, before)

    def _write(self, lot: random.Random, http: requests.Session, number: int) -> None:
        self._rows(f"INSERT INTO written VALUES ({number})", http)
        with self._lock:
            self._written += 1

    def _own(self, lot: random.Random, http: requests.Session, number: int) -> None:
        factor = lot.randint(2, 9)
        self._rows(f"CREATE OR REPLACE MODEL own_{number} FROM {TRAIN.format(factor=factor)}", http)
        ((rent,),) = self._rows(f"SELECT rent FROM own_{number} WHERE sqft = 100", http)
        assert abs(rent - 100 * factor) < 1e-6, rent
        if lot.random() < 0.5:
            self._rows(f"DROP MODEL own_{number}", http)

    def _session(self, lot: random.Random, http: requests.Session, number: int) -> None:
        session = self._ask(http, "POST", "/api/sql/sessions")["session"]
        headers = {"Mindsql-Session": session}
        self._rows(f"CREATE TEMP TABLE t AS SELECT {number} AS n", http, headers)
        if self._rows("SELECT n FROM t", http, headers) != [[number]]:
            raise AssertionError("another session's table")
        self._ask(http, "DELETE", f"/api/sql/sessions/{session}")

    def _vanish(self, lot: random.Random, http: requests.Session, number: int) -> None:
        sql = lot.choice(
            [
                f"CREATE MODEL gone_{number}_{lot.randint(0, 10**9)} FROM {TRAIN.format(factor=2)}, test_size = 0",
                "SELECT sum(a.sqft * b.sqft) FROM flats a, flats b, range(200)",
                "SELECT * FROM flats JOIN rent, range(1000)",
            ]
        )
        body = json.dumps({"query": sql}).encode()
        head = f"POST /api/sql/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        host, port = self._served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            time.sleep(lot.random() * 0.1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _checkpoint(self, lot: random.Random, http: requests.Session, number: int) -> None:
        if lot.random() < 0.1:
            self._rows("CHECKPOINT", http)

    def _check(self, factor: float, before: int) -> None:
        """A factor of a version that was there when it was asked for, or came while it was answered."""
        possible = self._factors[max(0, before - 2) :]
        assert any(abs(factor - each) < 1e-6 for each in possible), f"{factor} is none of {possible}"

    def _rows(self, sql: str, http: requests.Session, headers: dict[str, str] | None = None) -> list[Any]:
        return list(self._ask(http, "POST", "/api/sql/query", {"query": sql}, headers).get("data") or [])

    def _ask(
        self, http: requests.Session, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        answer = http.request(method, self._served.url + path, json=body, headers=headers, timeout=120)
        if answer.status_code in (409, 429, 503):
            raise _Refused(f"{answer.status_code} {answer.json().get('error_message', '')[:60]}")
        assert answer.status_code < 300, f"{answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None


class _Refused(Exception):
    """What a busy server may say: a conflict, too many, no room."""


def load(folder: Path, seconds: float, clients: int, seed: int) -> list[str]:
    """Run the clients. Returns what was wrong."""
    with serving(folder, "--sessions", "4000") as served:
        served.rows(FLATS.format(factor=1))
        served.rows("CREATE TABLE written (n INTEGER)")
        served.rows(f"CREATE MODEL rent FROM {TRAIN.format(factor=1)}")
        run = Load(served, clients, seed)
        seen = run.run(seconds)
        print(f"done {dict(run.done)}\nrefused {dict(run.refused)}")
        wrong = run.wrong
        at_work = served.rows("SELECT name, status FROM information_schema.models WHERE status <> 'complete'")
        wrong += [f"left behind: {each}" for each in at_work]
        if wrong or len(seen) < 8:
            return wrong
        half = len(seen) // 2
        for name, of, slack in (
            ("megabytes", lambda each: each[0].megabytes, 60.0),
            ("files", lambda each: each[0].files, 2.0 * clients),
            ("threads", lambda each: each[0].threads, 2.0 * clients),
            ("WAL bytes", lambda each: each[1], 64e6),
        ):
            first, last = max(map(of, seen[half // 2 : half])), max(map(of, seen[half:]))
            print(f"{name}: at most {first:g} in the second quarter, {last:g} in the second half")
            if last > first * 1.1 + slack:
                wrong.append(f"{name} grew from {first:g} to {last:g}")
        return wrong


def kills(folder: Path, times: int) -> list[str]:
    """Kill a server that is written to, again and again. Returns what was lost."""
    rows: set[int] = set()
    models: set[str] = set()
    wrong: list[str] = []
    lot = random.Random(0)
    for number in range(times):
        with serving(folder, "--no-mysql") as served:
            if number == 0:
                served.rows("CREATE TABLE written (n BIGINT)")
                served.rows(FLATS.format(factor=2))
            writers = Writers(served.url, number)
            until = time.monotonic() + 60
            while number % 2 and not writers.models and time.monotonic() < until:
                time.sleep(0.05)  # the first training of a process takes seconds
            time.sleep(lot.random())
            served.process.send_signal(signal.SIGKILL)
            writers.join()
            rows.update(writers.rows)
            models.update(writers.models)
        with mindsql.connect(str(folder / "shop.duckdb")) as con:
            there = {row for (row,) in con.execute("SELECT n FROM written").fetchall()}
            complete = con.execute("SELECT name FROM information_schema.models WHERE status = 'complete'").fetchall()
            wrong += [f"round {number}: the row {row} is lost" for row in rows - there]
            wrong += [f"round {number}: the model {name} is lost" for name in models - {name for (name,) in complete}]
            for name in writers.models[-1:]:
                if con.execute(f"SELECT round(rent) FROM {name} WHERE sqft = 10").fetchall() != [(20.0,)]:
                    wrong.append(f"round {number}: the model {name} answers wrongly")
            for (name,) in con.execute("SELECT name FROM information_schema.models LIMIT 20").fetchall():
                if len(models) > 100:
                    con.execute(f"DROP MODEL {name}")
                    models.discard(name)
    print(f"{times} kills, {len(rows)} rows and {len(models)} models acknowledged, {len(wrong)} lost")
    return wrong


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.soak", description=__doc__)
    parser.add_argument("what", choices=["load", "kills"])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrong = (
            load(folder, given.seconds, given.clients, given.seed)
            if given.what == "load"
            else kills(folder, given.times)
        )
        log = (folder / "server.log").read_text()
    wrong += [f"in the server's log: {line}" for line in log.splitlines() if "Traceback" in line]
    print("\n".join(wrong[:20]) or "nothing was wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
