"""Owns `LightwoodEngine`: models that Lightwood writes as Python code from a description in JSON, and trains.

A model is code, generated once and run again whenever it is loaded, beside a pickle: so it takes `trusted = true`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import ANY_OPTION, Args, Capabilities, Engine, Environment, Option, Summary
from mindsql.errors import StatementError, UnknownNameError
from mindsql.schema import Schema
from mindsql_engines import tabular

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = "model"
_OWN = frozenset({"trusted", "time_limit", "random_state", "task"})


class LightwoodEngine(Engine):
    """Trains and serves Lightwood's predictors: encoders and mixers chosen by the columns, described in JSON-AI."""

    title: ClassVar[str] = "Lightwood"
    description: ClassVar[str] = "Lightwood's predictors, described in JSON-AI"
    options: ClassVar[tuple[Option, ...]] = (
        Option("trusted", "boolean", default=False, description="run the code that the model is"),
        Option("time_limit", "float", minimum=1, description="seconds that the mixers may take (Lightwood's time_aim)"),
        Option("task", "string", choices=("classification", "regression"), description="what kind of answer to give"),
        Option("random_state", "integer", default=0, minimum=0, description="which rows are held out"),
        ANY_OPTION,
    )
    predict_options: ClassVar[tuple[Option, ...]] = (
        Option("trusted", "boolean", default=False, description="run the code that the model is"),
    )
    # How sure it is, it draws by lot.
    capabilities: ClassVar[Capabilities] = Capabilities(deterministic=False)
    requires: ClassVar[str] = "mindsql engine install lightwood"
    environment: ClassVar[Environment | None] = Environment(
        python=">=3.10,<3.14",
        requires=("lightwood==25.12.*",),
        # It asks for one version of torch, of which PyPI has none without CUDA.
        overrides=("torch>=2.8,<2.14",),
        variables=("NLTK_DATA",),
    )

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. Options beside its own go into JSON-AI, dots making a path: `model.args`."""
        args = args or {}
        using: dict[str, Any] = {key: value for key, value in (args.get("using") or {}).items() if value is not None}
        if not args.get("trusted"):
            raise StatementError(
                "a model of Lightwood is code that is run",
                hint="USING trusted = true, by the owner of a local connection",
            )
        schema, seed = args.get("schema") or Schema(), using["random_state"]
        frame = tabular.training_frame(target, df, schema, using.get("task"), seed)
        from lightwood.api.high_level import ProblemDefinition, code_from_json_ai, json_ai_from_problem
        from lightwood.api.types import JsonAI

        left_out = _texts(frame.rows, frame.answer.name)
        inputs = frame.inputs.without(*left_out)
        if not inputs:
            said = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise StatementError("no column is left to predict from", hint=said or None)
        problem: dict[str, Any] = {"target": frame.answer.name}
        if using.get("time_limit"):
            problem["time_aim"] = using["time_limit"]
        further = {key: value for key, value in using.items() if key not in _OWN}
        known = set(ProblemDefinition.from_dict({"target": target}).to_dict())
        problem |= {key: further.pop(key) for key in [*further] if key in known}
        answer = frame.answer.name
        rows = tabular.typed_rows(inputs, frame.rows).assign(**{answer: frame.rows[answer]})
        learn = tabular.typed_rows(inputs, frame.learn).assign(**{answer: frame.learn[answer]})
        progress = self.model_storage.training_state_set
        progress(0, 4, "looking at the columns")
        plan = json_ai_from_problem(rows, ProblemDefinition.from_dict(problem)).to_dict()
        for key, value in further.items():
            _put(plan, key.split("."), value)
        progress(1, 4, "writing the code")
        code = str(code_from_json_ai(JsonAI.from_dict(plan)))
        progress(2, 4, "training on most rows")
        scored: dict[str, float] = {}
        baseline: dict[str, float] = {}
        if len(frame.held):
            found = _trained(code, learn).predict(tabular.typed_rows(inputs, frame.held))["prediction"]
            scored, baseline = tabular.scores(frame, found)
        progress(3, 4, "training on all rows")
        predictor = _trained(code, rows)
        folder = Path(self.model_storage.folder_get(_FOLDER))
        predictor.save(str(folder / "state.dill"))
        (folder / "predictor.py").write_text(code, encoding="utf-8")
        self.model_storage.folder_sync(_FOLDER)
        importances = getattr(predictor.model_analysis, "column_importances", None) or {}
        outputs = [(frame.answer.name, frame.answer.type), (f"{frame.answer.name}_confidence", "DOUBLE")]
        if frame.task == "regression":
            outputs += [(f"{frame.answer.name}_{side}", "DOUBLE") for side in ("lower", "upper")]
        outputs.append((f"{frame.answer.name}_explain", "JSON"))
        self.model_storage.json_set(
            "model",
            {
                "target": frame.answer.name,
                "inputs": list(inputs.pairs()),
                "outputs": outputs,
                "task": frame.task,
                "rows": len(frame.rows),
                "left_out": frame.left_out,
                "metrics": scored,
                "baseline": baseline,
                "columns_left_out": left_out,
                "importances": {name: float(value) for name, value in importances.items()},
                "json_ai": json.loads(json.dumps(plan, default=str)),
            },
        )

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        return tabular.summary(tabular.stored(self.model_storage), "Lightwood")

    def load(self, args: Args | None = None) -> None:
        """See `Engine.load`: runs the model's code, if its owner says so."""
        args = args or {}
        if not args.get("trusted", (args.get("predict_params") or {}).get("trusted")):
            raise StatementError(
                "the model is stored as code, which can do anything",
                hint="if you made the model yourself, add USING trusted = true to the query",
            )
        from lightwood.api.high_level import predictor_from_state

        folder = Path(self.model_storage.folder_get(_FOLDER))
        code = (folder / "predictor.py").read_text(encoding="utf-8")
        self._predictor = predictor_from_state(str(folder / "state.dill"), code)

    _predictor: Any = None

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`."""
        import pandas as pd

        if self._predictor is None:
            self.load(args)
        meta = tabular.stored(self.model_storage)
        target, kind = meta["outputs"][0]
        wanted = list((args or {}).get("columns") or [target])
        rows = tabular.typed_rows(Schema.of(map(tuple, meta["inputs"])), df)
        if not len(rows):
            return pd.DataFrame({name: pd.Series([], dtype=object) for name in wanted}, index=df.index)
        _seed()
        found = self._predictor.predict(rows)
        answers: dict[str, Any] = {
            target: [float(value) for value in found["prediction"]]
            if meta["task"] == "regression"
            else tabular.labels(found["prediction"], kind)
        }
        for name, key in (("confidence", "confidence"), ("lower", "lower"), ("upper", "upper")):
            if key in found:
                answers[f"{target}_{name}"] = [None if value != value else float(value) for value in found[key]]
        known = {key: answers.get(f"{target}_{key}") for key in ("confidence", "lower", "upper")}
        answers[f"{target}_explain"] = [
            json.dumps({"predicted_value": answers[target][at],
                        **{key: values[at] for key, values in known.items() if values is not None}})
            for at in range(len(rows))
        ]  # fmt: skip
        frame = pd.DataFrame({name: pd.Series(answers[name], dtype=object) for name in wanted})
        frame.index = df.index
        return frame

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `info`, `features`, `json_ai`."""
        import pandas as pd

        keys = ["info", "features", "json_ai"]
        if key is None:
            return pd.DataFrame({"tables": keys})
        meta = tabular.stored(self.model_storage)
        if key == "features":
            rows = [(name, kind, meta["importances"].get(name), None) for name, kind in meta["inputs"]]
            rows += [(name, None, None, why) for name, why in meta["columns_left_out"].items()]
            table = pd.DataFrame(rows, columns=["column", "type", "importance", "note"])
            table["importance"] = table["importance"].astype("float64")
            return table
        if key == "json_ai":
            return pd.DataFrame({"json_ai": [json.dumps(meta["json_ai"])]})
        if key != "info":
            raise UnknownNameError.of("key", key, keys)
        info = [("task", meta["task"]), ("target", meta["target"]), ("rows", str(meta["rows"]))]
        return pd.DataFrame(info, columns=["property", "value"])


def _trained(code: str, rows: pd.DataFrame) -> Any:
    from lightwood.api.high_level import predictor_from_code

    _seed()
    predictor = predictor_from_code(code)
    predictor.learn(rows)
    return predictor


def _seed() -> None:
    """The same statement gets the same answer again."""
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _texts(rows: pd.DataFrame, target: str) -> dict[str, str]:
    """The text columns, if the lists of words are missing that Lightwood looks at such columns with."""
    from type_infer.api import infer_types

    found = {}
    for name in map(str, rows.columns):
        if name == target or rows[name].dtype.kind in "biufM":
            continue
        try:
            infer_types(rows[[name]])
        except LookupError:
            found[name] = "text, for which NLTK's data is missing: python -m nltk.downloader punkt stopwords"
    return found


def _put(plan: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a place in JSON-AI. Raises UnknownNameError when it begins with what is not there."""
    if path[0] not in plan:
        raise UnknownNameError.of("part of JSON-AI:", path[0], plan)
    at: Any = plan
    for key in path[:-1]:
        if not isinstance(at.get(key), dict):
            at[key] = {}
        at = at[key]
    old = at.get(path[-1])
    at[path[-1]] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
