"""Owns how a scoring server is asked: by today's protocol, as JSON or Parquet, and by that before MLflow 2.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ says what is sent.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from mindsql_engines.remote.client import Client, Reply, dumps
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.rows import Rows

_PARQUET_ROWS = 1000
_PARQUET_SINCE = (3, 10, 1)
_NEW_SINCE = (2, 0, 0)
_PARQUET = "application/vnd.apache.parquet"
_OLD = "application/json; format=pandas-records"


class Asking:
    """Asks one scoring server in the protocol that it speaks, which is found out with the first request.

    Args:
        url: Its `/invocations`.
        protocol: `current`, `old`, or `auto` to find out.
        target: The column to predict.
        params: Parameters for the model.
        parquet: Whether many rows go as Parquet; None to find out.
    """

    def __init__(
        self,
        url: str,
        protocol: str,
        target: str,
        params: Mapping[str, Any] | None,
        parquet: bool | None,
    ) -> None:
        self._url = url
        self._target = target
        self._params = params
        self._old: bool | None = {"current": False, "old": True}.get(protocol)
        self._parquet = parquet
        self._leaves_out = False
        self._asked = protocol != "auto" and parquet is not None

    def __call__(self, client: Client, rows: Rows, again: bool) -> Mapping[str, Any]:
        """Send rows, and give the answer's columns by key. Raises RequestError."""
        if not self._asked:
            self._ask_version(client)
            self._asked = True
        file = None
        if self._parquet and not self._old and not self._params and len(rows) >= _PARQUET_ROWS:
            file = _file(rows)
        if file is not None:
            try:
                reply = client.request("POST", self._url, file, _PARQUET, retry_rows=again)
                return keyed(reply.json(), self._target)
            except RequestError as error:
                # Types are taken exactly in Parquet, and by their meaning in JSON.
                if error.status not in (400, 415, 422):
                    raise
                found = self._json(client, rows, again)
                self._parquet = False
                return found
        return self._json(client, rows, again)

    def _json(self, client: Client, rows: Rows, again: bool) -> Mapping[str, Any]:
        columns = rows.columns()
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if self._old:
            return keyed(self._send_old(client, records, again).json(), self._target)
        missing = any(value is None for record in records for value in record.values())
        if missing and self._leaves_out:
            return self._without_nulls(client, records, again)
        try:
            reply = self._send(client, records, again)
        except RequestError as error:
            if error.status not in (400, 415) or not (self._old is None or missing):
                raise
            try:
                return self._otherwise(client, records, again)
            except RequestError:
                raise error from None
        self._old = False
        return keyed(reply.json(), self._target)

    def _otherwise(self, client: Client, records: list[dict[str, Any]], again: bool) -> Mapping[str, Any]:
        """Ask anew what was refused in today's protocol: in the old one, unless the server is known to speak today's;
        then without nulls. What succeeds is remembered. Raises RequestError."""
        if self._old is None:
            found = keyed(self._send_old(client, records, again).json(), self._target)
            self._old = True
            return found
        found = self._without_nulls(client, records, again)
        self._leaves_out = True
        return found

    def _without_nulls(self, client: Client, records: list[dict[str, Any]], again: bool) -> dict[str, Any]:
        """Ask with the keys left out that are NULL, those that miss the same ones together: an optional whole number
        or boolean may be left out, but not be null (https://github.com/mlflow/mlflow/issues/25593).

        Raises:
            RequestError: What the server refuses; an answer of another length.
        """
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, record in enumerate(records):
            groups.setdefault(tuple(key for key, value in record.items() if value is not None), []).append(number)
        found: dict[str, list[Any]] = {}
        for keys, numbers in groups.items():
            sent = [{key: records[number][key] for key in keys} for number in numbers]
            for key, values in keyed(self._send(client, sent, again).json(), self._target).items():
                if not isinstance(values, list) or len(values) != len(numbers):
                    raise RequestError(f"the answer has not one {key} for each row", status=200)
                column = found.setdefault(key, [None] * len(records))
                for number, value in zip(numbers, values, strict=True):
                    column[number] = value
        return found

    def _send(self, client: Client, records: list[dict[str, Any]], again: bool) -> Reply:
        payload: dict[str, Any] = {"dataframe_records": records}
        if self._params:
            payload["params"] = self._params
        return client.post(self._url, payload, retry_rows=again)

    def _send_old(self, client: Client, records: list[dict[str, Any]], again: bool) -> Reply:
        return client.request("POST", self._url, dumps(records), _OLD, retry_rows=again)

    def _ask_version(self, client: Client) -> None:
        """Ask the server which MLflow it is; one that does not say is found out by trying."""
        base = self._url.split("?", 1)[0].rstrip("/").removesuffix("/invocations")
        try:
            reply = client.request("GET", base + "/version", timeout=min(5.0, client.settings.timeout))
        except RequestError as error:
            if error.status is None:
                raise
            return
        found = re.match(r'\s*"?(\d+)\.(\d+)(?:\.(\d+))?', reply.content.decode("utf-8", "replace"))
        if found is None:
            return
        version = tuple(int(part or 0) for part in found.groups())
        if self._old is None:
            self._old = version < _NEW_SINCE
        if self._parquet is None:
            self._parquet = version >= _PARQUET_SINCE


def keyed(answer: Any, target: str) -> dict[str, Any]:
    """An answer of any known form as columns, the prediction under `prediction`. Raises RequestError."""
    found = answer.get("predictions", answer) if isinstance(answer, Mapping) else answer
    if isinstance(found, Mapping):
        columns = {str(key): list(v) if isinstance(v, (list, tuple)) else v for key, v in found.items()}
    elif isinstance(found, list) and found and all(isinstance(row, Mapping) for row in found):
        keys = list(dict.fromkeys(str(key) for row in found for key in row))
        columns = {key: [row.get(key) for row in found] for key in keys}
    elif isinstance(found, list):
        if found and all(isinstance(row, list) and len(row) == 1 for row in found):
            found = [row[0] for row in found]
        return {"prediction": found}
    else:
        raise RequestError("the answer has no predictions", status=200, hint=f"it is {found!r:.100}")
    folded = {key.casefold(): key for key in columns}
    own = folded.get(target.casefold()) or folded.get("prediction") or folded.get("predictions")
    own = own or next(iter(columns), None)
    return {("prediction" if key == own else key): values for key, values in columns.items()}


def _file(rows: Rows) -> bytes | None:
    """Rows as a Parquet file; None when one of their types has no place in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    body = io.BytesIO()
    try:
        pq.write_table(rows.table(), body)
    except pa.ArrowException:
        return None
    return body.getvalue()
