"""Owns how the tests make and ask a model of a Hugging Face task."""

from __future__ import annotations

import base64
from typing import Any

from mindsql.connection import Connection
from mindsql_engines.huggingface import tasks
from servers.scripted import Server

PNG = b"\x89PNG\r\n\x1a\n1234"
LABELS = [{"label": "good", "score": 0.9}, {"label": "bad", "score": 0.1}]
ROWS: dict[str, str] = {
    "pair": "SELECT 'q' AS t, 'c' AS u",
    "table": """SELECT 'q' AS t, '{"a": ["1", "2"]}' AS u""",
    "similarity": "SELECT 't' AS t, 'u' AS u",
    "rerank": "SELECT 't' AS t, 'u' AS u",
    "media": f"SELECT from_base64('{base64.b64encode(PNG).decode()}') AS t",
}


def create(con: Connection, task: str, server: Server | None, more: str = "") -> None:
    """A model `m` that predicts `y` from `t`, and `u` where the task has two inputs."""
    how = tasks.TASKS[task]
    columns = "".join(f", {option} = '{name}'" for option, name in zip(how.inputs, "tu", strict=False))
    url = f", base_url = '{server.url}'" if server is not None else ""
    con.execute(
        f"CREATE OR REPLACE MODEL m PREDICT y USING engine = 'hf_api', task = '{task}'{columns}{url}{more}"
    )


def ask(con: Connection, task: str, columns: str = "m.y", rows: str | None = None) -> list[Any]:
    """What it answers to some rows, or to one that fits the task."""
    rows = rows or ROWS.get(tasks.TASKS[task].shape, "SELECT 't' AS t")
    return con.execute(f"SELECT {columns} FROM ({rows}) AS r JOIN m").fetchall()
