"""Owns the one open database of a server: its sessions, the threads that run their statements, and their time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from mindsql.connection import Connection, connect
from mindsql.errors import (
    AccessError,
    AuthenticationError,
    Cancelled,
    LimitError,
    MindSQLError,
    TimeLimitError,
)
from mindsql.parameters import Parameters
from mindsql.result import Result
from mindsql.sandbox import Sandbox
from mindsql.server import access
from mindsql.server.audit import Audit
from mindsql.server.metrics import Metrics
from mindsql.server.micro_batching import MicroBatcher
from mindsql.server.options import ServeOptions
from mindsql.server.principal import LOCAL, Principal, Role
from mindsql.server.tokens import Tokens
from mindsql.server.workers import Workers
from mindsql.settings import Settings

T = TypeVar("T")
log = logging.getLogger("mindsql.server")

_WATCH_SECONDS = 0.1
_STOP_SECONDS = 0.02
_STOP_PATIENCE = 5.0
_LAST_SECONDS = 2.0
"""How long a stop waits for the workers after it has interrupted what runs."""
_GIVE_UP = 5.0
"""How long after its time limit a statement is given up that no interrupt stops."""


class RemoteSession:
    """One client: a connection of its own, and who it is.

    Attributes:
        id: The number that KILL and the log know it by.
        statement: The text that runs, None between statements.
        used: When it last began or ended a statement, in seconds of `time.monotonic`.
        seconds: The time limit of its statements, None for none.
        thread: The worker that runs it.
        began: When that began; None between statements.
        rows: How many rows it has given so far.
        clean: Whether nothing it ran can have left a trace in its connection, so that another may use it.
    """

    def __init__(self, service: Service, number: int, principal: Principal, door: str) -> None:
        self.id = number
        self.principal = principal
        self.door = door
        self.connection: Connection = service.take_connection()
        access.enter(self.connection, principal)
        self.statement: str | None = None
        self.used = time.monotonic()
        self.seconds = service.options.seconds
        self.clean = True
        self.deadline: float | None = None
        self.thread: int | None = None
        self.began: float | None = None
        self.rows = 0
        self._service = service
        self._late = False
        self._closed = False

    def execute(self, sql: str, parameters: Parameters = None, *, arrow: bool = False) -> Result:
        """As `Connection.execute`, for this principal; the result must be read before the next. Blocks: call it in a
        worker.

        Raises:
            AccessError: The principal may not.
            TimeLimitError: It took too long.
            MindSQLError: What `Connection.execute` raises.
        """
        service = self._service
        service.tokens.check(self.principal)
        if sql.endswith(";;"):
            sql = sql.rstrip("; \t\r\n")  # a million of them would be read one by one
        self.begin(sql)
        self.thread = threading.get_ident()
        try:
            needs = access.check(self.connection, sql, self.principal, self._on_time)
        except AccessError as refused:
            service.audit.write(self.principal, self.door, sql, refused)
            raise
        self.clean = self.clean and not needs.stays
        error: MindSQLError | None = None
        try:
            return self.connection.execute(sql, parameters, arrow=arrow)
        except MindSQLError as raised:
            error = self.cause(raised)
            if error is raised:
                raise
            raise error from raised
        finally:
            if error is not None:
                self.end()
            if needs.role >= Role.WRITE:
                service.audit.write(self.principal, self.door, sql, error)

    def _on_time(self) -> None:
        """Raises TimeLimitError when the statement's time is over."""
        if self._late or (self.deadline is not None and time.monotonic() > self.deadline):
            raise self._too_long()

    def _too_long(self) -> TimeLimitError:
        return TimeLimitError(
            f"the statement took longer than {self.seconds:g} seconds",
            hint="ask for less, or have the server started with a greater --timeout",
        )

    def count(self) -> None:
        """Count a request of a door that has no gate. Raises LimitError, and AuthenticationError for who came when the
        server asked nobody for a token, and it does by now."""
        service = self._service
        if self.principal is LOCAL and service.options.auth and service.tokens.any():
            raise AuthenticationError("the server asks for a token by now", hint="connect anew, with one as password")
        self._service.tokens.limits.spend(self.principal)

    def begin(self, what: str) -> None:
        """Start the clock of a statement, or of work that is not one statement."""
        now = time.monotonic()
        self.used = now
        self.statement = what
        self._late = False
        self.deadline = None if self.seconds is None else now + self.seconds
        if self.began is None:
            self.began, self.rows = now, 0

    def sent(self, rows: int) -> None:
        """Count rows that went to the client."""
        self.rows += rows
        self._service.metrics.rows(self.door, rows)

    def end(self) -> None:
        """Stop the clock: the result has been read."""
        if self.began is not None and self.statement is not None:
            seconds = time.monotonic() - self.began
            self._service.audit.statement(self.principal, self.door, self.statement, seconds, self.rows)
        self.began = None
        self.statement = None
        self.deadline = None
        self.thread = None
        self.used = time.monotonic()

    def cause(self, error: MindSQLError) -> MindSQLError:
        """The error as its user should see it: a statement that was stopped by the clock says so."""
        if isinstance(error, Cancelled) and self._late:
            return self._too_long()
        return error

    def expire(self) -> None:
        """Stop the statement since its time is over."""
        self._late = True
        self.interrupt()

    def give_up(self) -> None:
        """Answer for a statement that no interrupt stops, and leave it and its connection to themselves."""
        thread, error = self.thread, self._too_long()
        log.warning("a statement of %s could not be stopped, and is left to itself", self.principal.name)
        self._closed = True
        self.end()
        self._service.forget(self)
        if thread is not None:
            self._service.replace(thread, error)

    def interrupt(self) -> None:
        """Stop the running statement, from any thread."""
        self.connection.interrupt()

    def close(self) -> None:
        """Roll back what is open and give the connection back."""
        if not self._closed:
            self._closed = True
            self.end()
            self._service.closed(self)


class Service:
    """One database, open to many.

    Args:
        path: The DuckDB file, or `:memory:`.
        options: See `ServeOptions`.

    Raises:
        CatalogError: The file cannot be opened.
    """

    def __init__(self, path: str, options: ServeOptions) -> None:
        self.path = path
        self.options = options
        self.metrics = Metrics(self)
        settings = Settings(
            trusted=False,
            replacements=False,
            allowed_hosts=options.allowed_hosts,
            private_hosts=options.private_hosts,
            background="always" if options.background else True,
            observe=self.metrics.predicted,
        )
        sandbox = Sandbox(tuple(map(os.path.abspath, options.folders)), options.memory)
        self.root: Connection = connect(path, settings=settings, sandbox=sandbox, executor=options.executor)
        self.root.install()
        self.tokens = Tokens(self.root.cursor())
        self.audit = Audit(path, options)
        self.sessions: dict[int, RemoteSession] = {}
        self.gatherer = MicroBatcher(self)
        self._numbers = itertools.count(1)
        self._spare: list[Connection] = []
        self._lock = threading.Lock()
        self._workers = Workers(options.workers)
        self._stopping = threading.Event()
        self._lost = False  # whether a statement was given up
        self._watch = threading.Thread(target=self._watching, name="mindsql-clock", daemon=True)
        self._watch.start()

    # Sessions ---------------------------------------------------------------------------------------------

    def open(self, principal: Principal, door: str) -> RemoteSession:
        """A session for a client. Raises LimitError when there are too many, or the server stops."""
        with self._lock:
            if self._stopping.is_set():
                raise LimitError("the server is stopping", hint="try again when it is back")
            if len(self.sessions) >= self.options.sessions:
                raise LimitError(
                    f"{self.options.sessions} sessions are open, and no more are allowed",
                    hint="close one, or have the server started with a greater --sessions",
                )
            share = self.options.sessions_of_one
            if principal.role < Role.ADMIN and principal.token:
                own = sum(session.principal.token == principal.token for session in self.sessions.values())
                if own >= share:
                    raise LimitError(
                        f"{share} sessions of this token are open, and one token may have no more",
                        hint="close one, or have the server started with a greater --sessions",
                    )
            session = RemoteSession(self, next(self._numbers), principal, door)
            self.sessions[session.id] = session
            return session

    def take_connection(self) -> Connection:
        """A connection without any state. A used one keeps its plans, which spares the next its planning."""
        return self._spare.pop() if self._spare else self.root.cursor()

    def closed(self, session: RemoteSession) -> None:
        """Take a session off the list. What it did not commit is gone."""
        with self._lock:
            self.sessions.pop(session.id, None)
            keep = session.clean and len(self._spare) < self.options.workers and not self._stopping.is_set()
            if keep:
                session.connection.finish()
                self._spare.append(session.connection)
        if not keep:
            session.connection.close()

    def revoked(self) -> None:
        """Close the sessions of tokens that are no more, now and not when they are used next."""
        for session in list(self.sessions.values()):
            try:
                self.tokens.check(session.principal)
            except MindSQLError:
                if session.statement is None:
                    session.close()
                else:
                    session.interrupt()

    def forget(self, session: RemoteSession) -> None:
        """Take a session off the list whose connection nobody can close: what runs on it does not end."""
        with self._lock:
            self.sessions.pop(session.id, None)
            self._lost = True

    # Running ----------------------------------------------------------------------------------------------

    def replace(self, thread: int, error: MindSQLError) -> None:
        """Give up what a worker runs."""
        self._workers.give_up(thread, error)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run something that blocks in a worker thread."""
        return self._workers.submit(call)

    async def halt(self, session: RemoteSession, running: Future[Any]) -> None:
        """Stop what was submitted for a session, and wait for its end."""
        running.cancel()  # perhaps no worker has begun it
        await self._interrupt(session, running.done)

    async def stop(self, session: RemoteSession) -> None:
        """Stop what a session runs for another request, and wait for its end: not for a client that does not read."""
        until = time.monotonic() + _STOP_PATIENCE
        await self._interrupt(session, lambda: session.statement is None or time.monotonic() > until)

    async def _interrupt(self, session: RemoteSession, ended: Callable[[], bool]) -> None:
        while not ended():
            # Between two statements of DuckDB's a stop is not noticed, so it is said until it is.
            session.interrupt()
            await asyncio.sleep(_STOP_SECONDS)

    async def run(self, call: Callable[[], T]) -> T:
        """As `submit`, for a coroutine. Who cancels it must interrupt what runs."""
        return await asyncio.wrap_future(self.submit(call))

    @property
    def queued(self) -> int:
        """How many calls wait for a worker."""
        return self._workers.waiting

    def _watching(self) -> None:
        """Stop statements whose time is over, and close the sessions that nobody uses."""
        while not self._stopping.wait(_WATCH_SECONDS):
            now = time.monotonic()
            for session in list(self.sessions.values()):
                late = now - session.deadline if session.deadline is not None else 0.0
                if late > _GIVE_UP and session.thread is not None:
                    session.give_up()
                elif late > 0:
                    session.expire()
                elif session.statement is None and now - session.used > self.options.idle_seconds:
                    session.close()

    # Ending -----------------------------------------------------------------------------------------------

    def close(self) -> bool:
        """Stop: what runs may finish within the grace, then it is interrupted; the file is closed. Returns whether
        everything ended: what did not keeps the file open for as long as the process lives."""
        self._stopping.set()
        until = time.monotonic() + self.options.grace_seconds
        while any(s.statement is not None for s in list(self.sessions.values())) and time.monotonic() < until:
            time.sleep(0.02)
        self.root.jobs.close(until - time.monotonic())
        for session in list(self.sessions.values()):
            session.interrupt()
        if not self._workers.close(_LAST_SECONDS) or self._lost:
            self.audit.close()
            return False
        for session in list(self.sessions.values()):
            session.close()
        for connection in self._spare:
            connection.close()
        self._watch.join()
        self.tokens.close()
        self.audit.close()
        self.root.close()
        return True
