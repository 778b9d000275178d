"""Owns which URLs requests may go to."""

from __future__ import annotations

from urllib.parse import urlsplit

from mindsql.engine import Network
from mindsql.errors import StatementError
from mindsql.network import check_host


def check_url(url: str, network: Network, what: str = "a URL") -> None:
    """Refuse a URL before anything is sent.

    Raises:
        StatementError: It is none, or has a user in it.
        HostRefused: Its host, or an address that its host's name stands for, is forbidden.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise StatementError(f"{what} is no URL: {url!r}") from error
    host = parts.hostname
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise StatementError(f"{what} is no http(s) URL: {url!r}", hint="write it as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise StatementError(f"{what} holds a user or a password", hint="give them by api_key or headers")
    check_host(host, port or (443 if parts.scheme.lower() == "https" else 80), network)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or (443 if scheme == "https" else 80)
