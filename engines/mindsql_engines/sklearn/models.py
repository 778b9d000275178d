"""Owns what is stored with a model version, and how it is read: the artifact, its metadata, DESCRIBE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mindsql.engine import Storage, Summary, Translation
from mindsql.errors import CatalogError, UnknownNameError
from mindsql.schema import Schema
from mindsql_engines.sklearn import artifacts, boosted, columns
from mindsql_engines.sklearn.encoding import Encoder
from mindsql_engines.sklearn.predicting import SklearnPredictor, extra_of, outputs_of

if TYPE_CHECKING:
    import pandas as pd

    from mindsql_engines.sklearn.training import Trained, TrainingRun

ARTIFACT = "model.skops"
PICKLE = "model.joblib"
META = "model"


def store(storage: Storage, job: TrainingRun, made: Trained) -> None:
    """Keep a trained model."""
    data = artifacts.dumps({"estimator": boosted.stored(made.estimator), "wordings": made.encoder.wordings}, made.name)
    target = made.target
    used = [feature for feature in made.features if feature.used]
    scored = target.task == "anomaly" or made.proba or made.scores.interval is not None
    outputs = outputs_of(job.target, target.answer_type, scored)
    meta: dict[str, Any] = {
        "target": job.target,
        "task": target.task,
        "answer_type": target.answer_type,
        "estimator": made.name,
        "inputs": [(feature.name, feature.type) for feature in used],
        "outputs": list(outputs.pairs()),
        "extra": list(extra_of(job.target, target.task, scored).pairs()),
        "classes": target.classes,
        "encoder": made.encoder.to_json(),
        "level": job.level,
        "interval": made.scores.interval,
        "own_labels": made.own_labels,
        "scores": made.ranks,
        "seed": job.seed,
        "test_size": job.test_size,
        "rows": made.rows,
        "left_out": made.left_out,
        "metrics": made.scores.metrics,
        "baseline": made.scores.baseline,
        "accuracy": made.scores.accuracy,
        "notes": made.notes,
    }
    meta["tables"] = {
        "features": [
            {
                "column": feature.name,
                "type": feature.type,
                "role": feature.role,
                "importance": made.scores.importances.get(feature.name),
                "note": feature.reason,
            }
            for feature in made.features
        ],
        "model": parameters_table(made.estimator, made.chosen),
    }
    if made.leaderboard:
        meta["tables"]["leaderboard"] = [
            {**one, "parameters": json.dumps(one["parameters"])} for one in made.leaderboard
        ]
    if target.task == "classification" and made.scores.confusion:
        labels = [columns.label_text(label) for label in target.classes]
        meta["tables"]["confusion"] = [
            {"actual": labels[actual], "predicted": labels[predicted], "rows": count}
            for actual, predicted, count in made.scores.confusion
        ]
    write(storage, meta, data, ARTIFACT)


def parameters_table(estimator: Any, chosen: list[str]) -> list[dict[str, Any]]:
    """The estimator's parameters; `set` says which of them the statement gave."""
    rows = []
    for name, value in sorted(estimator.get_params(deep=False).items()):
        key = "base_estimator" if name == "estimator" else name
        rows.append({"parameter": key, "value": _text(value), "set": key in chosen})
    return rows


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return " ".join(str(value).split())


def write(storage: Storage, meta: dict[str, Any], data: bytes, file: str) -> None:
    """Keep metadata and artifact, with the versions and the digest that loading checks."""
    import sklearn

    meta |= {"file": file, "digest": artifacts.digest(data), "library": sklearn.__version__}
    storage.file_set(file, data)
    storage.json_set(META, meta)


def read(storage: Storage) -> dict[str, Any]:
    """The metadata."""
    try:
        meta = storage.json_get(META)
    except ValueError as error:
        raise CatalogError(
            "the stored model is damaged: its metadata cannot be read", hint="RETRAIN it"
        ) from error
    if not isinstance(meta, dict):
        raise CatalogError("the model has no stored metadata", hint="RETRAIN it")
    return meta


def load_parts(storage: Storage, trusted: bool) -> tuple[dict[str, Any], Any, Encoder | None]:
    """Metadata, estimator and encoder of a stored model."""
    meta = read(storage)
    data = storage.file_get(meta["file"])
    if meta["file"] == PICKLE:
        return meta, artifacts.unpickled(data, meta["digest"], trusted), None
    content = artifacts.loads(data, meta["digest"], meta["library"])
    encoder = None
    if meta.get("encoder") is not None:
        encoder = Encoder.from_json(meta["encoder"], content["wordings"])
    return meta, boosted.restored(content["estimator"]), encoder


def load(storage: Storage, trusted: bool) -> SklearnPredictor:
    """A stored model, ready to predict."""
    return SklearnPredictor(*load_parts(storage, trusted))


def translation(storage: Storage, trusted: bool) -> Translation | str:
    """A stored model as SQL, or why it has no such form."""
    from mindsql_engines.sklearn import sql

    if read(storage)["file"] == PICKLE:  # a stranger's pipeline, which may not even be loaded
        return "a registered model is asked as it is"
    return sql.translate(*load_parts(storage, trusted))


def summary(storage: Storage) -> Summary:
    """What the contract wants to know of a version."""
    meta = read(storage)
    return Summary(
        inputs=Schema.of(meta["inputs"]),
        outputs=Schema.of(meta["outputs"]),
        extra=Schema.of(map(tuple, meta.get("extra", ()))),
        task=meta["task"],
        classes=tuple(columns.label_text(label) for label in meta["classes"]),
        rows=meta["rows"],
        rows_left_out=meta["left_out"],
        metrics=meta["metrics"],
        baseline=meta["baseline"],
        accuracy=meta["accuracy"],
        notes=tuple(meta["notes"]),
        estimator=meta["estimator"],
        left_out={
            row["column"]: row["note"] for row in meta["tables"].get("features", ()) if row["role"] == "left out"
        },
    )


def describe(storage: Storage, key: str | None) -> pd.DataFrame:
    """One of the tables about a version; without a key their names."""
    import pandas as pd

    meta = read(storage)
    further = [name for name in ("confusion", "leaderboard") if name in meta["tables"]]
    keys = ["info", "features", "metrics", "model", *further]
    if key is None:
        return pd.DataFrame({"tables": keys})
    key = key.casefold()
    if key == "info":
        return pd.DataFrame(_info(meta), columns=["property", "value"])
    if key == "metrics":
        names = list(meta["metrics"])
        return pd.DataFrame(
            {
                "metric": pd.Series(names, dtype=object),
                "score": pd.Series([meta["metrics"][name] for name in names], dtype="float64"),
                "baseline": pd.Series([meta["baseline"].get(name) for name in names], dtype="float64"),
            }
        )
    if key not in keys:
        raise UnknownNameError.of("attribute", key, keys)
    table = pd.DataFrame(meta["tables"][key])
    if key == "features":
        table["importance"] = table["importance"].astype("float64")
    return table


def _info(meta: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("estimator", meta["estimator"]), ("task", meta["task"]), ("target", meta["target"])]
    if meta["classes"] and meta["task"] == "classification":
        rows.append(("classes", ", ".join(columns.label_text(label) for label in meta["classes"])))
    rows += [("rows", str(meta["rows"])), ("rows left out", str(meta["left_out"]))]
    rows.append(("inputs", ", ".join(name for name, _ in meta["inputs"])))
    rows.append(("scikit-learn", meta["library"]))
    rows += [("note", note) for note in meta["notes"]]
    return rows
