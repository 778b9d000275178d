"""Owns `RayServeEngine`: models that other people's programs train and serve, by the protocol of MindsDB's first
bring-your-own-model page. `/train` is sent `{"df": …, "target": …}`, `/predict` is sent `{"df": …}`, where `df` is the
text of a JSON object column → row → value; the answers are `{"status": "ok"}` and `{"prediction": […], …}`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Option, Summary, context
from mindsql.errors import EngineError, StatementError
from mindsql.schema import Schema
from mindsql_engines.remote import dtypes, fanout, settings, tables
from mindsql_engines.remote.base import RemoteEngine
from mindsql_engines.remote.client import Client, dumps
from mindsql_engines.remote.failures import RequestError, spoken
from mindsql_engines.remote.rows import Columns
from mindsql_engines.remote.settings import Settings
from mindsql_engines.remote.tables import TablePredictor

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 10_000
_TRIAL_ROWS = 3
_ROWS_AT_ONCE = 5000
_IN_MEMORY = 8 << 20
_URLS = (
    Option("url.predict", "string", aliases=("predict_url",), description="where to ask for predictions"),
    Option("url.train", "string", aliases=("train_url",), description="where to send the training rows"),
)


class RayServeEngine(RemoteEngine):
    """Trains and asks a model behind two URLs."""

    title: ClassVar[str] = "Ray Serve"
    description: ClassVar[str] = (
        "models that a server of one's own trains and answers, as a Ray Serve application does"
    )
    options: ClassVar[tuple[Option, ...]] = (
        *_URLS,
        Option("format", "string", choices=("ray_serve", "ray_server"), description="the protocol"),
        dtypes.DTYPE_DICT,
        dtypes.OUTPUTS,
        Option(
            "train_timeout", "float", minimum=0.05, description="seconds that the training may take (3600)"
        ),
        settings.ON_ERROR,
        *settings.CONNECTION,
    )
    engine_options: ClassVar[tuple[Option, ...]] = (*_URLS, *settings.CONNECTION)
    urls: ClassVar[tuple[str, ...]] = ("url.predict", "url.train")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. Everything is checked before anything is sent."""
        args = args or {}
        using = self.using(args)
        rows: Schema = args.get("schema") or Schema()
        predict_url, train_url = using.get("url.predict"), using.get("url.train")
        if not predict_url:
            raise StatementError(
                "a model behind a URL needs url.predict", hint="USING url.predict = 'http://…/predict'"
            )
        if df is not None and not train_url:
            raise StatementError(
                "there are rows to train on, but no url.train to send them to",
                hint="USING url.train = 'http://…/train', or leave FROM out for a model that is trained already",
            )
        if df is None and train_url:
            raise StatementError(
                "url.train is given, but no rows to train on",
                hint="CREATE MODEL … FROM (SELECT …) PREDICT …, or leave url.train out",
            )
        self.check_urls(using)
        declared = dtypes.read(using.get("outputs"), "outputs")
        types = tables.columns_of(target, dtypes.read(using.get("dtype_dict")), rows)
        own = next((name for name in types if name.casefold() == target.casefold()), None)
        if df is None and own is None:
            raise StatementError(
                f'dtype_dict does not say the type of the target "{target}"',
                hint=f'dtype_dict = {{"{target}": "float", …}}',
            )
        names = {name: dtype for name, dtype in types.items() if name != own}
        inputs = dtypes.schema(names, rows)
        further = {key: dtypes.DTYPES[dtype] for key, dtype in declared.items()}
        known = rows.find(target)
        target_type = dtypes.schema({own or target: types.get(own or target, "float")}, rows)[0].type
        if known is not None and types[known.name] == "integer":
            target_type = known.type
        target_type = tables.answerable(target_type)
        if df is not None:
            frame = df[[*inputs.names, known.name if known is not None else target]]
            sent = {**names, (known.name if known is not None else target): types[own or target]}
            self._train(frame, sent, target, using, str(train_url))
            answer = self._trial(df, inputs, names, using, str(predict_url), target)
            for key, values in answer.items():
                if key != "prediction" and key not in further:
                    further[key] = (
                        "DOUBLE" if key in ("confidence", "lower", "upper") else tables.told_type(values)
                    )
            target_type = _fitting(target_type, answer["prediction"])
        outputs = tables.outputs_of(target, target_type, further)
        tables.store(self.model_storage, target, inputs, names, outputs, rows=0 if df is None else len(df))

    def _settings(self, using: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> Settings:
        return Settings.of(using, params, batch_rows=_BATCH_ROWS)

    def _train(
        self, frame: pd.DataFrame, types: Mapping[str, str], target: str, using: Mapping[str, Any], url: str
    ) -> None:
        made = self._settings(using)
        client = Client(made, url, context(), self.session)
        self.model_storage.training_state_set(0, 2, "sending rows")
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
            for piece in training_body(frame, types, target):
                body.write(piece)

            def send() -> Any:
                return client.request(
                    "POST",
                    url,
                    body,
                    "application/json",
                    timeout=float(using.get("train_timeout") or 3600.0),
                    retry_rows=False,
                )

            self.model_storage.training_state_set(1, 2, "training on the server")
            reply = fanout.ask_one(client, send)
        said = reply.json()
        if not isinstance(said, Mapping) or said.get("status") != "ok":
            raise EngineError(f"the server did not train the model: {spoken(reply.content)}")

    def _trial(
        self,
        df: pd.DataFrame,
        inputs: Schema,
        types: Mapping[str, str],
        using: Mapping[str, Any],
        url: str,
        target: str,
    ) -> dict[str, Sequence[Any]]:
        few = df.head(_TRIAL_ROWS)
        sent = {c.name: dtypes.sendable(_cells(few[c.name]), types[c.name], c.name) for c in inputs}
        client = Client(self._settings(using), url, context(), self.session)
        answer = fanout.ask_one(client, lambda: self._ask(client, url, sent, False))
        return tables.spread(answer, target, len(few))

    @staticmethod
    def _ask(client: Client, url: str, columns: Columns, again: bool) -> Mapping[str, Any]:
        found = client.post(url, {"df": frame_text(columns)}, retry_rows=again).json()
        if not isinstance(found, Mapping):
            raise RequestError("the answer is no JSON object with a prediction", status=200)
        if "prediction" not in found and str(found.get("status", "ok")) != "ok":
            raise RequestError(f"the server failed: {spoken(dumps(dict(found)))}", status=500, rows=True)
        return found

    def predictor(self, args: Args | None = None) -> TablePredictor:
        """See `Engine.predictor`."""
        args = args or {}
        using = self.using(args)
        url = str(using.get("url.predict"))
        made = self._settings(using, args.get("predict_params"))
        return TablePredictor(
            tables.stored(self.model_storage),
            url,
            made,
            self.session,
            lambda client, rows, again: self._ask(client, url, rows.columns(), again),
        )

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        return tables.summary(self.model_storage)


def frame_text(columns: Columns) -> str:
    """Columns as the text of `{"column": {"0": value, …}, …}`, what `DataFrame.to_dict` gives."""
    return dumps(
        {name: {str(row): value for row, value in enumerate(values)} for name, values in columns.items()}
    ).decode()


def training_body(frame: pd.DataFrame, types: Mapping[str, str], target: str) -> Iterator[bytes]:
    """The request to train, piece by piece: rows of any number need no second copy."""

    def inner(text: str) -> bytes:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()

    yield b'{"df":"{'
    for number, name in enumerate(frame.columns):
        yield inner(("," if number else "") + json.dumps(str(name), ensure_ascii=False) + ":{")
        for start in range(0, len(frame), _ROWS_AT_ONCE):
            part = frame[name].iloc[start : start + _ROWS_AT_ONCE]
            values = dtypes.sendable(_cells(part), types[str(name)], str(name), start)
            text = dumps({str(start + row): value for row, value in enumerate(values)}).decode()[1:-1]
            yield inner(("," if start else "") + text)
        yield b"}"
    yield b'}","target":' + dumps(target) + b"}"


def _cells(values: Any) -> list[Any]:
    """The cells of a pandas column as Python values, what is missing as None."""
    import pyarrow as pa

    array = pa.Array.from_pandas(values)
    return list(array.to_pylist())


def _fitting(type_name: str, answers: Sequence[Any]) -> str:
    """The type of the target, unless the answers need another one: a mean of whole numbers is none."""
    try:
        tables.fitted(answers, type_name, "prediction")
    except RequestError:
        return tables.told_type(answers)
    return type_name
