"""The MySQL door."""

from __future__ import annotations

import ssl
from typing import Protocol

from mindsql.server.service import Service


class Listener(Protocol):
    """An open door."""

    port: int

    async def close(self) -> None:
        """Close it."""


async def start(service: Service, host: str, port: int, tls: ssl.SSLContext | None) -> Listener | None:
    """Open the door. Raises OSError when the address is taken."""
    return None
