"""Owns linear models in SQL: weighted sums of the inputs, with scaling, imputation and one-hot columns folded in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindsql_engines.sklearn.estimators import names_in
from mindsql_engines.sklearn.sql import answers, text
from mindsql_engines.sklearn.sql.answers import Proba
from mindsql_engines.sklearn.sql.inputs import RAW, Inputs, Steps
from mindsql_engines.sklearn.sql.text import NotTranslatable, number

_REGRESSORS = names_in(
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars LarsCV Lasso LassoCV LassoLars "
    "LassoLarsCV LassoLarsIC LinearRegression LinearSVR OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV "
    "PassiveAggressiveRegressor QuantileRegressor Ridge RidgeCV SGDRegressor TheilSenRegressor"
)
_KERNELS = names_in("SVR NuSVR")
_LOGARITHMIC = names_in("GammaRegressor PoissonRegressor TweedieRegressor")
_CLASSIFIERS: dict[str, Proba] = {
    **dict.fromkeys(
        names_in("LinearSVC PassiveAggressiveClassifier Perceptron RidgeClassifier RidgeClassifierCV"), ""
    ),
    **dict.fromkeys(
        names_in("LinearDiscriminantAnalysis LogisticRegression LogisticRegressionCV"), "softmax"
    ),
    "SGDClassifier": "shares",
}
NAMES = _REGRESSORS | _KERNELS | _LOGARITHMIC | frozenset(_CLASSIFIERS)


def outputs(
    meta: Mapping[str, Any], estimator: Any, inputs: Inputs, steps: Steps
) -> tuple[dict[str, str], str]:
    """The outputs of a linear model, and what it is."""
    name = type(estimator).__name__
    if name in _KERNELS and estimator.kernel != "linear":
        raise NotTranslatable(f"the kernel {estimator.kernel} is not linear")
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    offsets = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), len(weights))
    scores = weighted(weights, offsets, inputs, steps)
    kind = f"linear, {inputs.encoder.width * len(weights)} terms"
    if name in _REGRESSORS or name in _KERNELS:
        return answers.regression(meta, scores[0]), kind
    if name in _LOGARITHMIC:
        score = scores[0]
        if type(estimator._base_loss.link).__name__ == "LogLink":
            score = steps.put(steps.next(), "__e", f"exp({score})")
        return answers.regression(meta, score), kind
    proba: Proba = _CLASSIFIERS[name]
    if name == "SGDClassifier" and estimator.loss != "log_loss":
        proba = ""
    if len(scores) == 1:
        return answers.binary(meta, estimator.classes_, scores[0], "sigmoid" if proba else ""), kind
    return answers.several(meta, estimator.classes_, scores, proba, steps), kind


def weighted(weights: Any, offsets: Any, inputs: Inputs, steps: Steps) -> list[str]:
    """A step for each row of `weights`: the sum of the matrix columns times their weights, and the offset."""
    terms: list[list[str]] = [[] for _ in weights]
    sums = np.array(offsets, dtype=np.float64)
    clipped = inputs.encoder.style.scaling == "unit"
    for place in range(inputs.encoder.plain):
        flag = inputs.flag_of(place)
        own = weights[:, place]
        flagged = weights[:, flag] if flag is not None else np.zeros(len(weights))
        if not own.any() and not flagged.any():
            continue
        value, shift, scale, filled = inputs.scaled(place)
        for at, (weight, extra) in enumerate(zip(own, flagged, strict=True)):
            if not weight and not extra:
                continue
            if clipped:
                share = f"({value}{text.minus(shift)}) / {number(scale)}"
                present = f"least(greatest({share}, 0e0), 1e0) * {number(weight)}"
                # A NULL would be passed over by `least` and `greatest`.
                missing = number(filled * weight + extra)
                terms[at].append(f"CASE WHEN {value} IS NULL THEN {missing} ELSE {present} END")
                continue
            # The shift is subtracted first: folded into the offset it would cost digits of large values.
            present = f"({value}{text.minus(shift)}) * {number(weight / scale)}"
            terms[at].append(f"coalesce({present}, {number(filled * weight + extra)})")
    for column in inputs.categories():
        block = weights[:, column.block : column.block + column.width]
        if not block.any():
            continue
        rows, unseen, missing_row = inputs.block_rows(column)
        table = np.array([*rows, unseen, missing_row]) @ block.T
        if len(weights) == 1:
            known = table[:-2, 0].tolist()
            terms[0].append(inputs.looked_up(column, known, float(table[-2, 0]), float(table[-1, 0])))
            continue
        index = inputs.place_in_list(column)
        for at in range(len(weights)):
            terms[at].append(f"{text.items(table[:, at])}[{index}]")
    level = max(RAW + 1, steps.next())
    return [
        steps.put(level, f"__s{at}", text.total([*own, *([number(sums[at])] if sums[at] or not own else [])]))
        for at, own in enumerate(terms)
    ]
