"""Owns who asks: the roles, and what is known of a client."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.IntEnum):
    """Who may do what; each may do what those before it may.

    READ queries tables, PREDICT also asks models, WRITE also changes tables and models, ADMIN also changes engines,
    databases and tokens, and ends the sessions of others.
    """

    READ = 1
    PREDICT = 2
    WRITE = 3
    ADMIN = 4


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: The name of the token, for the audit log.
        token: The id of the token: one that is made anew under an old name is another's.
        requests_per_minute: How many requests it may send in a minute; None for any number.
        body_bytes: The largest body it may send; None for the server's own limit.
    """

    name: str
    role: Role
    token: str = ""
    requests_per_minute: int | None = None
    body_bytes: int | None = None


LOCAL = Principal("local", Role.ADMIN)
"""Whoever reaches a server that has no tokens: it listens on loopback alone, or was told to ask for none."""
NOBODY = Principal("nobody", Role.READ)
"""Who has shown no token, on paths that need none."""
