"""Who comes in by the MySQL door, how, and what they may do there; and the protocol's own edges, byte by byte."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server.conftest import Serve, Served, serving

HOST = "127.0.0.1"
QUERY = b"\x03"


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server that speaks TLS and has a token for each of two readers and a writer: the secrets by name."""
    folder = tmp_path_factory.mktemp("guarded")
    secrets = {}
    for name, role in (("ann", "read"), ("ben", "read"), ("eve", "write")):
        made = subprocess.run(
            [sys.executable, "-m", "mindsql.cli", "token", "create", "--new", "shop.duckdb", name, "--role", role],
            cwd=folder,
            env={**os.environ, "XDG_CONFIG_HOME": str(folder / "config")},
            capture_output=True,
            text=True,
            check=True,
        )
        secrets[name] = next(word for word in made.stdout.split() if word.startswith("msql_"))
    cert, key = certificate(folder)
    with serving(folder, "--cert", cert, "--key", key) as server:
        yield server, secrets


class Sha2(pymysql.connections.Connection):  # type: ignore[type-arg]
    """A client that knows `caching_sha2_password` alone, as MySQL 9's do."""

    def _get_server_information(self) -> None:
        super()._get_server_information()
        self._auth_plugin_name = "caching_sha2_password"


def ways(server: Served, user: str, password: str) -> dict[str, Any]:
    """Every way to log in: its name, and what opens the connection."""
    options: dict[str, Any] = {"host": HOST, "port": server.mysql_port, "user": user, "password": password}
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    connector: dict[str, Any] = {**options, "use_pure": True}
    return {
        "native": lambda: pymysql.connect(**options, ssl_disabled=True),
        "native within TLS": lambda: pymysql.connect(**options, ssl=tls),
        "sha2, encrypted for the key": lambda: Sha2(**options, ssl_disabled=True),
        "sha2 within TLS": lambda: Sha2(**options, ssl=tls),
        "connector": lambda: mysql.connector.connect(**connector),
        "connector's sha2": lambda: mysql.connector.connect(**connector, auth_plugin="caching_sha2_password"),
        "clear within TLS": lambda: mysql.connector.connect(**connector, auth_plugin="mysql_clear_password"),
    }


def test_a_token_opens_in_every_way(guarded: tuple[Served, dict[str, str]]) -> None:
    server, secrets = guarded
    for name, way in ways(server, "ann", secrets["ann"]).items():
        with contextlib.closing(way()) as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SELECT user()")
            assert cursor.fetchall()[0][0] == "ann@%", name


def test_a_server_may_insist_on_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with serving(tmp_path, "--cert", cert, "--key", key, "--require-tls") as server:
        for name, way in ways(server, "ann", "").items():
            if name in ("native", "sha2, encrypted for the key"):
                with pytest.raises(pymysql.MySQLError, match="nobody in without TLS") as caught:
                    way()
                assert caught.value.args[0] == 3159, name
            elif "sha2" not in name and "clear" not in name:
                way().close()


@pytest.mark.parametrize(("user", "whose"), [("ann", ""), ("ann", "ben"), ("nobody", "ann")])
def test_nothing_else_opens(guarded: tuple[Served, dict[str, str]], user: str, whose: str) -> None:
    server, secrets = guarded
    said = set()
    for way in ways(server, user, secrets.get(whose, whose)).values():
        with pytest.raises((pymysql.MySQLError, mysql.connector.Error)) as caught:
            way()
        number = (
            caught.value.errno if isinstance(caught.value, mysql.connector.Error) else caught.value.args[0]
        )
        assert number == 1045
        said.add(str(caught.value).split("denied")[1].split("using")[0])
    assert len(said) == 1  # whether the user exists does not show


def test_roles(guarded: tuple[Served, dict[str, str]]) -> None:
    server, secrets = guarded

    def number(name: str, sql: str) -> int:
        options: dict[str, Any] = {
            "host": HOST,
            "port": server.mysql_port,
            "user": name,
            "password": secrets[name],
        }
        with (
            contextlib.closing(pymysql.connect(**options, autocommit=True)) as client,
            client.cursor() as cursor,
        ):
            try:
                cursor.execute(sql)
            except pymysql.MySQLError as error:
                return int(error.args[0])
            return 0

    assert number("eve", "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS a") == 0
    for sql in (
        "SHOW TABLES",
        "SHOW FULL COLUMNS FROM t",
        "SHOW CREATE TABLE t",
        "SELECT * FROM information_schema.columns",
        "SET autocommit = 0",
        "USE mindsql",
        "SHOW VARIABLES",
        "SELECT @@version",
        "BEGIN",
    ):
        assert number("ann", sql) == 0, sql
    for sql in (
        "CREATE TABLE u (a INT)",
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        "/*!50000 DROP TABLE t */",
        "SHOW TABLES WHERE (SELECT count(*) FROM read_csv('/etc/passwd')) > 0",
        "SET sql_mode = (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT * FROM information_schema.tables, read_csv('/etc/passwd')",
    ):
        assert number("ann", sql) == 1142, sql


def test_the_connections_of_others_stay(guarded: tuple[Served, dict[str, str]]) -> None:
    server, secrets = guarded
    with contextlib.ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                contextlib.closing(
                    pymysql.connect(host=HOST, port=server.mysql_port, user=name, password=secrets[name])
                )
            )
            for name in ("ann", "ben")
        }
        with clients["ann"].cursor() as cursor:
            cursor.execute("SHOW PROCESSLIST")
            assert [row[1] for row in cursor.fetchall()] == ["ann"]
            with pytest.raises(pymysql.MySQLError) as caught:
                cursor.execute(f"KILL {clients['ben'].thread_id()}")
            assert caught.value.args[0] in (1094, 1095)
        clients["ben"].ping(reconnect=False)


# Byte by byte --------------------------------------------------------------------------------------------


class Wire:
    """A client that says what it likes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=30)
        self.greeting = self.read()

    def read(self) -> bytes:
        """The next packet; empty when the server has gone."""
        head = self._take(4)
        return self._take(int.from_bytes(head[:3], "little")) if len(head) == 4 else b""

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionError:
                return b""
            if not part:
                return b""
            data += part
        return data

    def close(self) -> None:
        self.socket.close()


def packet(data: bytes, number: int = 0) -> bytes:
    return struct.pack("<I", len(data))[:3] + bytes([number]) + data


def hello(user: bytes = b"ann", capabilities: int = 0x08A200) -> bytes:
    """PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, TRANSACTIONS."""
    return struct.pack("<IIB23x", capabilities, 1 << 24, 45) + user + b"\0\0mysql_native_password\0"


def ssl_request() -> bytes:
    return struct.pack("<IIB23x", 0x08A200 | 0x800, 1 << 24, 45)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without anything in it."""
    with serving(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture
def wire(plain: Served) -> Iterator[Wire]:
    with contextlib.closing(Wire(plain.mysql_port)) as client:
        yield client


@pytest.fixture
def inside(wire: Wire) -> Wire:
    wire.socket.sendall(packet(hello(), 1))
    assert wire.read()[0] == 0
    return wire


def number(data: bytes) -> int:
    assert data[:1] == b"\xff", data
    return int.from_bytes(data[1:3], "little")


def test_bytes_may_come_one_by_one(wire: Wire) -> None:
    for part in packet(hello(), 1) + packet(QUERY + b"SELECT 1"):
        wire.socket.sendall(bytes([part]))
    assert wire.read()[0] == 0
    assert wire.read() == b"\x01"


def test_commands_may_come_all_at_once(inside: Wire) -> None:
    inside.socket.sendall(packet(b"\x0e") * 50 + packet(b"\x01"))
    assert [inside.read()[0] for _ in range(50)] == [0] * 50
    assert inside.read() == b""


def test_a_client_that_tells_nothing_of_itself_may_escape_blindly(inside: Wire) -> None:
    inside.socket.sendall(packet(QUERY + rb"SELECT 'it\'s'"))
    assert inside.read() == b"\x01"
    for _ in range(2):  # the column and an EOF
        inside.read()
    assert inside.read() == b"\x04it's"


def test_what_is_no_command(inside: Wire) -> None:
    for command in (b"\x00", b"\x07", b"\xee", b"\x17\x09\0\0\0\0\x01\0\0\0", b"\x1c" + bytes(8)):
        inside.socket.sendall(packet(command))
        assert number(inside.read()) in (1047, 1243)
    inside.socket.sendall(packet(QUERY + b"SELECT '\xff'' AS \xfe"))
    assert number(inside.read()) in (1064, 1300)
    inside.socket.sendall(packet(QUERY + b"SELECT 1"))
    assert inside.read() == b"\x01"


def test_parameters_that_are_cut_short(inside: Wire) -> None:
    inside.socket.sendall(packet(b"\x16SELECT ?, ?"))
    prepared = inside.read()
    assert prepared[0] == 0 and prepared[7] == 2
    for _ in range(3):  # two columns and an EOF
        inside.read()
    for end in (b"", b"\0", b"\0\1", b"\0\1\x08\0\x08\0\1\2", b"\0\1\xfd\0\xfd\0\xfe", b"\0\1\x63\0\x63\0"):
        inside.socket.sendall(packet(b"\x17" + prepared[1:5] + b"\0\1\0\0\0" + end))
        assert number(inside.read()) == 1835


COMMANDS = [
    b"\x03SELECT 1",
    b"\x03/*!40101 SET x='\xff' */; SHOW FULL COLUMNS FROM `a`.b LIKE 'x\\' ?",
    b"\x16SELECT ?, ?",
    b"\x17\1\0\0\0\0\1\0\0\0\0\1\xfd\0\3\0\1a\1\0\0\0",
    b"\x18\1\0\0\0\0\0ab",
    b"\x04flats\0%",
    b"\x02shop",
    b"\x11ann\0\0shop\0\x2d\0mysql_native_password\0",
    b"\x0c\1\0\0\0",
    b"\x1b\0\0",
    b"\x1a\1\0\0\0",
    b"\x1f",
]


def test_garbage_is_the_clients_fault(plain: Served) -> None:
    """Mutated packets of every command: each gets an answer or a goodbye, none is a bug, and the server lives."""
    chance = random.Random(20)
    for _ in range(60):
        with contextlib.closing(Wire(plain.mysql_port)) as wire:
            wire.socket.sendall(packet(hello(), 1))
            wire.read()
            for _ in range(8):
                data = bytearray(chance.choice(COMMANDS))
                for _ in range(chance.randrange(4)):
                    data[chance.randrange(1, len(data) + 1) - 1] = chance.randrange(256)
                del data[chance.randrange(1, len(data) + 1) + chance.randrange(9) :]
                with contextlib.suppress(ConnectionError):
                    wire.socket.sendall(packet(bytes(data)))
            with contextlib.suppress(ConnectionError):
                wire.socket.sendall(packet(b"\x01"))
            while wire.read():
                pass
    with contextlib.closing(pymysql.connect(host=HOST, port=plain.mysql_port, user="ann")) as client:
        client.ping(reconnect=False)
    assert "a bug" not in (plain.file.parent / "server.log").read_text()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (packet(b"", 1), 1043),
        (packet(b"\xff" * 40, 1), 1043),
        (packet(hello(capabilities=0), 1), 1043),
        (packet(ssl_request(), 1), 1043),
        (packet(hello(), 7), 1156),
        (b"\xff\xff\xff\x01", 1153),
    ],
    ids=["empty", "garbage", "too old", "no TLS here", "out of order", "sixteen megabytes"],
)
def test_a_greeting_that_is_none(wire: Wire, data: bytes, expected: int) -> None:
    wire.socket.sendall(data)
    assert number(wire.read()) == expected
    assert wire.read() == b""


def test_who_is_refused_is_not_heard(guarded: tuple[Served, dict[str, str]]) -> None:
    with contextlib.closing(Wire(guarded[0].mysql_port)) as wire:
        wire.socket.sendall(packet(hello(), 1) + packet(QUERY + b"CREATE TABLE heard (a INT)"))
        assert number(wire.read()) == 1045
        assert wire.read() == b""


def test_the_first_bytes_of_tls_may_come_early(guarded: tuple[Served, dict[str, str]]) -> None:
    """A client need not wait between asking for TLS and beginning with it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with contextlib.closing(Wire(guarded[0].mysql_port)) as wire:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        wire.socket.sendall(packet(ssl_request(), 1) + outgoing.read())

        def until(step: Any) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    wire.socket.sendall(outgoing.read())
                    incoming.write(wire.socket.recv(65536))

        until(tls.do_handshake)
        tls.write(packet(hello(b"nobody"), 2))
        wire.socket.sendall(outgoing.read())
        assert number(until(lambda: tls.read(1000))[4:]) == 1045


def test_what_comes_before_tls_is_not_taken_as_encrypted(guarded: tuple[Served, dict[str, str]]) -> None:
    with contextlib.closing(Wire(guarded[0].mysql_port)) as wire:
        wire.socket.sendall(packet(ssl_request(), 1) + packet(hello(), 2) + packet(QUERY + b"SELECT 1"))
        assert b"denied" not in wire._take(1000)  # the TLS layer could not read it, and nobody else has


def test_packets_of_more_than_sixteen_megabytes(plain: Served) -> None:
    options: dict[str, Any] = {"host": HOST, "port": plain.mysql_port, "user": "ann", "use_pure": True}
    with mysql.connector.connect(**options) as client, client.cursor(prepared=True) as cursor:
        cursor.execute("SELECT length(?)", ("x" * (17 << 20),))
        assert cursor.fetchall() == [(17 << 20,)]
        with pytest.raises(mysql.connector.Error) as caught:
            cursor.execute("SELECT repeat('x', 17000000)")
        assert caught.value.errno == 1153
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]


# Life ----------------------------------------------------------------------------------------------------


def test_limits(serve: Serve) -> None:
    server = serve("--timeout", "0.5", "--sessions", "3", "--max-rows", "1000", "--max-body", "100KB")
    options: dict[str, Any] = {"host": HOST, "port": server.mysql_port, "user": "ann"}

    def refusal(sql: str) -> int:
        with contextlib.closing(pymysql.connect(**options)) as client, client.cursor() as cursor:
            with pytest.raises(pymysql.MySQLError) as caught:
                cursor.execute(sql)
            return int(caught.value.args[0])

    assert (
        refusal("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3")
        == 3024
    )
    assert refusal("SELECT range FROM range(1001)") == 1153
    assert refusal("SELECT range FROM range(100000)") == 1153
    assert refusal(f"SELECT length('{'x' * 200_000}')") in (1153, 2006, 2013)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(contextlib.closing(pymysql.connect(**options)))
        with pytest.raises(pymysql.MySQLError) as caught:
            pymysql.connect(**options)
        assert caught.value.args[0] == 1040


def test_a_stop_lets_statements_end(serve: Serve) -> None:
    server = serve()
    options: dict[str, Any] = {"host": HOST, "port": server.mysql_port, "user": "ann"}
    with (
        contextlib.closing(pymysql.connect(**options)) as idle,
        contextlib.closing(pymysql.connect(**options)) as busy,
    ):
        assert idle.open
        found: list[Any] = []

        def run() -> None:
            with busy.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM range(1500) a, range(100000) b WHERE a.range * b.range % 7 = 3"
                )
                found.extend(cursor.fetchall())

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive() and "mindsql_running 1.0" not in server.request("GET", "/metrics").text:
            pass
        assert server.stop() == 0
        thread.join(30)
        assert len(found) == 1
