"""Owns what is made of a model's scores: the answer in the target's type, and the confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from mindsql_engines.sklearn.sql import text
from mindsql_engines.sklearn.sql.inputs import Steps
from mindsql_engines.sklearn.sql.text import number

Proba: TypeAlias = Literal["", "sigmoid", "softmax", "shares", "given"]
"""How probabilities come from scores: not at all, 1 / (1 + exp(-s)), softmax, sigmoids over their sum, as they are."""

_FLOAT_LIMIT = number(3.4028235677973366e38)
"""From here on a double becomes an infinite float."""


def regression(meta: Mapping[str, Any], score: str) -> dict[str, str]:
    """The outputs of a regressor. What is not finite is NULL, as the predictor has it."""
    target = meta["target"]
    value = score
    if meta["answer_type"] == "FLOAT":
        value = (
            f"CASE WHEN abs({score}) < {_FLOAT_LIMIT} THEN CAST({score} AS FLOAT) "
            f"WHEN {score} > 0 THEN CAST('inf' AS FLOAT) ELSE CAST('-inf' AS FLOAT) END"
        )
    outputs = {target: f"CASE WHEN isfinite({score}) THEN {value} END"}
    if _wants(meta):
        outputs[f"{target}_confidence"] = f"CASE WHEN isfinite({score}) THEN {number(meta['level'])} END"
    return outputs


def binary(
    meta: Mapping[str, Any], classes: Any, score: str, proba: Proba, factor: float = 1.0, zero: bool = False
) -> dict[str, str]:
    """The outputs of a classifier with one score, positive for the second class.

    Args:
        factor: The score is multiplied by it before it becomes a probability.
        zero: A score of zero is the second class, too.
    """
    first, second = _labels(meta, classes)
    target = meta["target"]
    sign = ">=" if zero else ">"
    outputs = {target: f"CASE WHEN {score} {sign} 0e0 THEN {second} ELSE {first} END"}
    if proba and _wants(meta):
        by = "" if factor == 1 else f" * {number(factor)}"
        outputs[f"{target}_confidence"] = f"1e0 / (1e0 + exp(-abs({score}){by}))"
    return outputs


def several(
    meta: Mapping[str, Any],
    classes: Any,
    scores: Sequence[str],
    proba: Proba,
    steps: Steps,
    factor: float = 1.0,
) -> dict[str, str]:
    """The outputs of a classifier with a score for each class: the highest one is taken, the first of equal ones."""
    level = steps.next()
    highest = steps.put(level, "__top", f"greatest({', '.join(scores)})")
    labels = _labels(meta, classes)
    target = meta["target"]
    cases = " ".join(
        f"WHEN {score} = {highest} THEN {label}" for score, label in zip(scores, labels, strict=True)
    )
    outputs = {target: f"CASE {cases} END"}
    if not proba or not _wants(meta):
        return outputs
    if proba == "given":
        sure = highest
    elif proba == "softmax":
        by = "" if factor == 1 else f" * {number(factor)}"
        parts = text.total([f"exp(({score} - {highest}){by})" for score in scores])
        sure = f"1e0 / {parts}"
    else:
        parts = text.total([f"1e0 / (1e0 + exp(-{score}))" for score in scores])
        every = steps.put(level + 1, "__sum", parts)
        even = number(1 / len(scores))
        sure = f"CASE WHEN {every} = 0 THEN {even} ELSE 1e0 / (1e0 + exp(-{highest})) / {every} END"
    outputs[f"{target}_confidence"] = sure
    return outputs


def _wants(meta: Mapping[str, Any]) -> bool:
    return f"{meta['target']}_confidence" in [name for name, _ in meta["outputs"]]


def _labels(meta: Mapping[str, Any], classes: Any) -> list[str]:
    every = meta["classes"]
    return [text.label(every[int(code)], meta["answer_type"]) for code in np.asarray(classes).tolist()]
