"""Owns boosted trees of LightGBM in SQL; XGBoost and CatBoost add in 32 bits, which SQL does not repeat exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql_engines.sklearn.sql import answers
from mindsql_engines.sklearn.sql.inputs import Inputs, Steps
from mindsql_engines.sklearn.sql.text import NotTranslatable
from mindsql_engines.sklearn.sql.trees import MOST_DEPTH, Forest, Node, in_codes, leaf_of, scores_of, split

NAMES = frozenset({"LGBMClassifier", "LGBMRegressor"})
_LOG = frozenset({"poisson", "gamma", "tweedie"})


def outputs(
    meta: Mapping[str, Any], estimator: Any, inputs: Inputs, steps: Steps
) -> tuple[dict[str, str], str]:
    """The outputs of the trees, and what they are."""
    known = estimator.get_params()
    if known["boosting_type"] == "rf":
        raise NotTranslatable("boosting_type = 'rf' has no such form")
    trees = estimator.dump()
    forest = Forest(inputs, steps)
    several = max(1, len(estimator.classes_)) if len(estimator.classes_) > 2 else 1
    terms: list[list[str]] = [[] for _ in range(several)]
    for at, tree in enumerate(trees):
        values: list[float] = []
        node = _tree(tree["tree_structure"], forest, values, 1)
        forest.count(len(values))
        terms[at % several].append(node.sql(leaf_of(values)))
    scores = scores_of(forest, terms, [0.0] * several)
    kind = f"{forest.trees} trees, {forest.leaves} leaves"
    if meta["task"] == "regression":
        score = scores[0]
        if known["objective"] in _LOG:
            score = steps.put(steps.next(), "__e", f"exp({score})")
        return answers.regression(meta, score), kind
    if several == 1:
        return answers.binary(meta, estimator.classes_, scores[0], "sigmoid"), kind
    return answers.several(meta, estimator.classes_, scores, "softmax", steps), kind


def _tree(node: Mapping[str, Any], forest: Forest, values: list[float], depth: int) -> Node:
    """A tree as LightGBM writes it; `values` takes those of its leaves."""
    if "split_feature" not in node:
        values.append(node["leaf_value"])
        return Node(leaf=len(values) - 1)
    if depth > MOST_DEPTH:
        raise NotTranslatable("a tree is too deep")
    place = int(node["split_feature"])
    low = _tree(node["left_child"], forest, values, depth + 1)
    high = _tree(node["right_child"], forest, values, depth + 1)
    if node["decision_type"] == "==":
        codes = [int(code) for code in str(node["threshold"]).split("||")]
        value = forest.inputs.code(forest.inputs.column_at(place))
        return Node(test=in_codes(value, codes), met=low, other=high)
    threshold = float(node["threshold"])
    # Where training saw no missing value, one counts as 0.
    missing_low = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0
    return split(forest.double(place), threshold, missing_low, low, high)
