"""Owns ready-made models: an estimator or pipeline from a file becomes a version without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindsql.engine import Storage, Task
from mindsql.errors import EngineError, StatementError
from mindsql_engines.sklearn import artifacts, models
from mindsql_engines.sklearn.predicting import extra_of, outputs_of

_UNUSED = "the file's preprocessing drops it"
_TYPES = {"b": "BOOLEAN", "i": "BIGINT", "u": "UBIGINT", "f": "DOUBLE"}


def register(
    storage: Storage, target: str | None, df: object, using: Mapping[str, Any], trusted: bool
) -> None:
    """Keep the estimator of the file `using["path"]` as a model that answers `target`."""
    if df is not None:
        raise StatementError(
            "path registers a model that is trained already, so it takes no training rows",
            hint="leave FROM out; EVALUATE the model on rows afterwards",
        )
    for key, value in using.items():
        if key in ("estimator", "task", "features") and value is not None:
            raise StatementError(f"{key} and path exclude each other: the file says what the model is")
    if not target:
        raise StatementError(
            "a ready-made model needs a name for its answer", hint="add PREDICT and that name"
        )
    path = str(using["path"])
    keep(storage, target, artifacts.read_file(path), path, trusted)


def keep(
    storage: Storage,
    target: str,
    data: bytes,
    source: str,
    trusted: bool,
    signature: Mapping[str, str] | None = None,
) -> None:
    """Keep an estimator as a model that answers `target`.

    Args:
        storage: Where.
        target: The name of its answer.
        data: A skops file, or when trusted a joblib or pickle file.
        source: Where that is from, as the user wrote it.
        trusted: Whether loading may run code.
        signature: Input → DuckDB type, where more is known of them than the estimator says.

    Raises:
        StatementError: The estimator is none that can be kept.
    """
    estimator = artifacts.read(data, source, trusted)
    name = type(_last(estimator)).__name__
    inputs = _inputs(estimator, source, signature or {})
    dropped = _dropped(estimator, [column for column, _ in inputs])
    unused = [(column, kind) for column, kind in inputs if column in dropped]
    inputs = [(column, kind) for column, kind in inputs if column not in dropped]
    task, answer_type, classes = _answers(estimator, source)
    proba = task == "classification" and hasattr(estimator, "predict_proba")
    notes = [f'registered from "{source}", not trained here, so there are no scores; EVALUATE gives some']
    meta: dict[str, Any] = {
        "target": target,
        "task": task,
        "answer_type": answer_type,
        "estimator": name,
        "inputs": inputs,
        "outputs": list(outputs_of(target, answer_type, proba).pairs()),
        "extra": list(extra_of(target, task, proba).pairs()),
        "classes": classes,
        "encoder": None,
        "level": 0.9,
        "interval": None,
        # Without rows to compare on, `predict` alone says the label.
        "own_labels": True,
        "rows": 0,
        "left_out": 0,
        "metrics": {},
        "baseline": {},
        "accuracy": None,
        "notes": notes,
        "tables": {
            "features": [
                {"column": column, "type": kind, "role": "input", "importance": None, "note": ""}
                for column, kind in inputs
            ]
            + [
                {"column": column, "type": kind, "role": "left out", "importance": None, "note": _UNUSED}
                for column, kind in unused
            ],
            "model": models.parameters_table(_last(estimator), []),
        },
    }
    try:
        kept, file = artifacts.dumps({"estimator": estimator}, name), models.ARTIFACT
    except EngineError as error:
        if not trusted:
            raise
        kept, file = artifacts.pickled(estimator), models.PICKLE
        notes.append(f"stored as a pickle, which every session must trust anew, because {error.message}")
    models.write(storage, meta, kept, file)


def _last(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return _last(steps[-1][1]) if steps else estimator


def _inputs(estimator: Any, path: str, signature: Mapping[str, str]) -> list[tuple[str, str]]:
    if not hasattr(estimator, "predict"):
        raise StatementError(f'"{path}" holds a {type(estimator).__name__}, which cannot predict')
    names = getattr(estimator, "feature_names_in_", None)
    if names is None and signature:
        return list(signature.items())
    if names is None:
        raise StatementError(
            f'the model in "{path}" does not know the names of its inputs',
            hint="fit it on a pandas DataFrame, which gives it feature_names_in_",
        )
    types = {str(name): "DOUBLE" for name in names}
    _find_texts(estimator, [str(name) for name in names], types)
    types.update((name, kind) for name, kind in signature.items() if name in types)
    return list(types.items())


def _fitted(estimator: Any) -> Any:
    """What a search, a calibration or a transformed target wraps."""
    for name in ("best_estimator_", "regressor_"):
        estimator = getattr(estimator, name, estimator)
    calibrated = getattr(estimator, "calibrated_classifiers_", None)
    return _fitted(calibrated[0].estimator) if calibrated else estimator


def _dropped(estimator: Any, names: list[str]) -> list[str]:
    """The columns that the preprocessing does not use: it does not ask for them, of whatever type they are."""
    estimator = _fitted(estimator)
    steps = getattr(estimator, "steps", None)
    parts = getattr(steps[0][1] if steps else estimator, "transformers_", ())
    used = {name for _, part, chosen in parts if not _is_drop(part) for name in _chosen(chosen, names)}
    return [name for _, part, chosen in parts if _is_drop(part) for name in _chosen(chosen, names) if name not in used]


def _is_drop(part: Any) -> bool:
    return isinstance(part, str) and part == "drop"


def _find_texts(transformer: Any, names: list[str], types: dict[str, str]) -> None:
    """Mark as VARCHAR the columns that the preprocessing takes as text."""
    transformer = _fitted(transformer)
    steps = getattr(transformer, "steps", None)
    if steps:
        for _, step in steps:
            _find_texts(step, names, types)
            if type(step).__name__ != "SimpleImputer":
                return  # what follows sees other columns
        return
    for _, part, chosen in getattr(transformer, "transformers_", ()):
        if not isinstance(part, str):
            _find_texts(part, _chosen(chosen, names), types)
    columns: list[Any] = list(getattr(transformer, "categories_", ()))
    statistics = getattr(transformer, "statistics_", None)
    if statistics is not None:
        columns = [np.array([value], dtype=object) for value in statistics]
    for name, values in zip(names, columns, strict=False):
        if any(isinstance(value, str) for value in np.asarray(values).tolist()):
            types[name] = "VARCHAR"
    if hasattr(transformer, "build_analyzer"):
        types.update(dict.fromkeys(names, "VARCHAR"))


def _chosen(chosen: Any, names: list[str]) -> list[str]:
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        return names[chosen] if not isinstance(chosen.start, str) else []
    picked = np.asarray(chosen)
    if picked.dtype == bool:
        return [name for name, take in zip(names, picked, strict=True) if take]
    return [names[item] if isinstance(item, int) else str(item) for item in picked.tolist()]


def _answers(estimator: Any, path: str) -> tuple[Task, str, list[Any]]:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

    if is_outlier_detector(estimator):
        return "anomaly", "BOOLEAN", []
    if is_clusterer(estimator):
        return "clustering", "INTEGER", []
    if is_classifier(estimator):
        classes = getattr(estimator, "classes_", None)
        if classes is None or isinstance(classes, list):
            raise StatementError(f'the classifier in "{path}" has several targets or is not fitted')
        labels = classes.tolist()
        kind = _TYPES.get(classes.dtype.kind, "VARCHAR")
        return "classification", kind, [str(label) for label in labels] if kind == "VARCHAR" else labels
    return "regression", "DOUBLE", []
