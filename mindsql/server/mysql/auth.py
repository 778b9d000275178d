"""Owns who a client is: the exchange of passwords, in the three ways that MySQL's clients know.

The secret of a token is the password, its name the user. `mysql_native_password` is checked against a hash;
`caching_sha2_password` (all that MySQL 9's clients have) always takes its long way, in which the client sends the
secret itself, within TLS or encrypted for the server's key; `mysql_clear_password` needs TLS.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from typing import TYPE_CHECKING

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet
from mysql_mimic.utils import nonce as make_nonce
from mysql_mimic.utils import xor

from mindsql.errors import AuthenticationError
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.principal import LOCAL, Principal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from mindsql.server.service import Service

NATIVE = "mysql_native_password"
SHA2 = "caching_sha2_password"
CLEAR = "mysql_clear_password"
_NOBODY = b"\0" * 20


@dataclass
class Attempt:
    """What a client sent to log in.

    Attributes:
        user, plugin, response: From its greeting.
        nonce: What it had to answer with `response`; 20 bytes.
        encrypted: Whether nobody can listen.
        address: Where the client is.
        send, receive: One packet to the client, one from it.
    """

    user: str
    plugin: str
    response: bytes
    nonce: bytes
    encrypted: bool
    address: str
    send: Callable[[bytes], Awaitable[None]]
    receive: Callable[[], Awaitable[bytes]]


class Keys:
    """The server's key, for clients that send a secret without TLS; made when first needed."""

    @cached_property
    def private(self) -> RSAPrivateKey:
        """The key pair."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> bytes:
        """The public half, as PEM."""
        from cryptography.hazmat.primitives import serialization

        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def decrypt(self, data: bytes) -> bytes:
        """What a client encrypted for us. Raises ValueError."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        way = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        return self.private.decrypt(data, way)


async def authenticate(attempt: Attempt, service: Service, keys: Keys) -> Principal:
    """Who the client is. Raises MySQLError (1045), the same for an unknown user and a wrong password."""
    if attempt.plugin not in (NATIVE, SHA2, CLEAR) or (attempt.plugin == CLEAR and not attempt.encrypted):
        await _switch(attempt, NATIVE)
    elif attempt.plugin == SHA2:
        # Its answer to a greeting in the name of another plugin means nothing.
        await _switch(attempt, SHA2)
    secret: str | None = None
    if attempt.plugin == SHA2:
        secret = await _sha2_secret(attempt, service, keys)
    elif attempt.plugin == CLEAR:
        secret = attempt.response.rstrip(b"\0").decode("utf-8", "replace")

    def check() -> Principal:
        tokens = service.tokens
        if not needs_token(service):
            return LOCAL
        if secret is not None:
            principal = tokens.authenticate(secret, attempt.address)
            if principal.name.casefold() == attempt.user.casefold():
                return principal
        else:
            stored, found = tokens.native(attempt.user), tokens.principal(attempt.user)
            if _native_fits(attempt.response, attempt.nonce, stored or _NOBODY) and stored and found:
                return found
        return tokens.authenticate("", attempt.address)  # nobody's: counted as a wrong try

    try:
        return await service.run(check)
    except AuthenticationError as error:
        raise _denied(attempt) from error


def needs_token(service: Service) -> bool:
    """Whether a client must show a token."""
    return service.options.auth and service.tokens.any()


def _denied(attempt: Attempt) -> MySQLError:
    using = "YES" if attempt.response.strip(b"\0") else "NO"
    return MySQLError(
        f"access denied for user '{attempt.user}' (using password: {using})",
        1045,
        "28000",
        hint="the user is the name of a token, the password its secret",
    )


async def _switch(attempt: Attempt, plugin: str) -> None:
    """Ask the client to answer in another way."""
    attempt.plugin, attempt.nonce = plugin, make_nonce(20)
    await attempt.send(
        packets.make_auth_switch_request(
            server_charset=CharacterSet.utf8mb4,
            plugin_name=plugin,
            plugin_provided_data=attempt.nonce + b"\0",
        )
    )
    attempt.response = await attempt.receive()


async def _sha2_secret(attempt: Attempt, service: Service, keys: Keys) -> str:
    if not attempt.response.strip(b"\0"):
        return ""
    if not needs_token(service):
        await attempt.send(packets.make_auth_more_data(b"\x03"))  # known already
        return ""
    await attempt.send(packets.make_auth_more_data(b"\x04"))  # send it yourself
    data = await attempt.receive()
    if not attempt.encrypted:
        if data == b"\x02":
            await attempt.send(packets.make_auth_more_data(await service.run(keys.public)))
            data = await attempt.receive()
        try:
            data = xor(keys.decrypt(data), attempt.nonce * 13)
        except ValueError as error:
            raise _denied(attempt) from error
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _native_fits(scramble: bytes, nonce: bytes, stored: bytes) -> bool:
    """Whether SHA1(secret) XOR SHA1(nonce + SHA1(SHA1(secret))) is what was sent."""
    once = xor(scramble.ljust(20, b"\0")[:20], sha1(nonce + stored).digest())
    return len(scramble) == 20 and hmac.compare_digest(sha1(once).digest(), stored)
