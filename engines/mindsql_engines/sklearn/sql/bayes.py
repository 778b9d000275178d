"""Owns naive Bayes in SQL: a log likelihood for each class, added up over the columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindsql_engines.sklearn.sql import answers, linear, text
from mindsql_engines.sklearn.sql.inputs import RAW, Inputs, Steps
from mindsql_engines.sklearn.sql.text import number

NAMES = frozenset(["BernoulliNB", "ComplementNB", "GaussianNB", "MultinomialNB"])


def outputs(
    meta: Mapping[str, Any], estimator: Any, inputs: Inputs, steps: Steps
) -> tuple[dict[str, str], str]:
    """The outputs of a naive Bayes classifier, and what it is."""
    name = type(estimator).__name__
    if name == "GaussianNB":
        scores = _gaussian(estimator, inputs, steps)
    elif name == "BernoulliNB":
        scores = _bernoulli(estimator, inputs, steps)
    else:
        weights = np.asarray(estimator.feature_log_prob_)
        # A ComplementNB minds the prior only where there is one class.
        offsets = estimator.class_log_prior_ if name == "MultinomialNB" else np.zeros(len(weights))
        scores = linear.weighted(weights, offsets, inputs, steps)
    kind = f"naive Bayes, {inputs.encoder.width * len(scores)} terms"
    return answers.several(meta, estimator.classes_, scores, "softmax", steps), kind


def _gaussian(estimator: Any, inputs: Inputs, steps: Steps) -> list[str]:
    means, variances = np.asarray(estimator.theta_), np.asarray(estimator.var_)
    constant = np.log(estimator.class_prior_) - 0.5 * np.log(2.0 * np.pi * variances).sum(axis=1)

    def present(at: int, place: int, value: str) -> str:
        middle, half = number(means[at, place]), number(0.5 / variances[at, place])
        return f"(({value} - {middle}) * ({value} - {middle}) * -{half})"

    def fixed(places: slice | list[int], values: list[float]) -> Any:
        return (-0.5 * (np.array(values) - means[:, places]) ** 2 / variances[:, places]).sum(axis=1)

    return _likelihoods(constant, inputs, steps, present, fixed)


def _bernoulli(estimator: Any, inputs: Inputs, steps: Steps) -> list[str]:
    yes = np.asarray(estimator.feature_log_prob_)
    no = np.log(1 - np.exp(yes))
    limit = estimator.binarize

    def present(at: int, place: int, value: str) -> str:
        test = f"{value} > {number(limit)}"
        return f"CASE WHEN {test} THEN {number(yes[at, place])} ELSE {number(no[at, place])} END"

    def fixed(places: slice | list[int], values: list[float]) -> Any:
        return np.where(np.array(values) > limit, yes[:, places], no[:, places]).sum(axis=1)

    if limit is None:
        raise text.NotTranslatable("the matrix is taken as it is")
    return _likelihoods(np.asarray(estimator.class_log_prior_), inputs, steps, present, fixed)


def _likelihoods(constant: Any, inputs: Inputs, steps: Steps, present: Any, fixed: Any) -> list[str]:
    """A step for each class. `present` writes the term of a plain column, `fixed` computes those of known values."""
    terms: list[list[str]] = [[number(value)] for value in constant]
    scaled_level = RAW + 2
    clipped = inputs.encoder.style.scaling == "unit"
    for place in range(inputs.encoder.plain):
        value, shift, scale, filled = inputs.scaled(place)
        expression = f"({value}{text.minus(shift)}) / {number(scale)}"
        if clipped:
            expression = f"CASE WHEN {value} IS NOT NULL THEN least(greatest({expression}, 0e0), 1e0) END"
        scaled = steps.put(scaled_level, f"__z{place}", f"coalesce({expression}, {number(filled)})")
        flag = inputs.flag_of(place)
        for at, own in enumerate(terms):
            own.append(present(at, place, scaled))
        if flag is not None:
            gone, there = fixed([flag], [1.0]), fixed([flag], [0.0])
            for at, own in enumerate(terms):
                own.append(f"CASE WHEN {value} IS NULL THEN {number(gone[at])} ELSE {number(there[at])} END")
    for column in inputs.categories():
        rows, unseen, missing = inputs.block_rows(column)
        places = slice(column.block, column.block + column.width)
        table = np.array([fixed(places, row) for row in [*rows, unseen, missing]])
        index = inputs.place_in_list(column)
        for at, own in enumerate(terms):
            own.append(f"{text.items(table[:, at])}[{index}]")
    level = max(scaled_level + 1, steps.next())
    return [steps.put(level, f"__s{at}", text.total(own)) for at, own in enumerate(terms)]
