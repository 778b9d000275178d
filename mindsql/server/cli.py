"""Owns `mindsql serve`: its options and their checks."""

from __future__ import annotations

import argparse
import logging
import os
import ssl
import sys

from mindsql.errors import InterfaceError
from mindsql.server import configuration
from mindsql.server.options import ServeOptions
from mindsql.server.supervise import SUPERVISED, supervise

_EPILOG = """\
examples:
  mindsql serve shop.duckdb                                 for programs on this machine
  mindsql token create shop.duckdb ann --role write         who may come from elsewhere
  mindsql serve shop.duckdb --host 0.0.0.0 --cert c.pem --key k.pem --name db.example.com
  mindsql serve shop.duckdb --route /model=titanic          a model at a URL of its own

Without FILE the database is in memory. Each option can also stand in the environment (MINDSQL_MAX_ROWS=100)
or in a file (--config serve.toml with the line max-rows = 100); the command line goes first.
"""
_LOG = "%(asctime)s %(levelname)s %(message)s"
_UNITS = {"KB": 1024, "MB": 1024**2, "GB": 1024**3, "B": 1, "": 1}


def _parser() -> argparse.ArgumentParser:
    default = ServeOptions()
    parser = argparse.ArgumentParser(
        prog="mindsql serve",
        usage="mindsql serve [options] [FILE]",
        description="Open a database to programs: SQL over HTTP and the MySQL wire, every model as an endpoint.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE", default=":memory:", help="a DuckDB file; made if it does not exist")
    add("--host", default=default.host, metavar="ADDRESS", help="where to listen (127.0.0.1)")
    add("--port", type=_port, default=default.port, metavar="N", help="the HTTP port (47334); 0 for any that is free")
    add("--mysql-port", type=_port, default=default.mysql_port, metavar="N", help="the MySQL port (47335)")
    add("--no-mysql", action="store_true", help="open no MySQL port")
    add("--no-auth", action="store_true", help="let in whoever comes, as admin")
    add("--cert", metavar="PEM", help="speak TLS with this certificate")
    add("--key", metavar="PEM", help="the certificate's key")
    add("--require-tls", action="store_true", help="let no MySQL client in without TLS")
    add("--name", action="append", default=[], metavar="HOST", help="a host name it is reached by; repeatable")
    add("--allow-folder", action="append", default=[], metavar="PATH", help="statements may read files there")
    add("--allow-host", action="append", metavar="HOST", help="engines may connect there only; repeatable")
    add("--private-hosts", action="store_true", help="engines may connect to private addresses too")
    add("--timeout", type=_seconds, default=default.seconds, metavar="S", help="seconds for a statement (300); 0: any")
    add("--max-rows", type=_count, metavar="N", help="rows that a result may have")
    add("--max-body", type=_size, default=default.body_bytes, metavar="SIZE", help="largest request (100MB)")
    add("--memory-limit", metavar="SIZE", help="DuckDB's memory, such as 4GB")
    add("--sessions", type=_count, default=default.sessions, metavar="N", help="sessions at once (1000)")
    add("--workers", type=_count, default=default.workers, metavar="N", help="statements at once (16)")
    add("--idle", type=_seconds, default=default.idle_seconds, metavar="S", help="seconds an idle session lives (3600)")
    add("--grace", type=_seconds, default=default.grace_seconds, metavar="S", help="seconds a stop waits (30)")
    add("--executor", metavar="WHERE", help="answer queries over files there: local | ray | ray://HOST:PORT")
    add("--background", action="store_true", help="train in the background unless join_learn_process = true")
    add("--audit", metavar="FILE", help="the log of writes (FILE.audit.jsonl beside the database)")
    add("--access-log", metavar="FILE", help="a log of requests and statements, a JSON object a line; - for stdout")
    add("--slow", type=_seconds, default=default.slow_seconds, metavar="S", help="log statements from S seconds on (0)")
    add("--supervise", action="store_true", help="start the server anew when it dies")
    add("--route", action="append", default=[], metavar="PATH=MODEL", help="a further URL of a model, or a YAML file")
    return parser


def main(arguments: list[str]) -> int:
    """Run `mindsql serve` and give its exit status."""
    parser = _parser()
    given = configuration.parse(parser, arguments, os.environ)
    if given.supervise and SUPERVISED not in os.environ:
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=_LOG)
        return supervise(arguments)
    if (given.cert is None) != (given.key is None):
        parser.error("--cert and --key belong together")
    if given.require_tls and given.cert is None:
        parser.error("--require-tls needs --cert and --key")
    for folder in given.allow_folder:
        if not os.path.isdir(folder):
            parser.error(f"--allow-folder: there is no folder {folder}")
    if given.file != ":memory:" and not os.path.isdir(os.path.dirname(os.path.abspath(given.file))):
        parser.error(f"there is no folder {os.path.dirname(given.file)}")
    for path in (given.cert, given.key):
        if path is not None and not os.access(path, os.R_OK):
            parser.error(f"cannot read {path}")
    if given.cert is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(given.cert, given.key)
        except ssl.SSLError as error:
            parser.error(f"{given.cert} and {given.key} are no certificate and its key in PEM: {error.reason}")
    options = ServeOptions(
        host=given.host,
        port=given.port,
        mysql_port=None if given.no_mysql else given.mysql_port,
        auth=not given.no_auth,
        cert=given.cert,
        key=given.key,
        require_tls=given.require_tls,
        names=tuple(name.lower() for name in given.name),
        folders=tuple(given.allow_folder),
        allowed_hosts=tuple(given.allow_host) if given.allow_host else None,
        private_hosts=given.private_hosts,
        seconds=given.timeout or None,
        rows=given.max_rows,
        body_bytes=given.max_body,
        memory=given.memory_limit,
        sessions=given.sessions,
        workers=given.workers,
        idle_seconds=given.idle,
        executor=given.executor,
        background=given.background,
        grace_seconds=given.grace,
        audit=given.audit,
        access_log=given.access_log,
        slow_seconds=given.slow or 0.0,
        routes=tuple(given.route),
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=_LOG)
    try:
        from mindsql.server.serve import serve

        return serve(given.file, options)
    except ImportError as error:
        said = (
            f"the server needs {error.name}, which is not installed\n"
            "hint: pip install 'mindsql-server[server]'; from a checkout: pip install '.[server]'"
        )
    except InterfaceError as error:
        said = str(error)
    print(f"error: {said}", file=sys.stderr)
    return 2


def _size(text: str) -> int:
    """Bytes of `100MB`, `64KB`, `1000`."""
    unit = next(unit for unit in _UNITS if text.upper().endswith(unit))
    number = text[: len(text) - len(unit)]
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value <= sys.maxsize:
        raise argparse.ArgumentTypeError(f"a size such as 100MB is wanted, not {text!r}")
    return int(value)


def _port(text: str) -> int:
    return int(_within(text, int, 0, "a port from 0 to 65535", 65535))


def _count(text: str) -> int:
    return int(_within(text, int, 1, "a whole number from 1"))


def _seconds(text: str) -> float:
    return _within(text, float, 0, "a number of seconds")


def _within(text: str, kind: type[float], least: float, what: str, most: float = sys.float_info.max) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{what} is wanted, not {text!r}")
    return value
