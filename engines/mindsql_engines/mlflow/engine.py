"""Owns `MLflowEngine`, the handler: models that an MLflow scoring server answers, and scikit-learn models that an
MLflow registry holds. MLflow itself is not needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Capabilities, Option, Predictor, Summary, Translation, context
from mindsql.errors import EngineError, MindSQLError, StatementError
from mindsql.schema import Schema
from mindsql_engines.mlflow.asking import Asking
from mindsql_engines.mlflow.registry import SIGNATURE_TYPES, Registry
from mindsql_engines.remote import dtypes, fanout, settings, tables
from mindsql_engines.remote.base import RemoteEngine
from mindsql_engines.remote.client import Client
from mindsql_engines.remote.rows import Rows
from mindsql_engines.remote.settings import Settings
from mindsql_engines.remote.tables import TablePredictor

if TYPE_CHECKING:
    import pandas as pd

    from mindsql_engines.sklearn import SklearnEngine

_BATCH_ROWS = 50_000
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
    Option("tracking_uri", "string", description="an MLflow tracking server, whose registry has the model"),
)


_OF_SERVERS = ("dtype_dict", "outputs", "protocol", "parquet", "params", "on_error", "batch_rows")
"""Options that mean nothing for a model that is loaded."""
_TRUSTED = "load a pickle of the registry, which can run any code that is in it"


class MLflowEngine(RemoteEngine):
    """Asks a model that MLflow serves, or loads one that MLflow's registry has."""

    title: ClassVar[str] = "MLflow"
    description: ClassVar[str] = "models of an MLflow scoring server, or of an MLflow registry"
    options: ClassVar[tuple[Option, ...]] = (
        *_URLS,
        Option(
            "model",
            "string",
            aliases=("model_name",),
            description="its name in the registry: 'rent', 'rent/1' or 'rent@champion'",
        ),
        Option("trusted", "boolean", description=_TRUSTED),
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
    predict_options: ClassVar[tuple[Option, ...]] = (
        *settings.PREDICT,
        Option("trusted", "boolean", description=_TRUSTED),
    )
    urls: ClassVar[tuple[str, ...]] = ("url.predict", "tracking_uri")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. What dtype_dict does not say, the registry or the server is asked for."""
        using = self.using(args)
        url = using.get("url.predict")
        # An engine's tracking_uri is for those of its models that are named there.
        own = (args or {}).get("using") or {}
        named, known = bool(using.get("model")), bool(using.get("tracking_uri"))
        if named != known and (named or own.get("tracking_uri")):
            raise StatementError(
                "model and tracking_uri belong together",
                hint="model = 'rent/1', tracking_uri = 'http://…:5000'",
            )
        self.check_urls(using)
        if url:
            self._create_served(target, df, args, using, str(url))
        elif using.get("model"):
            self._create_loaded(target, df, args, using)
        else:
            raise StatementError(
                "a model behind a URL needs url.predict, one of a registry tracking_uri and model",
                hint="USING url.predict = 'http://…:5000/invocations'",
            )

    def _create_loaded(
        self, target: str, df: pd.DataFrame | None, args: Args | None, using: dict[str, Any]
    ) -> None:
        """Keep the scikit-learn model that a version of the registry holds."""
        from mindsql_engines.sklearn import registering

        own = (args or {}).get("using") or {}
        for option in _OF_SERVERS:
            if own.get(option) is not None:
                raise StatementError(
                    f"{option} has no meaning for a model that is loaded from the registry",
                    hint="leave it out, or give url.predict of a server that answers",
                )
        _refuse_rows(df)
        registry = self._registry(using)
        found = registry.find(str(using["model"]))
        types = {name: dtypes.DTYPES[dtype] for name, dtype in found.inputs.items()}
        trusted = bool((args or {}).get("trusted", using.get("trusted")))
        registering.keep(self.model_storage, target, registry.estimator(found), found.uri, trusted, types)
        self.model_storage.json_set("registered", found.uri)

    def _create_served(
        self, target: str, df: pd.DataFrame | None, args: Args | None, using: dict[str, Any], url: str
    ) -> None:
        """Keep what is known of the columns of a model that a server answers."""
        if using.get("trusted") is not None:
            raise StatementError(
                "trusted is for a model that is loaded from the registry: leave url.predict out"
            )
        if not using.get("dtype_dict"):
            _refuse_rows(df)
        given = dtypes.read(using.get("dtype_dict"))
        declared = dtypes.read(using.get("outputs"), "outputs")
        rows: Schema = (args or {}).get("schema") or Schema()
        signature: Mapping[str, str] = {}
        answers: Mapping[str, str] = {}
        if using.get("model"):
            registered = self._registry(using).find(str(using["model"]))
            signature, answers = registered.inputs, registered.outputs
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
                kind = tables.answerable(known.type)
        outputs = tables.outputs_of(target, kind, further)
        tables.store(self.model_storage, target, dtypes.schema(names, rows), names, outputs)

    def _registry(self, using: Mapping[str, Any]) -> Registry:
        uri = str(using["tracking_uri"])
        # A key is for one origin: that of the server that answers, if there is one.
        home = str(using.get("url.predict") or uri)
        return Registry(Client(Settings.of(using), home, context(), self.session), uri)

    def _probed(self, using: Mapping[str, Any], url: str) -> dict[str, str]:
        """The columns that the server itself names when it is asked for no rows; none when it has no signature."""
        client = Client(Settings.of(using, {"retries": 0}), url, context(), self.session)
        try:
            reply = fanout.ask_one(
                client, lambda: client.post(url, {"dataframe_records": []}, accept=lambda status: True)
            )
        except MindSQLError:
            return {}
        text = reply.content.decode("utf-8", "replace")
        found = re.findall(r"[\[,]\s*'([^']+)': (\w+)(?:\(\w+\))? \((?:required|optional)\)", text)
        return {name: SIGNATURE_TYPES.get(kind.casefold(), "categorical") for name, kind in found}

    def _trial(
        self, names: Mapping[str, str], using: Mapping[str, Any], url: str, target: str
    ) -> tuple[str, dict[str, str]]:
        """The types of the answer, by one made-up row."""
        import pyarrow as pa

        made = pa.RecordBatch.from_pydict({name: [_SAMPLES[dtype]] for name, dtype in names.items()})
        sample = Rows(made, names)
        asking = Asking(url, str(using.get("protocol") or "auto"), target, using.get("params"), False)
        client = Client(Settings.of(using, {"retries": 0, "on_error": "fail"}), url, context(), self.session)
        try:
            answer = tables.spread(fanout.ask_one(client, lambda: asking(client, sample, False)), target, 1)
        except EngineError as error:
            raise StatementError(
                f'nothing says the type of the target "{target}", and a made-up row is refused: {error.message}',
                hint=f'dtype_dict = {{"{target}": "float", …}}',
            ) from error
        types = {key: tables.told_type(values) for key, values in answer.items()}
        return types.pop("prediction"), types

    @property
    def _loaded(self) -> SklearnEngine | None:
        """What answers for a model out of the registry; None when a server does."""
        if self.model_storage.json_get("registered") is None:
            return None
        from mindsql_engines.sklearn import SklearnEngine

        return SklearnEngine(self.model_storage, self.engine_storage)

    def predictor(self, args: Args | None = None) -> Predictor:
        """See `Engine.predictor`."""
        params = (args or {}).get("predict_params") or {}
        loaded = self._loaded
        strange = [key for key in params if (key == "trusted") != (loaded is not None)]
        if strange:
            where = "is loaded from the registry" if loaded is not None else "is asked at its URL"
            raise StatementError(f"{strange[0]} has no meaning for a model that {where}")
        if loaded is not None:
            return loaded.predictor(args)
        using = self.using(args)
        url = str(using.get("url.predict"))
        meta = tables.stored(self.model_storage)
        made = Settings.of(using, params, batch_rows=_BATCH_ROWS)
        protocol = str(using.get("protocol") or "auto")
        ask = Asking(url, protocol, meta["target"], using.get("params"), using.get("parquet"))
        return TablePredictor(meta, url, made, self.session, ask)

    def model_capabilities(self) -> Capabilities:
        """See `Engine.model_capabilities`."""
        loaded = self._loaded
        return loaded.capabilities if loaded is not None else self.capabilities

    def translation(self, args: Args | None = None) -> Translation | str | None:
        """See `Engine.translation`."""
        loaded = self._loaded
        return loaded.translation(args) if loaded is not None else None

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        loaded = self._loaded
        return loaded.summary() if loaded is not None else tables.summary(self.model_storage)

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`."""
        loaded = self._loaded
        return loaded.describe(key) if loaded is not None else super().describe(key)


def _refuse_rows(df: pd.DataFrame | None) -> None:
    if df is not None:
        raise StatementError(
            "an MLflow model is trained elsewhere, so rows to train on have no meaning for it",
            hint="leave FROM (…) out, and say in dtype_dict what columns the model has",
        )
