"""Owns `MLflowEngine`: models that an MLflow scoring server answers, by today's protocol and by that before 2.0.

MLflow itself is not needed: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ says what is sent.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from mindsql.engine import Args, Capabilities, Engine, Option, Summary, context
from mindsql.errors import EngineError, MindSQLError, StatementError
from mindsql.schema import Schema
from mindsql_engines.remote import dtypes, fanout, hosts, settings, tables
from mindsql_engines.remote.client import Client, Reply, dumps
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.settings import Settings
from mindsql_engines.remote.tables import Columns, TablePredictor

if TYPE_CHECKING:
    import pandas as pd
    import requests

_BATCH_ROWS = 50_000
_PARQUET_ROWS = 1000
_PARQUET_SINCE = (3, 10, 1)
_NEW_SINCE = (2, 0, 0)
_PARQUET = "application/vnd.apache.parquet"
_OLD = "application/json; format=pandas-records"
_SIGNATURE_TYPES = {
    "boolean": "boolean",
    "integer": "integer",
    "long": "integer",
    "float": "float",
    "double": "float",
    "string": "text",
    "datetime": "datetime",
    "array": "array",
}
_SAMPLES: dict[str, Any] = {
    "integer": 1,
    "float": 1.0,
    "categorical": "a",
    "text": "a",
    "date": "2020-01-01",
    "datetime": "2020-01-01T00:00:00",
    "boolean": False,
    "array": [0.0],
}
_URLS = (
    Option("url.predict", "string", aliases=("predict_url",), description="the server's /invocations"),
    Option(
        "tracking_uri", "string", description="an MLflow tracking server that knows the model's signature"
    ),
)


class MLflowEngine(Engine):
    """Asks a model that MLflow serves."""

    title: ClassVar[str] = "MLflow"
    description: ClassVar[str] = "models that an MLflow scoring server answers"
    options: ClassVar[tuple[Option, ...]] = (
        *_URLS,
        Option("model", "string", description="its name in the registry: 'rent/1' or 'rent@champion'"),
        Option("format", "string", choices=("mlflow",), description="the protocol"),
        Option(
            "protocol",
            "string",
            choices=("auto", "current", "old"),
            description="old is before MLflow 2 (auto)",
        ),
        Option(
            "parquet",
            "boolean",
            description="whether many rows are sent as Parquet (where the server takes it)",
        ),
        Option("params", "object", description="parameters of the model's signature, sent along"),
        dtypes.DTYPE_DICT,
        dtypes.OUTPUTS,
        settings.ON_ERROR,
        *settings.CONNECTION,
    )
    engine_options: ClassVar[tuple[Option, ...]] = (*_URLS, *settings.CONNECTION)
    predict_options: ClassVar[tuple[Option, ...]] = settings.PREDICT
    capabilities: ClassVar[Capabilities] = Capabilities(
        thread_safe=True, needs_training_data=False, ask_once=True, max_concurrency=1
    )
    requires: ClassVar[str] = "pip install requests"

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        """Check the URLs; nothing is sent."""
        for key in ("url.predict", "tracking_uri"):
            if connection_args.get(key):
                hosts.check_url(connection_args[key], context().network, key)

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. What dtype_dict does not say, the registry or the server is asked for."""
        using = self._using(args)
        url = using.get("url.predict")
        if not url:
            raise StatementError(
                "a model behind a URL needs url.predict",
                hint="USING url.predict = 'http://…:5000/invocations'",
            )
        hosts.check_url(url, context().network, "url.predict")
        if using.get("tracking_uri"):
            hosts.check_url(using["tracking_uri"], context().network, "tracking_uri")
        if bool(using.get("model")) != bool(using.get("tracking_uri")):
            raise StatementError(
                "model and tracking_uri belong together",
                hint="model = 'rent/1', tracking_uri = 'http://…:5000'",
            )
        if df is not None and not using.get("dtype_dict"):
            raise StatementError(
                "an MLflow model is trained elsewhere, so rows to train on have no meaning for it",
                hint="leave FROM (…) out, and say in dtype_dict what columns the model has",
            )
        given = dtypes.read(using.get("dtype_dict"))
        declared = dtypes.read(using.get("outputs"), "outputs")
        rows: Schema = (args or {}).get("schema") or Schema()
        signature: dict[str, str] = {}
        answers: dict[str, str] = {}
        if using.get("model"):
            signature, answers = self._registered(using)
        elif not given and df is None:
            signature = self._probed(using, url)
        types = tables.columns_of(target, given, rows, signature)
        own = next((name for name in types if name.casefold() == target.casefold()), None)
        names = {name: dtype for name, dtype in types.items() if name != own}
        if signature:
            strange = [name for name in given if name not in signature and name != own]
            if strange:
                raise StatementError(
                    f'the model has no column "{strange[0]}"', hint="it has: " + ", ".join(signature)
                )
        further = {key: dtypes.DTYPES[dtype] for key, dtype in declared.items()}
        for key, dtype in answers.items():
            if key != target:
                further.setdefault(key, dtypes.DTYPES[dtype])
        said = types[own] if own is not None and own in given else answers.get(target)
        known = rows.find(target)
        if said is not None:
            kind = dtypes.DTYPES[said]
        else:
            kind, more = self._trial(names, using, url, target)
            further = {**more, **further}
            if known is not None and known.family != "number":
                kind = known.type
        outputs = tables.outputs_of(target, kind, further)
        tables.store(self.model_storage, target, dtypes.schema(names, rows), names, outputs)

    def _using(self, args: Args | None) -> dict[str, Any]:
        given = {key: value for key, value in ((args or {}).get("using") or {}).items() if value is not None}
        return {**self.engine_storage.get_connection_args(), **given}

    @cached_property
    def _session(self) -> requests.Session:
        from mindsql_engines.remote import connections

        return connections.session()

    def _registered(self, using: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        """Inputs and outputs by the signature in the registry. Raises EngineError."""
        base = str(using["tracking_uri"]).rstrip("/")
        client = Client(Settings.of(using), base, context(), self._session)
        name, _, rest = str(using["model"]).removeprefix("models:/").partition("@")
        name, _, version = name.partition("/")

        def get(path: str) -> Reply:
            return fanout.ask_one(client, lambda: client.request("GET", base + path))

        if rest:
            path = f"/api/2.0/mlflow/registered-models/alias?name={quote(name)}&alias={quote(rest)}"
            version = str(get(path).json()["model_version"]["version"])
        if not version:
            raise StatementError(f'which version of "{name}"?', hint=f"model = '{name}/1' or '{name}@alias'")
        path = f"/model-versions/get-artifact?path=MLmodel&name={quote(name)}&version={quote(version)}"
        return signature_of(get(path).content)

    def _probed(self, using: Mapping[str, Any], url: str) -> dict[str, str]:
        """The columns that the server itself names when it is asked for no rows; none when it has no signature."""
        client = Client(Settings.of(using, {"retries": 0}), url, context(), self._session)
        try:
            reply = fanout.ask_one(
                client, lambda: client.post(url, {"dataframe_records": []}, accept=lambda status: True)
            )
        except MindSQLError:
            return {}
        text = reply.content.decode("utf-8", "replace")
        found = re.findall(r"[\[,]\s*'([^']+)': (\w+)(?:\(\w+\))? \((?:required|optional)\)", text)
        return {name: _SIGNATURE_TYPES.get(kind.casefold(), "categorical") for name, kind in found}

    def _trial(
        self, names: Mapping[str, str], using: Mapping[str, Any], url: str, target: str
    ) -> tuple[str, dict[str, str]]:
        """The types of the answer, by one made-up row."""
        sample = {name: [_SAMPLES[dtype]] for name, dtype in names.items()}
        asking = Asking(url, str(using.get("protocol") or "auto"), names, target, using.get("params"), False)
        client = Client(Settings.of(using, {"retries": 0, "on_error": "fail"}), url, context(), self._session)
        try:
            answer = tables.spread(fanout.ask_one(client, lambda: asking(client, sample, False)), target, 1)
        except EngineError as error:
            raise StatementError(
                f'nothing says the type of the target "{target}", and a made-up row is refused: {error.message}',
                hint=f'dtype_dict = {{"{target}": "float", …}}',
            ) from error
        types = {key: tables.told_type(values) for key, values in answer.items()}
        return types.pop("prediction"), types

    def predictor(self, args: Args | None = None) -> TablePredictor:
        """See `Engine.predictor`."""
        using = self._using(args)
        url = str(using.get("url.predict"))
        meta = tables.stored(self.model_storage)
        made = Settings.of(using, (args or {}).get("predict_params"), batch_rows=_BATCH_ROWS)
        protocol = str(using.get("protocol") or "auto")
        ask = Asking(url, protocol, meta["dtypes"], meta["target"], using.get("params"), using.get("parquet"))
        return TablePredictor(meta, url, made, self._session, ask)

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`."""
        meta = tables.stored(self.model_storage)
        wanted = list((args or {}).get("columns") or [meta["target"]])
        return tables.as_frame(self.predictor(args), meta, df, wanted)

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        return tables.summary(self.model_storage)


class Asking:
    """Asks one scoring server in the protocol that it speaks, which is found out with the first request.

    Args:
        url: Its `/invocations`.
        protocol: `current`, `old`, or `auto` to find out.
        types: Column → dtype.
        target: The column to predict.
        params: Parameters for the model.
        parquet: Whether many rows go as Parquet; None to find out.
    """

    def __init__(
        self,
        url: str,
        protocol: str,
        types: Mapping[str, str],
        target: str,
        params: Mapping[str, Any] | None,
        parquet: bool | None,
    ) -> None:
        self._url = url
        self._types = types
        self._target = target
        self._params = params
        self._old: bool | None = {"current": False, "old": True}.get(protocol)
        self._parquet = parquet
        self._asked = protocol != "auto" and parquet is not None

    def __call__(self, client: Client, columns: Columns, again: bool) -> Mapping[str, Any]:
        """Send columns, and give the answer's by key. Raises RequestError."""
        if not self._asked:
            self._ask_version(client)
            self._asked = True
        rows = len(next(iter(columns.values()), []))
        if self._parquet and not self._old and not self._params and rows >= _PARQUET_ROWS:
            try:
                body = parquet(columns, self._types)
                reply = client.request("POST", self._url, body, _PARQUET, retry_rows=again)
                return keyed(reply.json(), self._target)
            except RequestError as error:
                # Types are taken exactly in Parquet, and by their meaning in JSON.
                if error.status not in (400, 415, 422):
                    raise
                found = self._json(client, columns, again)
                self._parquet = False
                return found
        return self._json(client, columns, again)

    def _json(self, client: Client, columns: Columns, again: bool) -> Mapping[str, Any]:
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        payload: dict[str, Any] = {"dataframe_records": records}
        if self._params:
            payload["params"] = self._params
        if self._old:
            return keyed(self._send_old(client, records, again).json(), self._target)
        try:
            reply = client.post(self._url, payload, retry_rows=again)
        except RequestError as error:
            if self._old is not None or error.status not in (400, 415):
                raise
            try:
                reply = self._send_old(client, records, again)
            except RequestError:
                raise error from None
            self._old = True
        else:
            self._old = False
        return keyed(reply.json(), self._target)

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


def signature_of(text: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Inputs and named outputs of an `MLmodel` file. Raises EngineError.

    The file is YAML, and its signature holds JSON in quoted scalars: these are all that is read of it.
    """
    block = re.search(r"^signature:\n((?:[ ]+.*\n?|\n)+)", text.decode("utf-8", "replace"), re.MULTILINE)
    found: dict[str, str] = {}
    for key, single, double in re.findall(
        r"^  (inputs|outputs):\s+(?:'((?:[^']|'')*)'|(\"(?:[^\"\\]|\\.)*\"))",
        block[1] if block else "",
        re.MULTILINE,
    ):
        if double:
            found[key] = json.loads(re.sub(r"\\?\n\s*\\?", "", double))
        else:
            found[key] = re.sub(r"\n\s*", " ", single).replace("''", "'")
    try:
        return _columns(found.get("inputs")), _columns(found.get("outputs"))
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise EngineError(f"the signature in the registry's MLmodel cannot be read: {error}") from error


def _columns(text: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in json.loads(text or "[]"):
        if item.get("type") == "tensor":
            shape = item["tensor-spec"]["shape"]
            kind = "float" if re.match("float|int", item["tensor-spec"]["dtype"]) else "text"
            if len(shape) == 2 and shape[1] > 0:
                found.update({str(number): kind for number in range(shape[1])})
        elif item.get("name") is not None:
            found[str(item["name"])] = _SIGNATURE_TYPES.get(item["type"], "categorical")
    return found


def parquet(columns: Columns, types: Mapping[str, str]) -> bytes:
    """Columns of JSON values as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {
        "integer": pa.int64(), "float": pa.float64(), "text": pa.string(), "boolean": pa.bool_(),
        "array": pa.list_(pa.float64()),
    }  # fmt: skip
    arrays = []
    for name, values in columns.items():
        dtype = types[name]
        if dtype in ("date", "datetime"):
            arrays.append(pa.array(values, pa.string()).cast(pa.timestamp("us")))
        else:
            arrays.append(pa.array(values, wanted.get(dtype)))
    body = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), body)
    return body.getvalue()
