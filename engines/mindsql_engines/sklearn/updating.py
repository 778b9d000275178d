"""Owns FINETUNE: going on with a trained estimator on new rows only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mindsql.engine import Storage
from mindsql.errors import DataError, EngineError, StatementError
from mindsql.frames import TrainingRows
from mindsql_engines.sklearn import artifacts, columns, estimators, models, scoring, threads, training
from mindsql_engines.sklearn.encoding import Encoder
from mindsql_engines.sklearn.targets import Target

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Numbers

LEARN_ON = estimators.names_in(
    "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB MLPClassifier MLPRegressor "
    "PassiveAggressiveClassifier PassiveAggressiveRegressor Perceptron SGDClassifier SGDRegressor "
    "SGDOneClassSVM MiniBatchKMeans"
)
"""Estimators whose `partial_fit` takes more rows."""

_NETWORKS = estimators.names_in("MLPClassifier MLPRegressor")
_IN_PASSES = _NETWORKS | estimators.names_in(
    "PassiveAggressiveClassifier PassiveAggressiveRegressor Perceptron SGDClassifier SGDRegressor SGDOneClassSVM"
)
"""Those that learn by steps, a pass over the rows being only a few of them."""

ADD_TREES = estimators.names_in(
    "BaggingClassifier BaggingRegressor ExtraTreesClassifier ExtraTreesRegressor GradientBoostingClassifier "
    "GradientBoostingRegressor IsolationForest RandomForestClassifier RandomForestRegressor"
)
"""Estimators that grow further trees on other rows. The histogram estimators are not among them: their warm
start is only valid on the very rows of the first training, since they bin the values anew."""


def update(base: Storage, storage: Storage, data: TrainingRows | None, using: dict[str, Any]) -> None:
    """Continue the model in `base` on the rows, and keep the result in `storage`."""
    meta, estimator, encoder = models.load_parts(base, trusted=False)
    name = type(estimator).__name__
    if encoder is None or name not in LEARN_ON | ADD_TREES:
        what = name if encoder is not None else "a registered model"
        raise StatementError(
            f"{what} cannot be continued on new rows only",
            hint=f"RETRAIN it on all rows; FINETUNE works with {', '.join(sorted(LEARN_ON | ADD_TREES))}",
        )
    if data is None or not data.count:
        raise DataError("the FINETUNE query gave no rows")
    storage.training_state_set(0, 3, "reading columns")
    job = _job(meta)
    target = _target(meta, data)
    arrays = _arrays(meta, data, target)
    rows = int(target.kept.sum())
    notes: list[str] = []
    with training.collected(notes), threads.few(rows, threads.FEW_TO_TRAIN):
        matrix = encoder.matrix(arrays, rows)
        codes = target.values if target.task == "classification" else None
        held = scoring.split(rows, job.test_size, job.seed, codes) if job.test_size else None
        if held is not None and target.values is not None and target.task != "anomaly":
            storage.training_state_set(1, 3, f"training on {len(held[0])} new rows")
            try:
                _continue(estimator, matrix[held[0]], target.values[held[0]], meta, encoder)
                scores = training.score(estimator, target, matrix[held[1]], held[0], held[1], job)
                meta |= {"metrics": scores.metrics, "baseline": scores.baseline, "accuracy": scores.accuracy}
                if scores.interval is not None:
                    meta["interval"] = scores.interval
            except EngineError as error:
                notes.append(f"the scores are those of the version before: {error.message}")
            _, estimator, _ = models.load_parts(base, trusted=False)
        storage.training_state_set(2, 3, "training on all new rows")
        done = _continue(estimator, matrix, target.values, meta, encoder)
    meta["rows"] += rows
    meta["left_out"] += data.count - rows
    meta["notes"] = [*meta["notes"], f"FINETUNE: {done} on {rows} new rows", *notes]
    meta["tables"]["model"] = models.parameters_table(estimator, [])
    artifact = artifacts.dumps({"estimator": estimator, "wordings": encoder.wordings}, name)
    models.write(storage, meta, artifact, models.ARTIFACT)
    storage.training_state_set(3, 3, "storing")


def _job(meta: dict[str, Any]) -> training.TrainingRun:
    return training.TrainingRun(
        meta["target"],
        meta["task"],
        meta["estimator"],
        {},
        meta["test_size"],
        meta["seed"],
        meta["level"],
        None,
    )


def _target(meta: dict[str, Any], data: TrainingRows) -> Target:
    """The new rows' target, in the classes that the model knows."""
    everything = np.ones(data.count, dtype=bool)
    if meta["task"] in ("anomaly", "clustering"):
        return Target(meta["task"], everything)
    name = meta["target"]
    column = next((c for c in data.names if c.casefold() == name.casefold()), None)
    if column is None:
        raise DataError(f'the new rows lack the target column "{name}"')
    if meta["task"] == "regression":
        values = columns.numbers(data.take(column), name)
        kept = ~np.isnan(values)
        target = Target("regression", kept, values[kept])
    else:
        codes, labels = columns.labels_of(data.take(column), meta["answer_type"])
        known = {str(label): code for code, label in enumerate(meta["classes"])}
        unseen = [label for label in labels if str(label) not in known]
        if unseen:
            raise DataError(
                f'the target "{name}" has the value {columns.label_text(unseen[0])}, unknown to the model',
                hint="RETRAIN the model on all rows",
            )
        kept = codes >= 0
        place = np.array([known[str(label)] for label in labels], dtype=np.int64)
        target = Target("classification", kept, place[codes[kept]], meta["classes"])
    if not kept.any():
        raise DataError(f'no new row has a value of the target "{name}"')
    return target


def _arrays(meta: dict[str, Any], data: TrainingRows, target: Target) -> dict[str, pa.Array]:
    folded = {column.casefold(): column for column in data.names}
    missing = [name for name, _ in meta["inputs"] if name.casefold() not in folded]
    if missing:
        raise DataError(f'the new rows lack the column "{missing[0]}"')
    return {name: target.rows_with(data.take(folded[name.casefold()])) for name, _ in meta["inputs"]}


def _continue(estimator: Any, matrix: Numbers, values: Any, meta: dict[str, Any], encoder: Encoder) -> str:
    """Fit further; says what was done."""
    name = type(estimator).__name__
    classification = meta["task"] == "classification"
    if classification and name in ADD_TREES and len(np.unique(values)) < len(estimator.classes_):
        raise DataError(f"to grow on, {name} needs new rows of every class")
    values = None if meta["task"] in ("anomaly", "clustering") else values
    try:
        if name in LEARN_ON:
            passes = _learn_on(estimator, matrix, values)
            return "learnt on" if passes == 1 else f"learnt on in {passes} passes"
        before = int(estimator.n_estimators)
        # New trees in the share that the new rows have of all rows, so that each row counts about alike.
        added = max(1, round(before * min(1.0, len(matrix) / max(1, meta["rows"]))))
        estimator.set_params(warm_start=True, n_estimators=before + added)
        training.adapt(estimator, encoder, None, [])
        estimator.fit(matrix) if values is None else estimator.fit(matrix, values)
        estimator.set_params(warm_start=False)
        return f"grew {added} further tree{'s' if added > 1 else ''}"
    except (ValueError, TypeError, ArithmeticError, AttributeError, IndexError) as error:
        raise EngineError(f"{name} could not be trained on: {str(error).splitlines()[0]}") from error


def _learn_on(estimator: Any, matrix: Numbers, values: Any) -> int:
    """Go over the rows as often as the first training did, or until a network's loss falls no more. Says how often."""
    most = int(getattr(estimator, "n_iter_", 1)) if type(estimator).__name__ in _IN_PASSES else 1
    best, since = np.inf, 0
    for number in range(1, max(1, most) + 1):
        estimator.partial_fit(matrix) if values is None else estimator.partial_fit(matrix, values)
        loss = getattr(estimator, "loss_", None) if type(estimator).__name__ in _NETWORKS else None
        if loss is None:
            continue
        since = 0 if loss < best - estimator.tol else since + 1
        best = min(best, loss)
        if since > estimator.n_iter_no_change:
            return number
    return max(1, most)
