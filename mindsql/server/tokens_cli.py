"""Owns `mindsql token`: tokens made, listed and revoked in a database that no server has open."""

from __future__ import annotations

import argparse
import os
import sys

from mindsql.connection import connect
from mindsql.errors import CatalogError
from mindsql.server.principal import Role
from mindsql.server.tokens import Tokens

_EPILOG = """\
examples:
  mindsql token create shop.duckdb ann --role write --days 90
  mindsql token list shop.duckdb
  mindsql token revoke shop.duckdb ann

The secret is printed once, and is kept nowhere. It is the HTTP header "Authorization: Bearer SECRET", or the password
of the MySQL user NAME. While a server has FILE open, it makes tokens itself: POST, GET and DELETE /tokens.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mindsql token",
        description="Who may use a server of a database, and for what.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="create | list | revoke")
    create = actions.add_parser("create", help="make a token, and print its secret", allow_abbrev=False)
    show = actions.add_parser("list", help="show the tokens there are", allow_abbrev=False)
    revoke = actions.add_parser("revoke", help="take a token back", allow_abbrev=False)
    for action in (create, show, revoke):
        action.add_argument("file", metavar="FILE", help="a DuckDB file")
    for action in (create, revoke):
        action.add_argument("name", metavar="NAME", help="what the token is called")
    add = create.add_argument
    add("--new", action="store_true", help="make the file if there is none")
    add("--role", choices=[role.name.lower() for role in Role], default="read", help="what it may do (read)")
    add("--days", type=float, metavar="N", help="how long it is good for; without, for ever")
    add("--requests-per-minute", type=int, metavar="N", help="how many requests it may send; without, any number")
    add("--max-body", type=int, metavar="BYTES", help="the largest request; without, the server's own limit")
    return parser


def main(arguments: list[str]) -> int:
    """Run `mindsql token` and give its exit status."""
    given = _parser().parse_args(arguments)
    if not os.path.exists(given.file) and not (given.action == "create" and given.new):
        raise CatalogError(
            f'there is no file "{given.file}"',
            hint="look at the name; mindsql token create --new makes the file, too",
        )
    try:
        connection = connect(given.file, read_only=given.action == "list")
    except CatalogError as error:
        if "another process" in error.message:
            error.hint = "a server that has it open makes tokens itself: POST, GET and DELETE /tokens"
        raise
    with connection:
        tokens = Tokens(connection)
        if given.action == "create":
            secret = tokens.create(
                given.name,
                given.role,
                days=given.days,
                requests_per_minute=given.requests_per_minute,
                body_bytes=given.max_body,
            )
            print(f'the token "{given.name}" has the role {given.role}; its secret, shown once:', file=sys.stderr)
            print(secret)
        elif given.action == "revoke":
            tokens.revoke(given.name)
            print(f'the token "{given.name}" is revoked', file=sys.stderr)
        else:
            for token in tokens:
                until = "expired" if token.expired else f"until {token.expires_at}" if token.expires_at else "for ever"
                print(f"{token.name}\t{token.role}\t{until}")
    return 0
