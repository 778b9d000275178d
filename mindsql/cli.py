"""Owns the command line: its options, what is run in which order, and the exit status.

The options are read with argparse, which DuckDB's own imports have mostly paid for, and which keeps the order
of `-c` and `-f` as they were given.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from mindsql.errors import Cancelled, MindSQLError
from mindsql.formats import FORMATS
from mindsql.script import Abandoned, Runner, ScriptOptions, default_format, diagnose, opened

BROKEN_PIPE = 141
"""The status a shell reports for a program that lost the reader of its output."""

_EPILOG = """\
examples:
  mindsql shop.duckdb                              open a database at a prompt
  mindsql shop.duckdb -c "SHOW MODELS"             run a statement
  mindsql shop.duckdb -f load.sql -f train.sql     run scripts, in this order
  mindsql shop.duckdb --format json < report.sql   run statements from stdin
  mindsql demo                                     see models as tables on real data
  mindsql serve shop.duckdb                        open it to programs: HTTP, REST and the MySQL wire
  mindsql token create shop.duckdb ann             who may use that server: create, list, revoke
  mindsql engine install ludwig                    the environment of an engine: install, list, remove
  mindsql backup shop.duckdb copies/               a consistent copy, also while it is served

Without -c, -f or a redirected stdin the prompt opens; without FILE the database is in memory.
A statement that fails does not stop the next one, unless --bail is given.
The format is box on a terminal and csv elsewhere.

exit status: 0 fine, 1 an SQL error, 2 wrong usage, 3 an engine or a source failed, 130 interrupted;
with several errors, that of the first.
"""


class _Source(argparse.Action):
    """Collects -c and -f in one list, so that their order is kept."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        sources: list[tuple[str, str]] = [*(namespace.sources or []), (self.const, str(values))]
        namespace.sources = sources


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mindsql",
        usage="mindsql [options] [FILE]\n       mindsql demo [--keep FILE]\n       mindsql serve [options] [FILE]",
        description="SQL in which machine-learning models are tables, over DuckDB.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a DuckDB file; it is made if it does not exist"
    )
    add = parser.add_argument
    add("-c", dest="sources", action=_Source, const="-c", metavar="SQL", help="run statements; repeatable")
    add("-f", dest="sources", action=_Source, const="-f", metavar="SCRIPT", help="run a file; repeatable")
    add("--format", choices=FORMATS, metavar="FORMAT", help=" | ".join(FORMATS))
    add("--bail", action=argparse.BooleanOptionalAction, default=False, help="stop at the first error")
    add("--echo", action="store_true", help="write each statement to stderr before it runs")
    add("--timer", action="store_true", help="write to stderr how long each statement took")
    add("--read-only", action="store_true", help="open FILE without the right to change it")
    add("--executor", metavar="WHERE", help="answer queries over files there: local | ray | ray://HOST:PORT")
    add("--version", action="store_true", help="show the version and stop")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if arguments[:1] == ["demo"]:
            from mindsql.demo import main as demo

            return demo(arguments[1:])
        if arguments[:1] == ["serve"]:
            from mindsql.server.cli import main as serve

            return serve(arguments[1:])
        if arguments[:1] == ["backup"]:
            from mindsql.backup import main as backup

            return backup(arguments[1:])
        if arguments[:1] == ["engine"]:
            from mindsql.engine_cli import main as engine

            return engine(arguments[1:])
        if arguments[:1] == ["token"]:
            from mindsql.server.tokens_cli import main as token

            return token(arguments[1:])
        return _run(arguments)
    except BrokenPipeError:
        # Nobody reads on. Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return diagnose(Cancelled("stopped"))
    except Abandoned as error:
        # The statement still runs in its thread, and would keep the process from ending.
        status = diagnose(error)
        sys.stdout.flush()
        os._exit(status)
    except MindSQLError as error:
        return diagnose(error)


def _run(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.version:
        print(version())
        return 0
    if options.read_only and options.file is None:
        parser.error("--read-only needs a FILE")
    texts = [_text(parser, kind, value) for kind, value in options.sources or ()]
    # A process can be started without stdin.
    stdin = sys.stdin or io.StringIO()
    interactive = not texts and stdin.isatty() and sys.stdout.isatty()
    settings = ScriptOptions(
        format=options.format or default_format(),
        bail=options.bail,
        echo=options.echo,
        timer=options.timer,
        chatty=interactive,
    )
    with opened(options.file, read_only=options.read_only, executor=options.executor) as connection:
        if interactive:
            from mindsql.repl import Repl

            return Repl(connection, settings, options.file).loop()
        runner = Runner(connection, settings)
        first = 0
        for name, text in texts or [("<stdin>", stdin.read())]:
            status = runner.run(text, name)
            first = first or status
            if status and (options.bail or status == Cancelled.exit_status):
                break
        return first


def _text(parser: argparse.ArgumentParser, kind: str, value: str) -> tuple[str | None, str]:
    """The name and the text of a -c or -f."""
    if kind == "-c":
        return None, value
    if value == "-":
        return "<stdin>", sys.stdin.read()
    try:
        with open(value, encoding="utf-8-sig") as file:
            return value, file.read()
    except (OSError, UnicodeError) as error:
        parser.error(f"cannot read {value}: {getattr(error, 'strerror', None) or error}")


def version() -> str:
    """`mindsql 0.1.0 (DuckDB 2.0.0)`."""
    from importlib.metadata import version as installed

    return f"mindsql {installed('mindsql-server')} (DuckDB {installed('duckdb')})"


if __name__ == "__main__":
    sys.exit(main())
