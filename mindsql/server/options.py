"""Owns what a server can be told when it starts."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class ServeOptions:
    """How a server runs; every value is an option of `mindsql serve`.

    Attributes:
        host: The address to listen on.
        port: The HTTP port; 0 for one that the system chooses.
        mysql_port: The port of the MySQL wire; None for no such door.
        auth: Whether who comes must show a token, once there are tokens.
        cert, key: PEM files; with them both doors speak TLS.
        require_tls: Whether MySQL clients must speak TLS, too; by HTTP there is nothing else with a certificate.
        names: Host names under which the server is reached, beside its address.
        folders: What remote statements may read files from.
        allowed_hosts: Hosts that engines may connect to, None for any public one.
        private_hosts: Whether engines may connect to loopback, private and link-local addresses.
        seconds: The time limit of a statement, None for none.
        rows: The most rows that one result may have, None for any number.
        body_bytes: The largest request body.
        memory: DuckDB's memory limit, such as `4GB`; None for DuckDB's own.
        sessions: The most sessions at once, over all doors.
        workers: Statements that run at the same time; others wait.
        idle_seconds: After how long a session that nobody uses is closed.
        executor: Where queries over files are answered; None for here.
        background: Whether trainings run in the background unless a statement says otherwise.
        grace_seconds: How long a stop waits for what runs.
        audit: The file of the audit log; None for the one beside the database.
        access_log: The file of the log of requests and statements, `-` for the standard output; None for none.
        slow_seconds: How long a statement must take to stand in it.
        routes: Further URLs of models: `/path=model`, or YAML files in Gramex's form.
    """

    host: str = "127.0.0.1"
    port: int = 47334
    mysql_port: int | None = 47335
    auth: bool = True
    cert: str | None = None
    key: str | None = None
    require_tls: bool = False
    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    private_hosts: bool = False
    seconds: float | None = 300.0
    rows: int | None = None
    body_bytes: int = 100 * 1024 * 1024
    memory: str | None = None
    sessions: int = 1000
    workers: int = 16
    idle_seconds: float = 3600.0
    executor: str | None = None
    background: bool = False
    grace_seconds: float = 30.0
    audit: str | None = None
    access_log: str | None = None
    slow_seconds: float = 0.0
    routes: tuple[str, ...] = ()

    @property
    def sessions_of_one(self) -> int:
        """The most sessions of one token that is not an admin's: nobody locks all others out."""
        return max(1, self.sessions // 4)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK
