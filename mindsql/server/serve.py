"""Owns the life of a server process: the doors open together, and close in order when a signal asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator

import uvicorn

from mindsql.errors import CatalogError, InterfaceError
from mindsql.secrets import key_file
from mindsql.server import mysql
from mindsql.server.http.app import create_app
from mindsql.server.http.protocol import Protocol
from mindsql.server.options import ServeOptions
from mindsql.server.service import Service

_BACKLOG = 2048
_BESIDE_DUCKDB = 4 << 30
"""The most memory in bytes for all but what DuckDB counts: Python, models, batches, single large values."""


def serve(path: str, options: ServeOptions) -> int:
    """Serve a database until a signal comes. Returns the exit status.

    Raises:
        CatalogError: The file cannot be opened, or an address is taken.
        InterfaceError: The options would open the database to strangers.
    """
    _check_folders(path, options)
    reachable = options.auth and not options.is_local
    if reachable and not os.path.exists(path):
        raise _open_to_strangers(path, options)  # before the file is made
    service = Service(path, options)
    try:
        if reachable and not service.tokens.any():
            raise _open_to_strangers(path, options)
        _bound_memory(service)
        return asyncio.run(_serve(service))
    finally:
        if not service.close():
            # What nothing stops would keep the process for ever. What was committed is in the write-ahead log.
            sys.stdout.flush()
            os._exit(0)


def _check_folders(path: str, options: ServeOptions) -> None:
    """Refuse folders for statements to read that hold what none may. Raises InterfaceError."""
    audit = options.audit or f"{path}.audit.jsonl"
    private = {"database": path, "audit log": audit, "access log": options.access_log}
    private |= {"TLS key": options.key, "key of the secrets": str(key_file())}
    for folder in options.folders:
        inside = os.path.join(os.path.realpath(folder), "")
        for what, file in private.items():
            if file and file != ":memory:" and os.path.realpath(file).startswith(inside):
                raise InterfaceError(
                    f"--allow-folder: {folder} holds the {what} ({file}), which no statement may read\n"
                    "hint: put the files that statements may read into a folder of their own"
                )


def _open_to_strangers(path: str, options: ServeOptions) -> InterfaceError:
    hint = f"make one with: mindsql token create {path} NAME --role admin; or say --no-auth"
    if path == ":memory:":
        hint = "one in memory cannot have any: name a file, or say --no-auth"
    return InterfaceError(
        f"{options.host} can be reached from other machines, and the database has no tokens\nhint: {hint}"
    )


def _bound_memory(service: Service) -> None:
    """Have the system refuse what DuckDB's own limit does not count: `range(2000000000)` is one value, and 16 GB."""
    if sys.platform != "linux":
        return  # elsewhere this limit does not count what is mapped
    import resource

    row = service.root.execute(
        "SELECT system.main.parse_formatted_bytes(system.main.current_setting('memory_limit'))"
    ).fetchone()
    service.root.finish()  # an open result is a transaction, and with one open nothing is ever checkpointed
    assert row is not None
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(row[0]) + _BESIDE_DUCKDB
    resource.setrlimit(
        resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
    )


async def _serve(service: Service) -> int:
    options = service.options
    config = uvicorn.Config(
        create_app(service),
        host=options.host,
        port=options.port,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=int(options.grace_seconds) or 1,
        ssl_certfile=options.cert,
        ssl_keyfile=options.key,
    )
    http = _Http(config)
    try:
        http.bind()
    except OSError as error:
        raise CatalogError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}", hint="choose another --port"
        ) from error
    wire = None
    if options.mysql_port is not None:
        try:
            wire = await mysql.start(service, options.host, options.mysql_port, _tls(options))
        except OSError as error:
            raise CatalogError(
                f"cannot listen on {options.host}:{options.mysql_port}: {error.strerror}",
                hint="choose another --mysql-port, or --no-mysql",
            ) from error
    scheme = "https" if options.cert else "http"
    where = [f"{scheme}://{_shown(options.host)}:{http.port}"]
    if wire is not None:
        where.append(f"mysql://{_shown(options.host)}:{wire.port}")
    print(f"mindsql serves {service.path} at {' and '.join(where)}", flush=True)
    try:
        await http.serve(sockets=http.sockets)
    finally:
        if wire is not None:
            await wire.close()
    return 0


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    return context


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _Http(uvicorn.Server):
    """uvicorn's server on a socket that is bound before anything is said of it."""

    def bind(self) -> None:
        """Take the address. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        # The protocol must be said: asyncio sends small answers at once only on sockets that know theirs to be TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.config.host, self.config.port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self.sockets = [listener]
        self.port: int = listener.getsockname()[1]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, with status 0: uvicorn itself would send the signal on to the process."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _log_started_message(self, listeners: object) -> None:
        """Nothing: `serve` has said it."""
