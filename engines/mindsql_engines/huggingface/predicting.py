"""Owns predictions: rows out of Arrow, NULL left out, asked in the format that the server speaks, back into Arrow."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mindsql.engine import context
from mindsql_engines.huggingface import formats, media
from mindsql_engines.huggingface.answers import Found
from mindsql_engines.huggingface.formats import Row, Target
from mindsql_engines.remote import dtypes, fanout
from mindsql_engines.remote.client import Client
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    import requests

_PROBE_SECONDS = 5.0


class HuggingFacePredictor:
    """Answers batches by asking a server; threads may share it.

    Args:
        meta: What CREATE stored.
        target: The model, and where it is.
        kind: The format, or `auto`.
        settings: How to ask.
        session: Pooled connections.
        media_root: The only folder that media may be read from.
        most: The most bytes of a media cell.
    """

    def __init__(
        self,
        meta: Mapping[str, Any],
        target: Target,
        kind: str,
        settings: Settings,
        session: requests.Session,
        media_root: str | None,
        most: int,
    ) -> None:
        self._meta = meta
        self._target = target
        self._settings = settings
        self._session = session
        self._media_root = media_root
        self._most = most
        self._lock = threading.Lock()
        self._kind: tuple[str, int | None] | None = (kind, None) if kind in ("hf", "openai") else None
        self._wanted = kind

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> dict[str, Any]:
        """See `Predictor.predict`."""
        client = Client(self._settings, self._target.base_url or self._target.root, context(), self._session)
        how = self._target.how
        cells = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        live = [index for index, row in enumerate(cells) if all(cell is not None for cell in row)]
        found: list[Found | fanout.Failed] = []
        if live:
            kind, most = self._format(client)
            fetch = media.fetcher(client, self._most)

            def prepared(row: Row) -> Row:
                if how.shape == "media":
                    return (media.read(row[0], fetch, self._media_root, self._most),)
                keep = 1 if how.shape == "table" else len(row)
                return (*(_text(cell) for cell in row[:keep]), *row[keep:])

            def send(rows: range, again: bool) -> list[Found]:
                asked = formats.build(kind, self._target, [prepared(cells[live[index]]) for index in rows])
                reply = client.request("POST", asked.url, asked.body, asked.content_type, retry_rows=again)
                return asked.read(reply.json())

            size = (
                min(self._settings.batch_rows, most or self._settings.batch_rows) if self._many(kind) else 1
            )
            found = fanout.ask_all(client, len(live), size, send)
        return self._columns(batch.num_rows, dict(zip(live, found, strict=True)), columns)

    def _many(self, kind: str) -> bool:
        """Whether several rows fit into one request."""
        return self._target.how.batch or (kind == "tei" and self._target.task == "text-classification")

    def _format(self, client: Client) -> tuple[str, int | None]:
        """The format, and the most rows of a request; a server that is not known is asked, once."""
        with self._lock:
            if self._kind is None:
                self._kind = fanout.ask_one(client, lambda: self._probe(client))
                formats.check(self._kind[0], self._target.task)
            return self._kind

    def _probe(self, client: Client) -> tuple[str, int | None]:
        root = self._target.root

        def get(path: str) -> Any:
            try:
                seconds = min(_PROBE_SECONDS, client.settings.timeout)
                return client.request("GET", root + path, timeout=seconds).json()
            except RequestError as error:
                if error.status is None:
                    raise  # nobody is there
                return None

        info = get("/info")
        if isinstance(info, Mapping) and ("model_type" in info or "max_client_batch_size" in info):
            most = info.get("max_client_batch_size")
            # text-generation-inference has such an /info too, and speaks as hosted models do.
            if self._wanted == "tei" or "model_type" in info:
                return "tei", int(most) if most else None
            return "hf", None
        if self._wanted == "tei":
            return "tei", None
        if isinstance(info, Mapping) and "model_id" in info:
            return "hf", None
        models = get("/v1/models")
        return ("openai", None) if isinstance(models, Mapping) and "data" in models else ("hf", None)

    def _columns(
        self, rows: int, found: Mapping[int, Found | fanout.Failed], columns: Sequence[str]
    ) -> dict[str, Any]:
        import pyarrow as pa

        target = self._meta["target"]
        kind = self._target.how.type
        types = {"DOUBLE": pa.float64(), "DOUBLE[]": pa.list_(pa.float64())}
        result: dict[str, Any] = {}
        good = {row: self._named(one) for row, one in found.items() if isinstance(one, Found)}
        for name in columns:
            if name == f"{target}_error":
                bad = {row: one.message for row, one in found.items() if isinstance(one, fanout.Failed)}
                result[name] = pa.array([bad.get(row) for row in range(rows)], pa.string())
            elif name == f"{target}_explain":
                texts = {row: json.dumps(one.explain, ensure_ascii=False) for row, one in good.items()}
                result[name] = pa.array([texts.get(row) for row in range(rows)], pa.string())
            else:
                values = {
                    row: json.dumps(one.value, ensure_ascii=False) if kind == "JSON" else one.value
                    for row, one in good.items()
                }
                result[name] = pa.array(
                    [values.get(row) for row in range(rows)], types.get(kind, pa.string())
                )
        return result

    def _named(self, found: Found) -> Found:
        """With the labels that the user gave instead of LABEL_0, LABEL_1, …"""
        names = {f"LABEL_{number}": label for number, label in enumerate(self._target.labels)}
        if not names or self._target.task not in ("text-classification", "image-classification"):
            return found
        explain = [{**item, "label": names.get(item["label"], item["label"])} for item in found.explain]
        return Found(names.get(found.value, found.value), explain)


def _text(cell: Any) -> str:
    """A cell as text."""
    plain = dtypes.plain(cell)
    return plain if isinstance(plain, str) else json.dumps(plain)
