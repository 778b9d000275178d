"""Owns which estimator a small table gets when the statement names none: the best of three by cross-validation.

Boosting needs hundreds of rows before it can split at all; on fewer, a linear model or a forest is usually better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mindsql.engine import Task
from mindsql.errors import EngineError
from mindsql_engines.sklearn import estimators, parameters, scoring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mindsql_engines.sklearn.columns import Codes, Numbers

FEW_ROWS = 500
"""With more rows, boosting is the default without being compared."""
_FOLDS = 5
_LINEAR: dict[Task, tuple[str, dict[str, Any]]] = {
    "regression": ("RidgeCV", {"alphas": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]}),
    "classification": ("LogisticRegression", {}),
}
_FORESTS: dict[Task, str] = {"regression": "RandomForestRegressor", "classification": "RandomForestClassifier"}


def candidates(task: Task, rows: int, seed: int | None) -> list[tuple[str, dict[str, Any]]]:
    """Names and parameters of the estimators that are compared; the boosting one has leaves that fit the rows."""
    leaf = min(20, max(2, rows // 20))
    return [_LINEAR[task], (_FORESTS[task], {}), (estimators.DEFAULT_FOR[task], {"min_samples_leaf": leaf})]


def choose(
    task: Task,
    values: NDArray[Any],
    classes: int,
    rows: Codes,
    seed: int | None,
    fit: Callable[[Any, Codes, Codes], tuple[Any, Numbers]],
) -> tuple[str, dict[str, Any], str]:
    """The name and the parameters of the best estimator, and a sentence that says why.

    Compared by the squared error of the numbers, or of the probabilities (Brier's score), summed over the folds.

    Args:
        values: The target of every row: doubles or class codes.
        rows: The numbers of the rows that may be looked at.
        fit: Trains an estimator on some rows; gives the fitted one, and the matrix of the others.
    """
    found: list[float] = []
    compared = candidates(task, len(rows), seed)
    for name, given in compared:
        loss = 0.0
        try:
            for train, test in folds(rows, seed, values if task == "classification" else None):
                fitted, matrix = fit(parameters.build(name, given, seed), train, test)
                loss += losses(fitted, matrix, values[test], classes if task == "classification" else 0)[0]
        except (EngineError, ValueError, IndexError):  # too few rows of a class, for instance
            loss = float("inf")
        found.append(loss if np.isfinite(loss) else float("inf"))
    best = int(np.argmin(found))
    name, given = compared[best]
    if not np.isfinite(found[best]):
        name, given = compared[-1]
        return name, given, f"estimator: {name}; there are too few rows to compare it with others"
    if task == "regression":
        spread = float(((values[rows] - values[rows].mean()) ** 2).sum()) or 1.0
        figures = [1 - loss / spread for loss in found]
        what = "r2"
    else:
        figures = [loss / len(rows) for loss in found]
        what = "mean squared error of the probabilities"
    said = ", ".join(f"{other} {figure:.3g}" for (other, _), figure in zip(compared, figures, strict=True))
    return name, given, f"estimator: {name}, the best by cross-validation on {len(rows)} rows ({what}: {said})"


def folds(rows: Codes, seed: int | None, codes: Codes | None) -> list[tuple[Codes, Codes]]:
    """Rows to learn from and to test on, by class where each has enough of them."""
    from sklearn.model_selection import KFold, StratifiedKFold

    count = min(_FOLDS, len(rows))
    by: Any = None
    if codes is not None and np.unique(codes[rows], return_counts=True)[1].min() >= count:
        by = codes[rows]
    kind = KFold if by is None else StratifiedKFold
    return [(rows[train], rows[test]) for train, test in kind(count, shuffle=True, random_state=seed).split(rows, by)]


def losses(fitted: Any, matrix: Numbers, values: NDArray[Any], classes: int) -> tuple[float, int]:
    """The summed squared error, of the numbers or of the probabilities, and how many classes were right."""
    if not classes:
        return float(((np.asarray(fitted.predict(matrix)).reshape(-1) - values) ** 2).sum()), 0
    proba = scoring.probabilities(fitted, matrix, classes)
    if proba is None:  # an estimator without probabilities is sure of each class
        proba = np.eye(classes)[np.asarray(fitted.predict(matrix)).astype(np.int64)]
    right = int((proba.argmax(axis=1) == values).sum())
    return float(((proba - np.eye(classes)[values]) ** 2).sum()), right
