"""TLS to a server: its certificate is checked by the CA that is given, and by no other."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import mindsql
from mindsql.errors import SourceError
from tests.sources import servers
from tests.sources.servers import Server

Key = ec.EllipticCurvePrivateKey


def _certificate(folder: Path, name: str, by: tuple[x509.Name, Key] | None = None) -> tuple[x509.Name, Key]:
    """Write `name.pem` and `name.key`: a CA, or a server's certificate for 127.0.0.1 signed by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    issuer, signing = by or (subject, key)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=9))
    made = made.add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    made = made.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
    )
    if by is None:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = made.add_extension(usage, critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = made.add_extension(names, critical=False)
    written = made.sign(signing, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(written.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / f"{name}.key").write_bytes(private)
    return subject, key


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """MariaDB with TLS, and the folder of certificates."""
    folder = tmp_path_factory.mktemp("tls")
    _certificate(folder, "server", _certificate(folder, "ca"))
    _certificate(folder, "other")
    try:
        with servers.mariadb((folder / "server.pem", folder / "server.key")) as server:
            yield server, folder
    except servers.NoServer as error:
        if os.environ.get("MINDSQL_TESTS_SKIP") == "no":
            pytest.fail(str(error))
        pytest.skip(f"{error}: TLS IS NOT TESTED")


_CIPHER = (
    "SELECT * FROM {} (SELECT variable_value AS c FROM information_schema.session_status "
    "WHERE variable_name = 'ssl_cipher')"
)


def test_the_certificate_is_checked(con: mindsql.Connection, secured: tuple[Server, Path]) -> None:
    server, folder = secured
    server.create(con, "checked", ssl_ca=str(folder / "ca.pem"))
    assert con.execute(_CIPHER.format("checked")).fetchone() != ("",)
    assert con.execute("SELECT count(*) > 0 FROM checked.home_rentals").fetchone() == (True,)
    con.execute("CREATE TABLE checked.written AS SELECT 1 AS a")
    with pytest.raises(SourceError, match="certificate verify failed"):
        server.create(con, "wrong", ssl_ca=str(folder / "other.pem"))
    with pytest.raises(SourceError) as caught:
        server.create(con, "named", ssl_ca=str(folder / "ca.pem"), host="localhost")
    assert "secret" not in str(caught.value)  # the certificate is not of that name
    server.create(con, "plain", ssl=False)
    assert con.execute(_CIPHER.format("plain")).fetchone() == ("",)
    server.create(con, "forced", ssl=True)
    assert con.execute(_CIPHER.format("forced")).fetchone() != ("",)


def test_a_server_without_tls_is_refused(con: mindsql.Connection, mariadb: Server) -> None:
    with pytest.raises(SourceError):
        mariadb.create(con, "forced", ssl=True)
