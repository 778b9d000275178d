"""Owns `LudwigEngine`: deep networks that Ludwig builds from a description, one encoder for each column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Capabilities, Engine, Environment, Option, Summary
from mindsql.errors import EngineError, StatementError, UnknownNameError
from mindsql.schema import Column, Schema
from mindsql_engines import tabular

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = "model"
_MANY_TEXTS = 100
"""A text column with more values is text, with fewer a category."""
_BATCH = 128
_SKIPPED = (
    "skip_save_training_description", "skip_save_training_statistics", "skip_save_model", "skip_save_progress",
    "skip_save_log", "skip_save_processed_input",
)  # fmt: skip


class LudwigEngine(Engine):
    """Trains and serves Ludwig's networks."""

    title: ClassVar[str] = "Ludwig"
    description: ClassVar[str] = "deep networks by Ludwig, described column by column"
    options: ClassVar[tuple[Option, ...]] = (
        Option("config", "object", description="Ludwig's own description; what it leaves out is told from the columns"),
        Option("trainer", "object", description="the part `trainer` of it: epochs, learning_rate, batch_size, …"),
        Option("combiner", "object", description="the part `combiner` of it: type, num_fc_layers, …"),
        Option("epochs", "integer", minimum=1, description="the most passes over the rows (25)"),
        Option("task", "string", choices=("classification", "regression"), description="what kind of answer to give"),
        Option("random_state", "integer", default=0, minimum=0, description="seed of all randomness"),
    )
    capabilities: ClassVar[Capabilities] = Capabilities()
    requires: ClassVar[str] = "mindsql engine install ludwig"
    environment: ClassVar[Environment | None] = Environment(
        python=">=3.12",
        # As it resolves by itself, torch and torchaudio are of two versions of CUDA, and the import fails.
        requires=("ludwig==0.17.*", "torch==2.11.*", "torchaudio==2.11.*", "torchvision==0.26.*"),
        variables=("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    )

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`."""
        args = args or {}
        using = {key: value for key, value in (args.get("using") or {}).items() if value is not None}
        schema, seed = args.get("schema") or Schema(), using["random_state"]
        frame = tabular.training_frame(target, df, schema, using.get("task"), seed)
        config = _config(frame, using)
        inputs = Schema(
            column for column in frame.inputs if column.name in {one["name"] for one in config["input_features"]}
        )
        progress = self.model_storage.training_state_set
        epochs = config["trainer"]["epochs"]
        columns = [*inputs.names, frame.answer.name]
        progress(0, 2, f"training, at most {epochs} epochs")
        scored: dict[str, float] = {}
        baseline: dict[str, float] = {}
        model, history = _trained(config, _texts_of(frame.learn[columns], config), seed)
        if len(frame.held):
            found = _predicted(model, _texts_of(frame.held[inputs.names], config), frame.answer.name)
            scored, baseline = tabular.scores(frame, found)
            progress(1, 2, "training on all rows")
            model, history = _trained(config, _texts_of(frame.rows[columns], config), seed)
        folder = Path(self.model_storage.folder_get(_FOLDER))
        model.save(str(folder))
        self.model_storage.folder_sync(_FOLDER)
        self.model_storage.json_set(
            "model",
            {
                "inputs": list(inputs.pairs()),
                "outputs": [
                    (frame.answer.name, frame.answer.type),
                    (f"{frame.answer.name}_confidence", "DOUBLE"),
                    (f"{frame.answer.name}_explain", "JSON"),
                ][: 3 if frame.task == "classification" else 1],
                "task": frame.task,
                "rows": len(frame.rows),
                "left_out": frame.left_out,
                "metrics": scored,
                "baseline": baseline,
                "config": config,
                "history": history,
                "columns_left_out": {
                    name: "a different text in every row" for name in frame.inputs.names if inputs.find(name) is None
                }
                if not (using.get("config") or {}).get("input_features")
                else {},
            },
        )

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        return tabular.summary(tabular.stored(self.model_storage), "Ludwig")

    _model: Any = None

    def load(self, args: Args | None = None) -> None:
        """See `Engine.load`."""
        from ludwig.api import LudwigModel

        self._model = LudwigModel.load(self.model_storage.folder_get(_FOLDER), logging_level=40)

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`."""
        import pandas as pd

        if self._model is None:
            self.load(args)
        meta = tabular.stored(self.model_storage)
        target, kind = meta["outputs"][0]
        wanted = list((args or {}).get("columns") or [target])
        rows = tabular.typed_rows(Schema.of(map(tuple, meta["inputs"])), df)
        if not len(rows):
            return pd.DataFrame({name: pd.Series([], dtype=object) for name in wanted}, index=df.index)
        found = _asked(self._model, _texts_of(rows, meta["config"]))
        predicted = found[f"{target}_predictions"]
        answers: dict[str, Any] = {
            target: [float(value) for value in predicted]
            if meta["task"] == "regression"
            else tabular.labels(predicted, kind)
        }
        if meta["task"] == "classification":
            sure = [float(value) for value in found[f"{target}_probability"]]
            answers[f"{target}_confidence"] = sure
            answers[f"{target}_explain"] = [
                json.dumps({"predicted_value": value, "confidence": share})
                for value, share in zip(answers[target], sure, strict=True)
            ]
        frame = pd.DataFrame({name: pd.Series(answers[name], dtype=object) for name in wanted})
        frame.index = df.index
        return frame

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `info`, `training`, how each epoch went, and `config`."""
        import pandas as pd

        keys = ["info", "training", "config"]
        if key is None:
            return pd.DataFrame({"tables": keys})
        meta = tabular.stored(self.model_storage)
        if key == "training":
            return pd.DataFrame(meta["history"], columns=["split", "epoch", "metric", "value"])
        if key == "config":
            return pd.DataFrame({"config": [json.dumps(meta["config"])]})
        if key != "info":
            raise UnknownNameError.of("key", key, keys)
        info = [("task", meta["task"]), ("target", meta["outputs"][0][0]), ("rows", str(meta["rows"]))]
        return pd.DataFrame(info, columns=["property", "value"])


def _config(frame: tabular.TrainingFrame, using: Mapping[str, Any]) -> dict[str, Any]:
    """Ludwig's description: the user's, and for the rest the columns' types. Raises StatementError."""
    given = dict(using.get("config") or {})
    own = {str(one.get("name", "")).casefold(): one for one in given.pop("input_features", [])}
    unknown = [name for name in own if frame.inputs.find(name) is None]
    if unknown:
        raise UnknownNameError.of("column in config.input_features:", unknown[0], frame.inputs.names)
    inputs = [
        {**_feature(column, frame.rows[column.name]), **own.get(column.name.casefold(), {}), "name": column.name}
        for column in frame.inputs
        if (column.name.casefold() in own if own else not tabular.is_key(column, frame.rows[column.name]))
    ]
    if not inputs:
        raise StatementError("no column is left to predict from")
    outputs = given.pop("output_features", [{}])
    answer: dict[str, Any] = {"name": frame.answer.name, "type": "category"}
    if frame.task == "regression":
        # Without it a large target is not learnt at all.
        answer |= {"type": "number", "preprocessing": {"normalization": "zscore"}}
    trainer = {"epochs": 25, **(given.pop("trainer", None) or {}), **(using.get("trainer") or {})}
    if using.get("epochs"):
        trainer["epochs"] = int(using["epochs"])
    made = {
        **given,
        "input_features": inputs,
        "output_features": [{**answer, **outputs[0], "name": frame.answer.name}],
        "trainer": trainer,
    }
    if using.get("combiner"):
        made["combiner"] = using["combiner"]
    return made


def _feature(column: Column, values: Any) -> dict[str, Any]:
    kind = column.family
    if kind == "number":
        return {"name": column.name, "type": "number", "preprocessing": {
            "normalization": "zscore", "missing_value_strategy": "fill_with_mean"}}  # fmt: skip
    if kind == "boolean":
        return {"name": column.name, "type": "category"}
    if kind == "time":
        return {"name": column.name, "type": "date"}
    if kind == "text" and values.nunique() > _MANY_TEXTS:
        return {"name": column.name, "type": "text"}
    if kind in ("text", "other"):
        return {"name": column.name, "type": "category"}
    raise StatementError(
        f'the column "{column.name}" is {column.type}, which Ludwig takes no input of', hint="leave it out of the query"
    )


def _texts_of(rows: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Rows with each category, text and date as text, so that training and prediction spell them alike."""
    made = rows.copy()
    for one in (*config["input_features"], *config["output_features"]):
        name = one["name"]
        if name in made and one["type"] not in ("number", "vector", "binary"):
            known = made[name].notna()
            pairs = zip(made[name], known, strict=True)
            made[name] = [tabular.label_text(value) if there else None for value, there in pairs]
        elif name in made:
            made[name] = made[name].astype(float)
    return made


def _trained(config: dict[str, Any], rows: pd.DataFrame, seed: int) -> tuple[Any, list[tuple[str, int, str, float]]]:
    """A model, and how it came to be: split, epoch, metric, value."""
    import tempfile

    from ludwig.api import LudwigModel

    model = LudwigModel(config, logging_level=40)
    with tempfile.TemporaryDirectory(prefix="mindsql-") as folder:
        try:
            skipped = dict.fromkeys(_SKIPPED, True)
            results = model.train(dataset=rows, output_directory=folder, random_seed=seed, **skipped)
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(f"Ludwig could not be trained: {str(error).splitlines()[0][:300]}") from error
    history = []
    statistics = results.train_stats
    for split in ("training", "validation", "test"):
        for metrics in (getattr(statistics, split, None) or {}).values():
            for metric, values in metrics.items():
                history += [(split, epoch, metric, float(value)) for epoch, value in enumerate(values, 1)]
    return model, history


def _asked(model: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """The answers to rows, in batches of one size: the last digits of 32 bits depend on it."""
    import numpy as np

    count = len(rows)
    padded = rows.iloc[np.minimum(np.arange(-(-count // _BATCH) * _BATCH), count - 1)].reset_index(drop=True)
    found: pd.DataFrame = model.predict(dataset=padded, batch_size=_BATCH, skip_save_predictions=True)[0]
    return found.iloc[:count]


def _predicted(model: Any, rows: pd.DataFrame, target: str) -> list[Any]:
    return list(_asked(model, rows)[f"{target}_predictions"])
