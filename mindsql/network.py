"""Owns which hosts may be connected to: those that are allowed, and no address that a server must not be led to."""

from __future__ import annotations

import ipaddress
import socket

from mindsql.engine import Network
from mindsql.errors import AccessError


class HostRefused(AccessError):
    """The settings of the connection forbid the host."""


def check_host(host: str, port: int, network: Network) -> None:
    """Refuse a host before anything is sent. Raises HostRefused: it, or an address of its name, is forbidden."""
    if network.allowed_hosts is not None and not _allowed(host, network.allowed_hosts):
        raise HostRefused(
            f'this connection may not ask the host "{host}"',
            hint="allowed are: " + (", ".join(network.allowed_hosts) or "none"),
        )
    if not network.private:
        for address in addresses(host, port):
            check_address(address, network, host)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: an IPv6 address that a gateway turns into the IPv4 address at its end."""


def addresses(host: str, port: int) -> list[str]:
    """The addresses that a name stands for; none when it is unknown, which connecting will tell."""
    try:
        found = socket.getaddrinfo(host.rstrip("."), port, type=socket.SOCK_STREAM)
        return [str(item[4][0]) for item in found]
    except OSError:
        return []


def check_address(address: str, network: Network, host: str) -> None:
    """Refuse an address of this machine or of the network around it, unless they are allowed. Raises HostRefused."""
    if network.private:
        return
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if ip in _NAT64:
        mapped = ipaddress.IPv4Address(ip.packed[-4:])
    if not ip.is_global or ip.is_multicast or (mapped is not None and not mapped.is_global):
        raise HostRefused(
            f'"{host}" leads to the address {address}, which this connection may not ask',
            hint="loopback, private and link-local addresses are forbidden when running as a server",
        )


def _allowed(host: str, patterns: tuple[str, ...]) -> bool:
    name = host.casefold().rstrip(".")
    return any(
        name.endswith(pattern.casefold()[1:]) if pattern.startswith("*.") else name == pattern.casefold()
        for pattern in patterns
    )
