"""Owns the choice of a model's SQL form, and the bounds beyond which the predictor is faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql.engine import Translation
from mindsql_engines.sklearn.encoding import Encoder
from mindsql_engines.sklearn.sql import bayes, boosting, linear, trees
from mindsql_engines.sklearn.sql.inputs import Inputs, Steps
from mindsql_engines.sklearn.sql.text import NotTranslatable

MOST_TEXT = 60_000
"""The longest SQL text, in characters; 400 leaves take about 30,000, the rest is for tables of categories."""


def translate(meta: Mapping[str, Any], estimator: Any, encoder: Encoder | None) -> Translation | str:
    """The SQL form of a fitted model, or why it has none, or only one too long to be fast.

    Args:
        meta: What training stored beside the estimator.
        estimator: The fitted estimator.
        encoder: Makes its matrix; a ready-made pipeline has none, and no SQL form.
    """
    if encoder is None:
        return "a registered model is asked as it is"
    if meta["task"] not in ("classification", "regression"):
        return f"the task {meta['task']} has no such form"
    kind = type(estimator).__name__
    form = next((form for form in (linear, bayes, trees, boosting) if kind in form.NAMES), None)
    if form is None:
        return f"{kind} has no such form"
    steps = Steps()
    try:
        outputs, kind = form.outputs(meta, estimator, Inputs(encoder, steps), steps)
    except NotTranslatable as why:
        return str(why)
    size = steps.size() + sum(map(len, outputs.values()))
    if size > MOST_TEXT:
        return f"it takes {size} characters, more than {MOST_TEXT}"
    return Translation(outputs, tuple(level for level in steps.levels if level), kind)
