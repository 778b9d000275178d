"""Owns the scores that EVALUATE knows, by name. Definitions: scikit-learn's metrics of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql.errors import DataError, StatementError, UnknownNameError
from mindsql.quiet import quiet

_CLASSIFICATION = (
    "accuracy_score",
    "balanced_accuracy_score",
    "precision_score",
    "recall_score",
    "f1_score",
    "matthews_corrcoef",
    "cohen_kappa_score",
)
_REGRESSION = (
    "r2_score",
    "mean_absolute_error",
    "root_mean_squared_error",
    "mean_squared_error",
    "median_absolute_error",
    "mean_absolute_percentage_error",
    "max_error",
    "explained_variance_score",
)
_OTHERS = (
    "roc_auc_score",
    "log_loss",
    "jaccard_score",
    "zero_one_loss",
    "mean_squared_log_error",
    "d2_absolute_error_score",
)
_AVERAGED = frozenset({"precision_score", "recall_score", "f1_score", "jaccard_score"})
_NUMERIC = frozenset(
    (*_REGRESSION, "roc_auc_score", "log_loss", "mean_squared_log_error", "d2_absolute_error_score")
)


def names() -> list[str]:
    """The names EVALUATE knows; `_score` may be left out."""
    return sorted({*_CLASSIFICATION, *_REGRESSION, *_OTHERS})


def for_task(task: str) -> tuple[str, ...]:
    """The metrics that fit a task."""
    return _REGRESSION if task == "regression" else _CLASSIFICATION


def find(name: str) -> str | None:
    """The full name of a metric, or None."""
    folded = name.casefold()
    return next((full for full in names() if folded in (full, full.removesuffix("_score"))), None)


def score(name: str, actual: Any, prediction: Any, options: Mapping[str, Any]) -> float:
    """One score.

    Args:
        name: A full name of `names()`.
        actual, prediction: Sequences of n values without NULLs.
        options: Keyword arguments of scikit-learn's function.

    Raises:
        StatementError: An option the metric does not take.
        DataError: Values that it cannot score.
    """
    import numpy as np
    from sklearn import metrics

    keywords = dict(options)
    left, right = np.asarray(actual), np.asarray(prediction)
    if name in _NUMERIC:
        try:
            left = left.astype(np.float64) if name != "log_loss" else left
            right = right.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{name} needs numbers: {error}", hint="CAST the columns, or take accuracy"
            ) from error
    else:
        left, right = _labels(left), _labels(right)
    if name in _AVERAGED:
        keywords.setdefault("average", "macro")
        keywords.setdefault("zero_division", 0.0)
    try:
        # A class that only one side has is no mistake of the user's: the score says what it is worth.
        with quiet():
            return float(getattr(metrics, name)(left, right, **keywords))
    except TypeError as error:
        raise StatementError(f"{name} does not take these options: {error}") from error
    except ValueError as error:
        raise DataError(f"{name} cannot score these values: {error}") from error


def _labels(values: Any) -> Any:
    """Labels as text, so that 1, 1.0 and '1' are the same class on both sides."""
    import numpy as np

    return np.array([_label(value) for value in values.tolist()], dtype=object).astype(str)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def require(name: str) -> str:
    """The full name of a metric. Raises UnknownNameError."""
    found = find(name)
    if found is None:
        raise UnknownNameError.of("metric or model", name, names())
    return found
