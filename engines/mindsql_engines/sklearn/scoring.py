"""Owns how good a model is: which rows are held out, scores beside a baseline, intervals, importances."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mindsql.metrics import averaging
from mindsql_engines.sklearn import threads
from mindsql_engines.sklearn.encoding import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mindsql_engines.sklearn.columns import Codes, Numbers

FEWEST_ROWS = 10
"""With fewer rows none is held out."""
IMPORTANCE_ROWS = 1000
IMPORTANCE_SECONDS = 3.0
IMPORTANCE_SHUFFLES = 500
SCORED_CLUSTER_ROWS = 2000
CONFUSION_CLASSES = 50


@dataclass
class Scores:
    """What hold-out rows tell about a model."""

    metrics: dict[str, float] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    interval: float | None = None
    importances: dict[str, float] = field(default_factory=dict)
    confusion: list[tuple[int, int, int]] = field(default_factory=list)
    rows: int = 0


def split(rows: int, share: float, seed: int | None, codes: Codes | None) -> tuple[Codes, Codes] | None:
    """Row numbers to train on and to hold out, by class where every class has two; None for too few rows."""
    from sklearn.model_selection import train_test_split

    held = round(rows * share)
    if rows < FEWEST_ROWS or held < 2 or rows - held < 2:
        return None
    by = None
    if codes is not None:
        counts = np.bincount(codes)
        counts = counts[counts > 0]
        if counts.min() >= 2 and len(counts) <= min(held, rows - held):
            by = codes
    train, test = train_test_split(np.arange(rows), test_size=held, random_state=seed, stratify=by)
    return np.sort(train), np.sort(test)


def dense(matrix: Any) -> Numbers:
    """A matrix that may be sparse, as an ordinary one."""
    made: Numbers = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return made


def classification(estimator: Any, x: Numbers, y: Codes, y_train: Codes, labels: Sequence[Any]) -> Scores:
    """Scores of a classifier of these labels, and of always answering the most frequent class of its training rows."""
    classes, positive = len(labels), _positive(labels)
    predicted = np.asarray(estimator.predict(x)).astype(np.int64)
    shares = np.bincount(y_train, minlength=classes) / len(y_train)
    usual = np.full(len(y), int(np.argmax(shares)))
    scores = Scores(_labelled(y, predicted, positive), _labelled(y, usual, positive), rows=len(y))
    proba = probabilities(estimator, x, classes)
    if proba is not None:
        scores.metrics |= _probable(y, proba, classes)
        scores.baseline |= _probable(y, np.tile(shares, (len(y), 1)), classes)
    scores.accuracy = scores.metrics["accuracy"]
    if classes <= CONFUSION_CLASSES:
        pairs, counts = np.unique(np.stack([y, predicted]), axis=1, return_counts=True)
        scores.confusion = [(int(a), int(p), int(n)) for (a, p), n in zip(pairs.T, counts, strict=True)]
    return scores


def probabilities(estimator: Any, x: Numbers, classes: int) -> Numbers | None:
    """A column per class, also for classes that the estimator did not see; None when it gives none."""
    if not hasattr(estimator, "predict_proba"):
        return None
    found: Numbers = np.asarray(estimator.predict_proba(x), dtype=np.float64)
    seen = np.asarray(estimator.classes_).astype(np.int64)
    if len(seen) == classes:
        return found
    every = np.zeros((len(found), classes))
    every[:, seen] = found
    return every


def _positive(labels: Sequence[Any]) -> int | None:
    """The code of the class that f1 is about; None when it is the mean over the classes."""
    if averaging(labels)["average"] == "macro":
        return None
    return next((code for code, label in enumerate(labels) if label == 1), None)


def _labelled(y: Codes, predicted: Codes, positive: int | None) -> dict[str, float]:
    from sklearn import metrics

    found = {
        "accuracy": float(metrics.accuracy_score(y, predicted)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(y, predicted)),
    }
    if positive is None:
        found["f1_macro"] = float(metrics.f1_score(y, predicted, average="macro", zero_division=0))
    else:
        found["f1"] = float(metrics.f1_score(y, predicted, pos_label=positive, zero_division=0))
    return found


def _probable(y: Codes, proba: Numbers, classes: int) -> dict[str, float]:
    from sklearn import metrics

    kept = np.clip(proba[np.arange(len(y)), y], 1e-15, 1.0)
    found = {"log_loss": float(-np.log(kept).mean())}
    if classes == 2 and 0 < y.sum() < len(y):
        found["roc_auc"] = float(metrics.roc_auc_score(y, proba[:, 1]))
    return found


def regression(estimator: Any, x: Numbers, y: Numbers, y_train: Numbers, level: float) -> Scores:
    """Scores of a regressor and of always answering the mean; half the width of its conformal interval."""
    predicted = np.asarray(estimator.predict(x), dtype=np.float64).reshape(-1)
    known = np.isfinite(predicted)
    if not known.any():
        return Scores()
    predicted, y = predicted[known], y[known]
    scores = Scores(_numeric(y, predicted), _numeric(y, np.full(len(y), y_train.mean())), rows=len(y))
    scores.accuracy = scores.metrics.get("r2")
    scores.interval = conformal(np.abs(y - predicted), level)
    return scores


def conformal(residuals: Numbers, level: float) -> float | None:
    """The width to either side that covers `level` of new rows; None when there are too few residuals."""
    rank = math.ceil((len(residuals) + 1) * level)
    if rank > len(residuals):
        return None
    return float(np.partition(residuals, rank - 1)[rank - 1])


def _numeric(y: Numbers, predicted: Numbers) -> dict[str, float]:
    errors = y - predicted
    found = {
        "mean_absolute_error": float(np.abs(errors).mean()),
        "root_mean_squared_error": float(np.sqrt((errors**2).mean())),
    }
    spread = float(((y - y.mean()) ** 2).sum())
    if len(y) > 1 and spread > 0:
        found = {"r2": 1.0 - float((errors**2).sum()) / spread, **found}
    return found


def anomaly(estimator: Any, x: Numbers, truth: NDArray[np.bool_] | None, share: float) -> Scores:
    """The share of hold-out rows found anomalous; beside a known answer also how well that fits."""
    found = np.asarray(estimator.predict(x)) == -1
    scores = Scores({"anomaly_share": float(found.mean())}, rows=len(x))
    if truth is not None:
        scores.baseline["anomaly_share"] = share
        y, predicted = truth.astype(np.int64), found.astype(np.int64)
        scores.metrics |= _labelled(y, predicted, 1)
        scores.baseline |= _labelled(y, np.zeros_like(y), 1)
        scores.accuracy = scores.metrics["accuracy"]
    return scores


def clustering(labels: Codes, x: Numbers, seed: int | None) -> Scores:
    """How many clusters there are and how well they are apart, on the training rows."""
    from sklearn import metrics

    distinct = len(np.unique(labels))
    scores = Scores({"clusters": float(distinct)}, rows=len(x))
    if len(x) > SCORED_CLUSTER_ROWS:
        at = np.random.default_rng(seed).choice(len(x), SCORED_CLUSTER_ROWS, replace=False)
        labels, x = labels[at], x[at]
    if 1 < len(np.unique(labels)) < len(x):
        scores.metrics["silhouette"] = float(metrics.silhouette_score(x, labels))
    return scores


def importances(
    estimator: Any, encoder: Encoder, x: Numbers, y: NDArray[Any], classes: int, seed: int | None
) -> dict[str, float]:
    """By column: how much worse a model gets when the column's values are shuffled among hold-out rows.

    A regressor's r2 falls, a classifier's log loss grows; a classifier without probabilities loses accuracy.

    The work is bounded: at most `IMPORTANCE_ROWS` rows, about `IMPORTANCE_SECONDS`, and `IMPORTANCE_SHUFFLES` unless
    there are more columns; empty when one round over all columns would take longer.
    """
    import sklearn

    random = np.random.default_rng(seed)
    if len(y) > IMPORTANCE_ROWS:
        at = random.choice(len(y), IMPORTANCE_ROWS, replace=False)
        x, y = x[at], y[at]
    x = dense(x)
    spread = 1.0 if classes else float(((y - y.mean()) ** 2).sum())
    if not spread or len(x) < 2:
        return {}

    def score(matrix: Numbers) -> float:
        proba = probabilities(estimator, matrix, classes) if classes else None
        if proba is not None:
            return float(np.log(np.clip(proba[np.arange(len(y)), y], 1e-15, 1.0)).mean())
        return compared(np.asarray(estimator.predict(matrix)).reshape(-1))

    def compared(predicted: NDArray[Any]) -> float:
        if classes:
            return float((predicted == y).mean())
        return 1.0 - float(((y - predicted) ** 2).sum()) / spread

    def shuffled(places: list[int]) -> float:
        if weights is not None:
            return compared(predicted + moved[:, places].sum(axis=1))
        kept = x[:, places]
        x[:, places] = kept[random.permutation(len(x))]
        found = score(x)
        x[:, places] = kept
        return found

    # The encoder made the matrix: to look through it once more for each column takes longer than to predict.
    with threads.few(len(x), threads.FEW_TO_PREDICT), sklearn.config_context(assume_finite=True):
        started = time.perf_counter()
        best = score(x)
        took = time.perf_counter() - started
        count = max(1, len(encoder.columns))
        rounds = min(5, int(IMPORTANCE_SECONDS / max(took, 1e-6) / count), max(1, IMPORTANCE_SHUFFLES // count))
        weights, moved, predicted = _weights(estimator), x, y
        if weights is not None:
            predicted = x @ weights + estimator.intercept_
        drops: dict[str, list[float]] = {}
        for _ in range(rounds):
            if weights is not None:
                moved = np.asfortranarray((x[random.permutation(len(x))] - x) * weights)
            for column in encoder.columns:
                drops.setdefault(column.name, []).append(best - shuffled(encoder.places(column)))
    return {name: float(np.mean(found)) for name, found in drops.items()}


def _weights(estimator: Any) -> Numbers | None:
    """What a linear regression multiplies each matrix column by: to shuffle a column moves its products alone."""
    from sklearn.linear_model import LinearRegression

    linear = getattr(type(estimator), "predict", None) is LinearRegression.predict
    return np.ravel(estimator.coef_) if linear else None
