"""Owns an engine that implements every hook, and for each check an engine that breaks just its promise."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from mindsql.engine import Args, Capabilities, Engine, Option, Summary, Translation
from mindsql.errors import EngineError, StatementError
from mindsql.frames import TrainingRows, to_pandas
from mindsql.schema import Schema
from mindsql.testing import ToyEngine

TOKEN = Option("token", "string", required=True, secret=True)


class Thorough(ToyEngine):
    """ToyEngine with every optional hook; the token is a secret that must not get out."""

    options = (*ToyEngine.options, Option("unit", "string", required=True, choices=("euro", "dollar")))
    engine_options = (TOKEN,)
    capabilities = replace(ToyEngine.capabilities, takes_arrow=True)

    def create(self, target: str, df: Any = None, args: Args | None = None) -> None:
        if isinstance(df, TrainingRows):
            df = pd.DataFrame({name: df.take(name).to_pandas() for name in df.names})
        super().create(target, df, args)

    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        if self.base_model_storage is None or df is None:
            raise StatementError("nothing to continue from")
        model = self.base_model_storage.json_get("model")
        self.model_storage.json_set("model", {**model, "rows": model["rows"] + len(df)})

    def describe(self, key: str | None = None) -> pd.DataFrame:
        if key is None:
            return pd.DataFrame({"tables": ["model"]})
        return pd.DataFrame({"factor": [self.model_storage.json_get("model")["factor"]]})

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        if not connection_args["token"]:
            raise StatementError("the token is empty")
        self.engine_storage.json_set("connected", True)

    def predictor(self, args: Args | None = None) -> Any:
        return ToyPredictor(self, args or {})

    def translation(self, args: Args | None = None) -> Translation:
        weights = {"number": '"{}"', "boolean": '"{}"::INTEGER', "text": 'length("{}")'}
        inputs = self.summary().inputs
        steps = {f"__{c.name}": f"coalesce({weights[c.family].format(c.name)}, 0)::DOUBLE" for c in inputs}
        model = self.model_storage.json_get("model")
        return Translation({model["target"]: f"{model['factor']} * ({' + '.join(steps)})"}, (steps,))


class ToyPredictor:
    """The fast path: `predict`, from Arrow to Arrow."""

    def __init__(self, engine: Engine, args: Args) -> None:
        self.engine, self.args = engine, args

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> Mapping[str, pa.Array]:
        frame = self.engine.predict(to_pandas(batch), {**self.args, "columns": list(columns)})
        return {name: pa.array(frame[name]) for name in columns}


BROKEN: dict[str, type[Engine]] = {}


def breaks(cls: type[Engine]) -> type[Engine]:
    """File a class under the check that it fails: the name of the class is that of the check."""
    BROKEN[cls.__name__] = cls
    return cls


@breaks
class check_declarations(ToyEngine):
    options = (Option("factor", "float", default="much"),)


@breaks
class check_unknown_option(ToyEngine):
    @classmethod
    def options_for(cls, using: Mapping[str, Any]) -> Sequence[Option]:
        return [*cls.options, *(Option(name, "any") for name in using)]


@breaks
class check_required_options(Thorough):
    @classmethod
    def options_for(cls, using: Mapping[str, Any]) -> Sequence[Option]:
        return [option for option in cls.options if option.name in using or not option.required]


@breaks
class check_summary(ToyEngine):
    def summary(self) -> Summary:
        plain = super().summary()
        return Summary(Schema.of([*plain.inputs.pairs(), ("garden", "BOOLEAN")]), plain.outputs)


@breaks
class check_state_in_storage(ToyEngine):
    factor = 1.0

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        super().create(target, df, args)
        self.factor = 2.0

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return (
            super().predict(df, {"columns": [self.model_storage.json_get("model")["target"]]}) * self.factor
        )


@breaks
class check_models_apart(ToyEngine):
    level = 0.0

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        super().create(target, df, args)
        type(self).level = 0.0 if df is None else float(df[target].mean())

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df).add(self.level)

    def summary(self) -> None:  # type: ignore[override]
        return None


@breaks
class check_update(Thorough):
    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        super().update(df, args)
        assert self.base_model_storage is not None
        self.base_model_storage.json_set("model", {"gone": True})


@breaks
class check_describe(Thorough):
    def describe(self, key: str | None = None) -> pd.DataFrame:
        return pd.DataFrame({"keys": ["model"]})


@breaks
class check_create_engine(Thorough):
    def create_engine(self, connection_args: dict[str, Any]) -> None:
        connection_args.pop("token")


@breaks
class check_secrets(Thorough):
    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        if df is not None and target not in df:
            raise EngineError(f"the service refused {self.engine_storage.get_connection_args()}")
        super().create(target, df, args)


@breaks
class check_row_count(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df, args).drop_duplicates()


@breaks
class check_one_row(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        answers = super().predict(df, args)
        return answers.squeeze(axis=0)  # type: ignore[no-any-return]


@breaks
class check_empty_frame(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        first = df.iloc[0]
        return super().predict(df, args) if len(first) else pd.DataFrame()


@breaks
class check_row_order(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        answers = super().predict(df, args)
        return answers.sort_values(answers.columns[0])


@breaks
class check_index(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df, args).reindex(range(len(df)))


@breaks
class check_subset_invariance(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        target = super().predict(df)
        return super().predict(df, args).assign(**{target.columns[0]: target - target.mean()})


@breaks
class check_batch_size(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        if len(df) == 7:
            raise EngineError("the model takes no 7 rows")
        return super().predict(df, args)


@breaks
class check_determinism(ToyEngine):
    calls = 0

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        type(self).calls += 1
        target = super().predict(df)
        return super().predict(df, args).assign(**{target.columns[0]: target + self.calls})


@breaks
class check_threads(ToyEngine):
    busy = False
    met = threading.Event()

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        if self.busy:
            self.met.set()
            raise RuntimeError("two calls at once")
        self.busy = True
        try:
            if threading.current_thread() is not threading.main_thread():
                self.met.wait(30)  # however busy the machine is, another thread comes while this one is here
            return super().predict(df, args)
        finally:
            self.busy = False


@breaks
class check_target_column(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df, args).rename(columns=lambda name: "prediction" if name == "rent" else name)


@breaks
class check_extra_columns(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df, {"columns": self.summary().outputs.names})


@breaks
class check_predictor(Thorough):
    def predictor(self, args: Args | None = None) -> Any:
        class Off(ToyPredictor):
            def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> Mapping[str, pa.Array]:
                answers = super().predict(batch, columns)
                return {name: pa.array([None] * len(array), array.type) for name, array in answers.items()}

        return Off(self, args or {})


@breaks
class check_takes_arrow(Thorough):
    def create(self, target: str, df: Any = None, args: Args | None = None) -> None:
        if args and isinstance(df, TrainingRows):
            args = {**args, "using": {**args["using"], "factor": 2.0}}
        super().create(target, df, args)


@breaks
class check_translation(Thorough):
    def translation(self, args: Args | None = None) -> Translation:
        plain = super().translation(args)
        return Translation({name: f"nullif({sql}, 0)" for name, sql in plain.outputs.items()}, plain.steps)


@breaks
class check_frame_unchanged(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        df["seen"] = 0
        return super().predict(df, args)


@breaks
class check_args_unchanged(ToyEngine):
    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        super().create(target, df, args)
        assert args is not None
        args["using"].pop("factor")


@breaks
class check_nulls(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df.astype({"rooms": "int64"}), args)


@breaks
class check_type_family(ToyEngine):
    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        return super().predict(df.assign(rooms=df["rooms"].astype(str).str.len()), args)


class Shy(ToyEngine):
    """Promises less: its answers are random, it takes no NULL and bears no threads."""

    capabilities = Capabilities(deterministic=False, row_wise=False, accepts_missing=False)

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        if df.isna().any(axis=None):
            raise StatementError("an input is NULL")
        answers = super().predict(df, args)
        return answers.assign(rent=super().predict(df).sample(frac=1)["rent"].to_numpy())


__all__ = ["BROKEN", "Shy", "Thorough"]
