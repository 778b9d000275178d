"""Owns the scores that EVALUATE, training and REST know, by name: scikit-learn's functions, and its scorers' names."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from mindsql.errors import DataError, StatementError, UnknownNameError
from mindsql.library_warnings import suppress_warnings

Wants: TypeAlias = Literal["labels", "numbers", "probabilities"]


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
        name: What it is called everywhere.
        function: The function of `sklearn.metrics`.
        wants: What it compares: labels; numbers; or labels with the probability of the positive class.
        keywords: Arguments that belong to the name, as `average` does to `f1_macro`.
        negated: The scorers called `neg_…` count errors as negative.
    """

    name: str
    function: str
    wants: Wants
    keywords: Mapping[str, Any] = field(default_factory=dict)
    negated: bool = False


_LABELS = (
    "accuracy_score balanced_accuracy_score precision_score recall_score f1_score matthews_corrcoef "
    "cohen_kappa_score jaccard_score zero_one_loss hamming_loss "
    # of clusters, whatever they are called
    "rand_score adjusted_rand_score mutual_info_score normalized_mutual_info_score adjusted_mutual_info_score "
    "homogeneity_score completeness_score v_measure_score fowlkes_mallows_score"
)
_CLUSTERS = frozenset(_LABELS.split()[_LABELS.split().index("rand_score") :])
_NUMBERS = (
    "r2_score mean_absolute_error root_mean_squared_error mean_squared_error median_absolute_error "
    "mean_absolute_percentage_error max_error explained_variance_score mean_squared_log_error "
    "root_mean_squared_log_error d2_absolute_error_score d2_pinball_score d2_tweedie_score mean_pinball_loss "
    "mean_poisson_deviance mean_gamma_deviance mean_tweedie_deviance"
)
_PROBABILITIES = "roc_auc_score log_loss average_precision_score brier_score_loss"
_AVERAGED = ("precision", "recall", "f1", "jaccard")
_AVERAGES = ("macro", "micro", "weighted")
_ERRORS = "mean_absolute_error root_mean_squared_error mean_squared_error median_absolute_error log_loss max_error"

_FOR_TASK: dict[str, tuple[str, ...]] = {
    "regression": (
        "r2", "mean_absolute_error", "root_mean_squared_error", "mean_squared_error", "median_absolute_error",
        "mean_absolute_percentage_error", "max_error", "explained_variance",
    ),
    "classification": (
        "accuracy", "balanced_accuracy", "precision", "recall", "f1", "matthews_corrcoef", "cohen_kappa",
    ),
}  # fmt: skip


def _all() -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    functions_of: dict[Wants, str] = {"labels": _LABELS, "numbers": _NUMBERS, "probabilities": _PROBABILITIES}
    for wants, functions in functions_of.items():
        for function in functions.split():
            name = function.removesuffix("_score").removesuffix("_loss") if function != "log_loss" else function
            found[name] = Metric(name, function, wants)
    for name in _AVERAGED:
        for average in _AVERAGES:
            full = f"{name}_{average}"
            found[full] = Metric(full, found[name].function, "labels", {"average": average})
    for name in _ERRORS.split():
        plain = found[name]
        found[f"neg_{name}"] = Metric(f"neg_{name}", plain.function, plain.wants, negated=True)
    return found


METRICS: dict[str, Metric] = _all()
"""Every metric by its name."""
_ALIASES = {metric.function: metric for name, metric in METRICS.items() if not metric.keywords and not metric.negated}


def names() -> list[str]:
    """The names of all metrics; scikit-learn's functions' are known, too."""
    return sorted(METRICS)


def for_task(task: str) -> tuple[Metric, ...]:
    """The metrics that fit a task; none when it has no right answers."""
    return tuple(METRICS[name] for name in _FOR_TASK.get(task, ()))


def find(name: str) -> Metric | None:
    """A metric by its name, or None."""
    folded = name.casefold()
    return METRICS.get(folded) or _ALIASES.get(folded)


def require(name: str) -> Metric:
    """A metric by its name. Raises UnknownNameError."""
    found = find(name)
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str, models: Collection[str] = ()) -> UnknownNameError:
    """The error for a name that is no metric, and no model either."""
    return UnknownNameError.of("metric or model", name, [*names(), *sorted(_ALIASES), *models])


def averaging(classes: Collection[Any]) -> dict[str, Any]:
    """How precision, recall, f1 and jaccard are averaged when nobody says: of two classes, of which one is 1 or true,
    they are those of that class, as in scikit-learn; of others the mean over the classes.

    Args:
        classes: The labels, as `labels` gives them.
    """
    positive = next((label for label in classes if label == 1 and not isinstance(label, str)), None)
    if len(classes) <= 2 and (positive is not None or set(classes) <= {0}):
        return {"average": "binary", "pos_label": 1}
    return {"average": "macro"}


def score(
    metric: Metric,
    actual: Sequence[Any],
    prediction: Sequence[Any],
    options: Mapping[str, Any],
    classes: Sequence[Any] | None = None,
) -> float:
    """One score.

    Args:
        metric: The metric.
        actual: n values without NULLs.
        prediction: n values; for probabilities n numbers, or n rows of one number for each class.
        options: Keyword arguments of scikit-learn's function.
        classes: The classes of the columns of `prediction`.

    Raises:
        StatementError: An option the metric does not take.
        DataError: Values that it cannot score.
    """
    import numpy as np
    from sklearn import metrics

    keywords = {**metric.keywords, **options}
    left: Any
    right: Any
    if metric.wants == "labels":
        left, right = labels(actual, prediction)
        if metric.function.removesuffix("_score") in _AVERAGED:
            if "pos_label" in keywords:
                keywords["pos_label"] = labels([*actual[:1], keywords["pos_label"]])[0].tolist()[-1]
                keywords.setdefault("average", "binary")
            known = {*left.tolist(), *right.tolist()}
            for key, value in averaging(known).items() if "average" not in keywords else ():
                keywords[key] = value
            keywords.setdefault("zero_division", 0.0)
    else:
        right = _numbers(metric, prediction)
        left = _numbers(metric, actual) if metric.wants == "numbers" else labels(actual)[0]
        if right.ndim == 2 and classes is not None:
            left, right, more = _of_classes(metric, actual, right, classes)
            keywords = {**more, **keywords}
    try:
        # A class that only one side has is no mistake of the user's: the score says what it is worth.
        with suppress_warnings():
            value = float(getattr(metrics, metric.function)(left, right, **keywords))
    except TypeError as error:
        raise StatementError(f"{metric.name} does not take these options: {error}") from error
    except ValueError as error:
        raise DataError(f"{metric.name} cannot score these values: {error}") from error
    if not np.isfinite(value) and not math.isnan(value):
        raise DataError(f"{metric.name} cannot score these values: it is infinite")
    return -value if metric.negated else value


def check_labels(metric: Metric, actual: Sequence[Any], prediction: Sequence[Any]) -> str | None:
    """A note where a metric of labels is asked for predictions none of which is an actual label.

    Raises:
        DataError: A prediction is a fraction, and no label: it is a probability, or another number.
    """
    if metric.wants != "labels" or metric.function in _CLUSTERS:
        return None
    left, right = labels(actual, prediction)
    known = set(left.tolist())
    stranger = next(
        (
            value
            for value, label in zip(prediction, right.tolist(), strict=True)
            if isinstance(value, float | Decimal) and value % 1 != 0 and label not in known
        ),
        None,
    )
    if stranger is not None:
        raise DataError(
            f"{metric.name} compares labels, and the prediction {stranger} is none",
            hint="for probabilities take roc_auc or log_loss, for numbers r2; CAST to VARCHAR what is a label",
        )
    if known.isdisjoint(right.tolist()):
        shown = [", ".join(map(str, sorted(set(side.tolist()))[:3])) for side in (left, right)]
        return f"no prediction is an actual label: actual are {shown[0]}, predicted {shown[1]}"
    return None


def _numbers(metric: Metric, values: Sequence[Any]) -> Any:
    import numpy as np

    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        what = "probabilities as predictions" if metric.wants == "probabilities" else "numbers"
        raise DataError(
            f"{metric.name} needs {what}: {error}", hint="CAST the columns, or take accuracy"
        ) from error


def _of_classes(metric: Metric, actual: Sequence[Any], rows: Any, classes: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Labels, probabilities and arguments, as scikit-learn wants them for the columns of a classifier."""
    import numpy as np

    left, known = labels(actual, classes)
    order = np.argsort(known, kind="stable")
    known, rows = known[order], rows[:, order]
    if metric.function == "log_loss":
        return left, rows, {"labels": known}
    if len(known) == 2:
        return left == known[1], rows[:, 1], {}
    if metric.function == "roc_auc_score":
        return left, rows, {"labels": known, "multi_class": "ovr"}
    raise DataError(f"{metric.name} is for two classes, and the model has {len(known)}")


def probabilities(explained: Sequence[str | None]) -> tuple[list[str], list[list[float]]] | None:
    """The classes, and a row of their probabilities for each answer that `…_explain` gave; None when it has none."""
    rows: list[Any] = [json.loads(text).get("probabilities") if text else None for text in explained]
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        return None
    classes = list(rows[0])
    return classes, [[row[name] for name in classes] for row in rows]


def labels(*sides: Sequence[Any]) -> list[Any]:
    """Labels as arrays of one kind, numbers if all are: 1, 1.0, DECIMAL 1.00 and '1' are one class, and so are true,
    'True' and 1 where any of the values is a BOOLEAN."""
    import numpy as np

    texts = [[_label(value) for value in side] for side in sides]
    every = {text for side in texts for text in side}
    some = any(isinstance(value, bool) for side in sides for value in side)
    if some and {*map(str.lower, every)} <= _BOOLEANS.keys():
        return [np.array([_BOOLEANS[text.lower()] for text in side], dtype=bool) for side in texts]
    if every <= {"true", "false"}:
        return [np.array([text == "true" for text in side], dtype=bool) for side in texts]
    if all(_is_whole(text) for text in every):
        return [np.array([int(text) for text in side], dtype=np.int64) for side in texts]
    return [np.array(side, dtype=object).astype(str) for side in texts]


_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 19 and str(int(text)) == text


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (float, Decimal)):
        number = float(value)
        if number == number and abs(number) < 1e15 and value == int(value):
            return str(int(value))
        return format(value.normalize(), "f") if isinstance(value, Decimal) else repr(value)
    return str(value)
