"""Owns what attacks are made of: a server worth attacking, requests of every shape, and a look at what is left."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openpyxl
import pymysql
import pymysql.constants.CLIENT
import requests

import mindsql
from mindsql.server.tokens import Tokens
from tests.server.conftest import Served, serving

ROLES = ("read", "predict", "write", "admin")
SECRET = "the-secret-of-the-machine"


class Answer:
    """What came back: a status (0 when the connection was closed without one) and an error's code."""

    def __init__(self, status: int, text: str = "") -> None:
        self.status = status
        self.text = text
        try:
            found = json.loads(text)
            self.code = str(found["error"]["code"])
        except (ValueError, KeyError, TypeError):
            self.code = ""


@dataclass
class Target:
    """A running server, its secrets, and the folder around it.

    Attributes:
        folder: Holds the database, `allowed/` whose files may be read, and `secret.csv` beside it.
        tokens: Role → secret.
        inside: A listener on loopback that nobody may be led to; `inside.hits` counts who came.
    """

    server: Served
    folder: Path
    tokens: dict[str, str]
    inside: Inside

    def headers(self, role: str | None) -> dict[str, str]:
        return {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}

    def filled(self, text: str) -> str:
        """FOLDER is the folder, INSIDE the port of the listener."""
        return text.replace("FOLDER", str(self.folder)).replace("INSIDE", str(self.inside.port))

    def http(self, role: str | None, method: str, path: str, **keywords: Any) -> Answer:
        headers = {**self.headers(role), **keywords.pop("headers", {})}
        with requests.Session() as session:  # none of the client's own tidying of paths
            request = requests.Request(method, self.server.url, headers=headers, **keywords).prepare()
            request.url = self.server.url + path
            answer = session.send(request, timeout=60)
        return Answer(answer.status_code, answer.text)

    def sql(self, role: str | None, text: str, params: Any = None, **keywords: Any) -> Answer:
        body = {"query": self.filled(text), "params": params}
        return self.http(role, "POST", "/api/sql/query", json=body, **keywords)

    def mysql(self, role: str | None, *texts: str, password: str | None = None) -> Answer:
        """Statements of one MySQL connection; the number of the last one's error, 0 when there was none."""
        user, secret = (f"the_{role}", self.tokens[role]) if role else ("nobody", "")
        port = self.server.mysql_port
        multi = pymysql.constants.CLIENT.MULTI_STATEMENTS
        try:
            with (
                pymysql.connect(
                    host="127.0.0.1",
                    port=port,
                    user=user,
                    password=password or secret,
                    local_infile=True,
                    client_flag=multi,
                ) as client,
                client.cursor() as cursor,
            ):
                said = ""
                for text in texts:
                    cursor.execute(self.filled(text))
                    said = str(cursor.fetchall())
                    while cursor.nextset():
                        said = str(cursor.fetchall())
                return Answer(0, said)
        except pymysql.MySQLError as error:
            return Answer(int(error.args[0]), str(error))

    def raw(self, data: bytes, wait: float = 20.0) -> Answer:
        """Bytes as they are, the answer's status; 0 when the server closes without any."""
        where = urlsplit(self.server.url)
        with socket.create_connection((where.hostname, where.port), timeout=wait) as sock:
            with suppress(OSError):
                sock.sendall(data)
            received = b""
            with suppress(OSError):
                while part := sock.recv(65536):
                    received += part
                    if b"\r\n\r\n" in received and b"content-length: 0" not in received.lower():
                        sock.shutdown(socket.SHUT_WR)
        if not received:
            return Answer(0)
        head, _, body = received.partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ", 2)[1]), body.decode(errors="replace"))

    def rows(self, text: str) -> list[Any]:
        answer = self.sql("admin", text)
        assert answer.status == 200, answer.text
        return list(json.loads(answer.text)["data"])

    def state(self) -> Any:
        """Everything that an attack must leave as it is."""
        files = {
            str(path.relative_to(self.folder)): path.stat().st_size
            for path in self.folder.rglob("*")
            if path.is_file() and path.parent != self.folder
        }
        secret = hashlib.sha256((self.folder / "secret.csv").read_bytes()).hexdigest()
        return {
            "rows": self.rows("SELECT count(*), sum(rent) FROM flats"),
            "tables": self.rows("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"),
            "views": self.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"),
            "databases": self.rows("SELECT database_name FROM duckdb_databases() ORDER BY 1"),
            "models": self.rows("SELECT name, version, status FROM information_schema.models ORDER BY ALL"),
            "engines": self.rows("SELECT name FROM information_schema.ml_engines ORDER BY 1"),
            "settings": self.rows(
                "SELECT current_setting('threads'), current_setting('enable_external_access')"
            ),
            "tokens": self.http("admin", "GET", "/tokens").text,
            "files": files,
            "beside": sorted(path.name for path in self.folder.iterdir() if "shop.duckdb" not in path.name),
            "secret": secret,
            "inside": self.inside.hits,
        }


class Inside:
    """A service of the machine's own network."""

    def __init__(self) -> None:
        self.hits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.hits += 1
            with sock, suppress(OSError):
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (self.path, "w")


@contextmanager
def redirecting(target: str) -> Iterator[int]:
    """A server on loopback that sends everybody on; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(307)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(5)


def workbook_bomb(entities: bool = False) -> bytes:
    """A workbook of 50 kB that unpacks to 50 MB; or one whose text doubles itself again and again."""
    sheet = io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(["sqft"])
    book.save(sheet)
    packed = io.BytesIO()
    with zipfile.ZipFile(sheet) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name != "xl/worksheets/sheet1.xml":
                new.writestr(name, old.read(name))
        with new.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as file:
            space = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
            head = b'<worksheet xmlns="' + space + b'"><sheetData><row><c t="str"><v>'
            if entities:
                levels = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
                file.write(b'<!DOCTYPE x [<!ENTITY a0 "ha">' + levels + b"]>" + head + b"&a11;")
            else:
                file.write(head)
                for _ in range(50):
                    file.write(b"0" * 1_000_000)
            file.write(b"</v></c></row></sheetData></worksheet>")
    return packed.getvalue()


@contextmanager
def target(folder: Path, *options: str) -> Iterator[Target]:
    """A server with a table `flats`, a model `rent`, a token for each role, and a pickle in the allowed folder."""
    (folder / "allowed").mkdir()
    (folder / "allowed" / "x.csv").write_text("a\n1\n")
    (folder / "allowed" / "evil.pkl").write_bytes(pickle.dumps(Evil(str(folder / "owned"))))
    (folder / "secret.csv").write_text(f"secret\n{SECRET}\n")
    with mindsql.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE flats AS SELECT 300 + i * 7 % 900 AS sqft, (300 + i * 7 % 900) * 2.0::DOUBLE AS rent "
            "FROM range(300) r(i); CREATE SEQUENCE numbers; CREATE MODEL price FROM (SELECT * FROM flats) "
            "PREDICT rent USING estimator = 'LinearRegression'"
        )
        tokens = Tokens(connection)
        secrets = {role: tokens.create(f"the_{role}", role) for role in ROLES}
    inside = Inside()
    try:
        given = ("--allow-folder", "allowed", "--max-body", "1MB", "--memory-limit", "500MB", *options)
        with serving(folder, *given, token=secrets["admin"]) as server:
            yield Target(server, folder, secrets, inside)
    finally:
        inside.close()
