"""Owns `SklearnEngine`, the handler: what the contract asks, handed on to the modules beside it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Capabilities, Engine, Estimator, Option, Predictor, Summary, Translation
from mindsql.errors import EngineError, StatementError
from mindsql.frames import TrainingRows
from mindsql.schema import Schema
from mindsql_engines.sklearn import estimators

if TYPE_CHECKING:
    import pandas as pd

_OPTIONS = (
    Option(
        "estimator",
        "string",
        description="a classifier, regressor, outlier detector or clusterer; 'auto' looks for the best",
    ),
    Option(
        "task",
        "string",
        choices=("classification", "regression", "anomaly", "clustering"),
        description="what kind of answer to give; inferred from the target when not given",
    ),
    Option(
        "path",
        "string",
        file=True,
        description="a ready-made estimator or pipeline to register, saved with skops",
    ),
    Option(
        "trusted", "boolean", default=False, description="load a pickle, which can run any code that is in it"
    ),
    Option(
        "test_size",
        "float",
        default=0.2,
        minimum=0,
        maximum=0.99,
        description="share of rows held out for scores",
    ),
    Option(
        "random_state",
        "integer",
        default=0,
        minimum=0,
        maximum=2**32 - 1,
        description="seed of all randomness",
    ),
    Option(
        "confidence",
        "float",
        default=0.9,
        minimum=0.01,
        maximum=0.999,
        description="coverage of a regression's interval",
    ),
    Option("features", "array", description="the columns to predict from; all suitable ones when not given"),
    Option("exclude", "array", description="columns of the query that the model shall not use, such as keys"),
    Option("time_limit", "float", minimum=1, description="seconds to look for the best estimator or parameters (60)"),
    Option("trials", "integer", minimum=1, description="the most that are tried"),
    Option(
        "tune",
        "object",
        description="parameter → list of values, or {'from': …, 'to': …, 'log': true}: what to look for the best of",
    ),
)


_IMPORTING = threading.Lock()


def _import_libraries() -> None:
    """Import scikit-learn and skops, by one thread.

    Their modules import each other: two threads that begin with different ones would wait for each other, which Python
    ends with an error in one of them.
    """
    with _IMPORTING:
        import skops.io  # noqa: F401  # brings all of scikit-learn along


class SklearnEngine(Engine):
    """Trains and serves scikit-learn estimators, with preprocessing by DuckDB types."""

    title: ClassVar[str] = "scikit-learn"
    description: ClassVar[str] = "classifiers, regressors, outlier detectors and clusterers of scikit-learn"
    options: ClassVar[tuple[Option, ...]] = _OPTIONS
    predict_options: ClassVar[tuple[Option, ...]] = (
        Option("trusted", "boolean", default=False, description="load a model that is stored as a pickle"),
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        thread_safe=True, needs_training_data=False, takes_arrow=True
    )
    requires: ClassVar[str] = "pip install scikit-learn skops"

    @classmethod
    def options_for(cls, using: Mapping[str, Any]) -> Sequence[Option]:
        """The base options, and the parameters of the estimator, or of those that stand for it by default."""
        if using.get("path") is not None:
            return cls.options
        known = {option.name for option in cls.options}
        name = using.get("estimator")
        if estimators.is_auto(name):
            return cls.options
        if not isinstance(name, str) and all(key in known for key in using):
            return cls.options
        _import_libraries()
        from mindsql_engines.sklearn import parameters

        if isinstance(name, str):
            own = parameters.options(name)
        else:
            task = using.get("task")
            defaults = estimators.DEFAULT_FOR
            own = parameters.union([defaults[task]] if task in defaults else defaults.values())
        return (*cls.options, *(option for option in own if option.name not in known))

    @classmethod
    def estimators(cls) -> Sequence[Estimator]:
        """See `Engine.estimators`."""
        _import_libraries()
        from mindsql_engines.sklearn import choice

        return choice.listed()

    @classmethod
    def needs_target(cls, using: Mapping[str, Any]) -> bool:
        """See `Engine.needs_target`: clusterers and outlier detectors find their answers by themselves."""
        name = using.get("estimator")
        named = isinstance(name, str) and not estimators.is_auto(name)
        task = using.get("task") or (estimators.task_of(str(name)) if named else None)
        return task not in ("anomaly", "clustering")

    def create(
        self, target: str | None, df: pd.DataFrame | TrainingRows | None = None, args: Args | None = None
    ) -> None:
        """See `Engine.create`; without a target the answers are called `outlier` or `cluster`."""
        _import_libraries()
        from mindsql_engines.sklearn import models, registering, training

        args = args or {}
        _refuse_time_series(args)
        using = args.get("using") or {}
        trusted = bool(args.get("trusted", using.get("trusted")))
        if using.get("path") is not None:
            registering.register(self.model_storage, target, df, using, trusted)
            return
        if df is None:
            raise StatementError(
                "there are no rows to train on",
                hint="add FROM (SELECT …), or path = 'model.skops' for a ready model",
            )
        anomaly = bool(args.get("anomaly"))
        name = target or _answer_name(using, anomaly)
        job = training.TrainingRun.of(name, using, anomaly)
        data, schema = _rows(df, args)
        made = training.train(job, data, schema, self.model_storage.training_state_set)
        models.store(self.model_storage, job, made)

    def update(self, df: pd.DataFrame | TrainingRows | None = None, args: Args | None = None) -> None:
        """See `Engine.update`."""
        _import_libraries()
        from mindsql_engines.sklearn import updating

        args = args or {}
        _refuse_time_series(args)
        base = self.base_model_storage
        if base is None:
            raise EngineError("FINETUNE needs the version to start from")
        data = _rows(df, args)[0] if df is not None else None
        updating.update(base, self.model_storage, data, args.get("using") or {})

    def predictor(self, args: Args | None = None) -> Predictor:
        """The stored model, loaded once for many batches."""
        _import_libraries()
        from mindsql_engines.sklearn import models

        return models.load(self.model_storage, _trusted(args))

    def translation(self, args: Args | None = None) -> Translation | str:
        """See `Engine.translation`."""
        _import_libraries()
        from mindsql_engines.sklearn import models

        return models.translation(self.model_storage, _trusted(args))

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`; the same answers as the predictor's."""
        import pandas as pd
        import pyarrow as pa

        from mindsql_engines.sklearn import columns, models

        meta = models.read(self.model_storage)
        wanted = list((args or {}).get("columns") or [name for name, _ in meta["outputs"]])
        folded = {str(column).casefold(): column for column in df.columns}
        arrays, names = [], []
        for name, kind in meta["inputs"]:
            if name.casefold() in folded:
                arrays.append(columns.from_series(df[folded[name.casefold()]], name, kind))
                names.append(name)
        batch = pa.RecordBatch.from_arrays(arrays, names=names)
        answers = self.predictor(args).predict(batch, wanted)
        frame = pd.DataFrame({name: answers[name].to_pandas() for name in wanted})
        frame.index = df.index
        return frame

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        from mindsql_engines.sklearn import models

        return models.summary(self.model_storage)

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: info, features, metrics, model and, for a classifier, confusion."""
        from mindsql_engines.sklearn import models

        return models.describe(self.model_storage, key)


def _rows(df: pd.DataFrame | TrainingRows, args: Args) -> tuple[TrainingRows, Schema]:
    """The training rows in Arrow, and the DuckDB types of their columns."""
    schema: Schema = args.get("schema") or Schema()
    if isinstance(df, TrainingRows):
        return df, schema
    from mindsql_engines.sklearn import columns

    return columns.rows_of(df, schema)


def _answer_name(using: Mapping[str, Any], anomaly: bool) -> str:
    task = using.get("task")
    if isinstance(using.get("estimator"), str) and not estimators.is_auto(using["estimator"]):
        task = estimators.task_of(using["estimator"])
    if anomaly or task == "anomaly":
        return "outlier"
    if task == "clustering":
        return "cluster"
    raise StatementError("the statement names no target", hint="add PREDICT and the column to predict")


def _trusted(args: Args | None) -> bool:
    """Whether a pickle may be loaded: the caller or the query says so, never what the model stored."""
    args = args or {}
    return bool(args.get("trusted", (args.get("predict_params") or {}).get("trusted")))


def _refuse_time_series(args: Args) -> None:
    settings = args.get("timeseries_settings") or {}
    if any(settings.get(key) for key in ("is_timeseries", "order_by", "group_by", "window", "horizon")):
        raise StatementError(
            "the engine sklearn does not forecast: it has no ORDER BY, GROUP BY, WINDOW or HORIZON",
            hint="leave these clauses out and give lagged values as columns, or take a forecasting engine",
        )
