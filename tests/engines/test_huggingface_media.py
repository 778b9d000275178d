"""Media cells of Hugging Face tasks: what may be read, and from where."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from servers.questions import LABELS, PNG, ask, create
from servers.scripted import Answer, Request, Server

import mindsql
from mindsql.connection import Connection
from mindsql.errors import MindSQLError
from mindsql.settings import Settings
from mindsql_engines.huggingface import media

WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "


def test_media_cells(con: Connection, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    encoded = base64.b64encode(PNG).decode()
    good = [f"'{encoded}'", f"'data:image/png;base64,{encoded}'", "'{url}/a.png'", "'{url}/moved'", "'a.png'"]
    bad = [
        f"'{tmp_path}/secret.png'",
        "'../secret.png'",
        "'/etc/hostname'",
        "'file:///etc/hostname'",
        "'{url}/large'",
    ]

    def script(request: Request) -> Any:
        if request.path == "/moved":
            return Answer({}, status=302, headers={"Location": "/a.png"})
        if request.path == "/large":
            return Answer(b"x" * 5000)
        return (
            Answer(PNG)
            if request.method == "GET"
            else [*LABELS, {"label": str(request.body == PNG), "score": 2}]
        )

    with Server(script) as server:
        more = (
            f", media_root = '{tmp_path}/root', max_media_bytes = 1000, on_error = 'null', api_format = 'hf'"
        )
        create(con, "image-classification", server, more)
        for cells, expected in ((good, "True"), (bad, None)):
            rows = f"SELECT unnest([{', '.join(cells)}]) AS t".replace("{url}", server.url)
            found = ask(con, "image-classification", "m.y, m.y_error", rows)
            assert [y for y, _ in found] == [expected] * 5, found
        posted = [r for r in server.requests if r.method == "POST"]
        assert posted and all(r.headers["Content-Type"] == "image/png" for r in posted)
        create(con, "image-classification", server, ", api_format = 'hf'")
        with pytest.raises(MindSQLError, match="none that can be read"):
            ask(con, "image-classification", "m.y", "SELECT 'a.png' AS t")


def test_media_are_fetched_under_the_host_rules() -> None:
    server = Server(lambda request: Answer(PNG) if request.method == "GET" else LABELS)
    with server, mindsql.connect(settings=Settings(allowed_hosts=("127.0.0.1",))) as con:
        create(con, "image-classification", server, ", on_error = 'null', api_format = 'hf', api_key = 'k3y'")
        rows = (
            f"SELECT unnest(['{server.url}/a.png', 'http://169.254.169.254/x', 'http://localhost:1/']) AS t"
        )
        found = ask(con, "image-classification", "m.y, m.y_error", rows)
        assert [y for y, _ in found] == ["good", None, None]
        assert 'may not ask the host "169.254.169.254"' in found[1][1]
        assert len(server.requests) == 2


def test_kinds_of_media() -> None:
    assert media.content_type(PNG) == "image/png" and media.content_type(WAV) == "audio/wav"
    assert media.content_type(b"?") == "application/octet-stream"
