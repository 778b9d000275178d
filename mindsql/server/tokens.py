"""Owns the tokens of a server: secrets that say who asks, kept in the database as digests alone.

A secret is `msql_<id>_<256 random bits>`. Digests need neither salt nor a slow hash: those make up for passwords that
can be guessed, and 256 random bits cannot, not even from SHA-1(SHA-1(secret)), which MySQL's login asks for. By the id,
which is no secret, a token is found; the digests are then compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.errors import AuthenticationError, CatalogError, StatementError, UnknownNameError
from mindsql.server.limits import RateLimits
from mindsql.server.principal import LOCAL, Principal, Role

if TYPE_CHECKING:
    from mindsql.catalog import Catalog
    from mindsql.connection import Connection

_SECRET = re.compile(r"msql_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z][\w.-]{0,31}")  # MySQL's user names have no more letters
_NOBODY = bytes(32)


@dataclass(frozen=True)
class AccessToken:
    """What is kept of a token.

    Attributes:
        id: The part of the secret that is none.
        role: `read`, `predict`, `write` or `admin`.
        digest: SHA-256 of the secret.
        native: SHA-1 of SHA-1 of the secret.
        created_at, expires_at: In UTC.
        requests_per_minute, body_bytes: Its limits; see `Principal`.
    """

    id: str
    name: str
    role: str
    digest: bytes
    native: bytes
    created_at: datetime
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    body_bytes: int | None = None

    @property
    def principal(self) -> Principal:
        """Who shows it."""
        return Principal(
            self.name, Role[self.role.upper()], self.id, self.requests_per_minute, self.body_bytes
        )

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= _now()


class Tokens:
    """The tokens of a database. Any thread may call.

    Args:
        connection: A connection to the database, for this object alone.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection._session
        self.limits = RateLimits()
        self._lock = threading.RLock()
        self._tokens = {token.name.casefold(): token for token in _read(self._session.catalog)}

    def __iter__(self) -> Any:
        """Every token, by name."""
        with self._lock:
            return iter(sorted(self._tokens.values(), key=lambda token: token.name))

    def any(self) -> bool:
        """Whether there are tokens at all, expired ones included: a server with tokens always asks for one."""
        return bool(self._tokens)

    def names(self) -> list[str]:
        """The names of all tokens."""
        return [token.name for token in self]

    def create(
        self,
        name: str,
        role: str,
        *,
        days: float | None = None,
        requests_per_minute: int | None = None,
        body_bytes: int | None = None,
    ) -> str:
        """Make a token and give its secret, which nobody can ask for again.

        Args:
            name: Letters, digits, `_`, `.` and `-`; at most 32.
            role: `read`, `predict`, `write` or `admin`.
            days: How long it is good for; None for ever.
            requests_per_minute: How many requests it may send in a minute; None for any number.
            body_bytes: The largest request in bytes; None for the server's own limit.

        Raises:
            StatementError: A value that does not fit.
            CatalogError: The name is taken.
        """
        if not _NAME.fullmatch(name) or name.casefold() == LOCAL.name:
            raise StatementError(
                f'"{name}" cannot be the name of a token',
                hint="letters, digits, _ . and -, at most 32, a letter first",
            )
        if role.upper() not in Role.__members__:
            raise UnknownNameError.of("role", role, [known.name.lower() for known in Role])
        for value, what in (
            (days, "days"),
            (requests_per_minute, "requests per minute"),
            (body_bytes, "bytes"),
        ):
            if value is not None and not 0 < value < 2**31:
                raise StatementError(f"{value} is no number of {what}", hint="more than 0, or none at all")
        identity = secrets.token_hex(8)
        secret = f"msql_{identity}_{secrets.token_urlsafe(32)}"
        token = AccessToken(
            id=identity,
            name=name,
            role=role.lower(),
            digest=hashlib.sha256(secret.encode()).digest(),
            native=hashlib.sha1(hashlib.sha1(secret.encode()).digest()).digest(),
            created_at=_now(),
            expires_at=None if days is None else _now() + timedelta(days=days),
            requests_per_minute=requests_per_minute,
            body_bytes=body_bytes,
        )
        with self._lock:
            if name.casefold() in self._tokens:
                raise CatalogError(
                    f'the token "{name}" exists already', hint="revoke it, or choose another name"
                )
            with self._session.writing() as catalog:
                values = vars(token)
                marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
                database.run(
                    catalog.raw,
                    f"INSERT INTO {catalog.table('_tokens')} ({', '.join(values)}) VALUES ({marks})",
                    list(values.values()),
                )
            self._tokens[name.casefold()] = token
        return secret

    def revoke(self, name: str) -> None:
        """Take a token back: from now on it opens nothing. Raises UnknownNameError."""
        with self._lock:
            token = self._tokens.get(name.casefold())
            if token is None:
                raise UnknownNameError.of("token", name, self.names())
            others = [other for other in self._tokens.values() if other is not token]
            if not any(other.role == "admin" for other in others) and (token.role == "admin" or not others):
                raise CatalogError(
                    f'the token "{token.name}" is the last that could make others, or the last at all',
                    hint="make another one with the role admin first: a server without tokens is open to everybody",
                )
            with self._session.writing() as catalog:
                database.run(
                    catalog.raw, f"DELETE FROM {catalog.table('_tokens')} WHERE id = $1", [token.id]
                )
            del self._tokens[name.casefold()]

    def authenticate(self, secret: str, client: str) -> Principal:
        """Who shows this secret.

        Args:
            client: The address it comes from. One that tries too many is told to wait, in the time that a try takes;
                a right secret is taken all the same, or anybody could lock out others.

        Raises:
            AuthenticationError: Nobody.
            LimitError: Nobody, and this address has tried too often.
        """
        principal = self.verify(secret)
        if principal is None:
            self.limits.failed(client)
            raise AuthenticationError("the token is wrong, expired or revoked")
        return principal

    def verify(self, secret: str) -> Principal | None:
        """Who shows this secret; None when nobody does. The time it takes tells nothing of the secrets there are."""
        found = _SECRET.fullmatch(secret)
        identity = found[1] if found else ""
        with self._lock:
            token = next((token for token in self._tokens.values() if token.id == identity), None)
        digest = hashlib.sha256(secret.encode(errors="replace")).digest()
        same = hmac.compare_digest(digest, token.digest if token else _NOBODY)
        return token.principal if token is not None and same and not token.expired else None

    def native(self, name: str) -> bytes | None:
        """What MySQL's `mysql_native_password` compares with for this user; None when there is no such token."""
        with self._lock:
            token = self._tokens.get(name.casefold())
        return token.native if token is not None and not token.expired else None

    def principal(self, name: str) -> Principal | None:
        """Who bears this name; None when the token is revoked or expired."""
        with self._lock:
            token = self._tokens.get(name.casefold())
        return token.principal if token is not None and not token.expired else None

    def check(self, principal: Principal) -> None:
        """Refuse whoever came with a token that is revoked or expired since. Raises AuthenticationError."""
        if principal.token and self.principal(principal.name) != principal:
            raise AuthenticationError(f'the token "{principal.name}" is no longer good', hint="connect anew")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _read(catalog: Catalog) -> list[AccessToken]:
    if not catalog.has("_tokens"):
        return []
    columns = list(AccessToken.__dataclass_fields__)
    found = database.rows(catalog.raw, f"SELECT {', '.join(columns)} FROM {catalog.table('_tokens')}")
    return [AccessToken(**dict(zip(columns, row, strict=True))) for row in found]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
