"""Owns trees and small ensembles of trees in SQL: nested CASE over the columns as the trees compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindsql_engines.sklearn.estimators import names_in
from mindsql_engines.sklearn.sql import answers, text
from mindsql_engines.sklearn.sql.inputs import Inputs, Steps
from mindsql_engines.sklearn.sql.text import NotTranslatable, number

MOST_LEAVES = 400
"""The most leaves of all trees together. On a million rows and two cores, SQL against the predictor took 0.74 of the
time with 320 leaves (10 trees), 0.89 with 560 (70 trees), 1.1 with 640 (20 trees) and 2 with 1240 (40 trees)."""
MOST_DEPTH = 40
"""The deepest nesting of CASE."""
AT_ONCE = 24
"""So many trees are added in one step, which bounds the nesting of sums without changing their order."""

_SINGLE = names_in("DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor")
_MEANS = names_in(
    "BaggingClassifier BaggingRegressor ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier "
    "RandomForestRegressor"
)
_BOOSTED = names_in("GradientBoostingClassifier GradientBoostingRegressor")
_HISTOGRAM = names_in("HistGradientBoostingClassifier HistGradientBoostingRegressor")
NAMES = _SINGLE | _MEANS | _BOOSTED | _HISTOGRAM | {"AdaBoostClassifier"}


@dataclass
class Node:
    """A node of any kind of tree: a leaf by its number, or a test and two more nodes."""

    leaf: int = -1
    test: str = ""
    met: Node | None = None
    other: Node | None = None

    def sql(self, leaf: Callable[[int], str]) -> str:
        """The tree as an expression."""
        if self.met is None or self.other is None:
            return leaf(self.leaf)
        return f"CASE WHEN {self.test} THEN {self.met.sql(leaf)} ELSE {self.other.sql(leaf)} END"


def outputs(
    meta: Mapping[str, Any], estimator: Any, inputs: Inputs, steps: Steps
) -> tuple[dict[str, str], str]:
    """The outputs of trees, and what they are."""
    name = type(estimator).__name__
    forest = Forest(inputs, steps)
    if name in _HISTOGRAM:
        found = _histogram(meta, estimator, forest)
    elif name in _BOOSTED:
        found = _boosted(meta, estimator, forest)
    elif name == "AdaBoostClassifier":
        found = _adaptive(meta, estimator, forest)
    else:
        found = _mean(meta, estimator, forest)
    several = f"{forest.trees} trees, " if forest.trees > 1 else "tree, "
    return found, f"{several}{forest.leaves} leaves"


class Forest:
    """Counts what is translated, and puts the columns that the trees compare."""

    def __init__(self, inputs: Inputs, steps: Steps) -> None:
        self.inputs = inputs
        self.steps = steps
        self.trees = 0
        self.leaves = 0
        self._columns: dict[int, str] = {}

    def count(self, leaves: int) -> None:
        """Count a tree."""
        self.trees += 1
        self.leaves += leaves
        if self.leaves > MOST_LEAVES:
            raise NotTranslatable(f"it has more than {MOST_LEAVES} leaves")

    def single(self, place: int) -> str:
        """A matrix column rounded to 32 bits, as the trees of scikit-learn compare it."""
        return self._put(place, True)

    def double(self, place: int) -> str:
        """A matrix column as it is."""
        return self._put(place, False)

    def _put(self, place: int, rounded: bool) -> str:
        if place not in self._columns:
            expression, whole = self.inputs.cell(place)
            if rounded and not whole:
                expression = f"CAST(CAST({expression} AS FLOAT) AS DOUBLE)"
            # Level 2: below are the inputs and what is computed of them.
            self._columns[place] = self.steps.put(2, f"__f{place}", expression)
        return self._columns[place]

    def tree(self, tree: Any, features: Sequence[int] | None = None) -> Node:
        """A tree of scikit-learn; `features` are the matrix columns that it was given."""
        left, right = tree.children_left, tree.children_right
        feature, threshold = tree.feature, tree.threshold
        to_left = getattr(tree, "missing_go_to_left", None)
        self.count(int((left < 0).sum()))

        def build(at: int, depth: int) -> Node:
            if left[at] < 0:
                return Node(leaf=at)
            if depth > MOST_DEPTH:
                raise NotTranslatable("a tree is too deep")
            place = int(feature[at]) if features is None else int(features[feature[at]])
            value = self.single(place)
            low, high = build(left[at], depth + 1), build(right[at], depth + 1)
            return split(value, threshold[at], bool(to_left is not None and to_left[at]), low, high)

        return build(0, 1)

    def sums(self, terms: Sequence[str], start: str, name: str) -> str:
        """A step with the sum of terms, added one after the other as the estimator does."""
        made = start
        level = max(3, self.steps.next())
        chunks = [terms[at : at + AT_ONCE] for at in range(0, len(terms), AT_ONCE)] or [[]]
        for at, chunk in enumerate(chunks):
            own = " + ".join([*([made] if made else []), *chunk])
            made = self.steps.put(level + at, f"__{name}" if at == len(chunks) - 1 else f"__{name}_{at}", own)
        return made

    def leaf_steps(self, nodes: Sequence[Node], leaves: Sequence[Sequence[int]]) -> list[str]:
        """A step for each tree: the place, from 1, of the leaf among `leaves`."""
        level = max(3, self.steps.next())
        names = []
        for at, (node, own) in enumerate(zip(nodes, leaves, strict=True)):
            place = {leaf: str(number + 1) for number, leaf in enumerate(own)}
            names.append(self.steps.put(level, f"__t{at}", node.sql(place.__getitem__)))
        return names


def split(value: str, threshold: float, missing_low: bool, low: Node, high: Node) -> Node:
    """`value <= threshold` goes low. A NULL meets no test, so the test is turned where it goes low."""
    if missing_low:
        return Node(test=f"{value} > {number(threshold)}", met=high, other=low)
    return Node(test=f"{value} <= {number(threshold)}", met=low, other=high)


def leaf_of(values: Any) -> Callable[[int], str]:
    """What a leaf answers, given a value for each node."""
    return lambda leaf: number(values[leaf])


def _mean(meta: Mapping[str, Any], estimator: Any, forest: Forest) -> dict[str, str]:
    """A single tree, or the mean of several."""
    members = getattr(estimator, "estimators_", None) or [estimator]
    if any(type(member).__name__ not in _SINGLE for member in members):
        raise NotTranslatable("its members are not trees")
    if type(estimator).__name__.startswith("Bagging"):
        nodes = [
            forest.tree(member.tree_, own)
            for member, own in zip(members, estimator.estimators_features_, strict=True)
        ]
    else:
        nodes = [forest.tree(member.tree_) for member in members]
    if meta["task"] == "regression":
        terms = [
            node.sql(leaf_of(member.tree_.value[:, 0, 0]))
            for node, member in zip(nodes, members, strict=True)
        ]
        whole = forest.sums(terms, "", "s")
        if len(members) > 1:
            whole = forest.steps.put(forest.steps.next(), "__mean", f"{whole} / {number(len(members))}")
        return answers.regression(meta, whole)
    classes = estimator.classes_
    leaves = [[int(at) for at in np.nonzero(member.tree_.children_left < 0)[0]] for member in members]
    places = forest.leaf_steps(nodes, leaves)
    scores = []
    level = forest.steps.next()
    for at in range(len(classes)):
        terms = []
        for member, own, place in zip(members, leaves, places, strict=True):
            seen = np.asarray(member.classes_).astype(int).tolist()
            if at in seen:
                values = member.tree_.value[own, 0, seen.index(at)]
                terms.append(f"{text.items(values)}[{place}]")
        if not terms:
            terms = ["0e0"]
        scores.append(_divided(forest, terms, len(members), level, at))
    return answers.several(meta, classes, scores, "given", forest.steps)


def _divided(forest: Forest, terms: list[str], by: int, level: int, at: int) -> str:
    made = ""
    steps = [terms[start : start + AT_ONCE] for start in range(0, len(terms), AT_ONCE)]
    for number_, chunk in enumerate(steps):
        own = " + ".join([*([made] if made else []), *chunk])
        last = number_ == len(steps) - 1
        if last and by > 1:
            own = f"({own}) / {number(by)}"
        made = forest.steps.put(level + number_, f"__p{at}" if last else f"__p{at}_{number_}", own)
    return made


def _boosted(meta: Mapping[str, Any], estimator: Any, forest: Forest) -> dict[str, str]:
    """Gradient boosting: a constant start, and trees times the learning rate."""
    if estimator.init_ != "zero" and type(estimator.init_).__name__ not in (
        "DummyClassifier",
        "DummyRegressor",
    ):
        raise NotTranslatable("it starts from another model")
    zeros = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    starts = np.asarray(estimator._raw_predict_init(zeros), dtype=np.float64)[0]
    rate = float(estimator.learning_rate)
    terms = [
        [
            forest.tree(member.tree_).sql(leaf_of(rate * member.tree_.value[:, 0, 0]))
            for member in estimator.estimators_[:, k]
        ]
        for k in range(estimator.estimators_.shape[1])
    ]
    scores = scores_of(forest, terms, starts)
    if meta["task"] == "regression":
        return answers.regression(meta, scores[0])
    if len(scores) == 1:
        factor = 2.0 if type(estimator._loss).__name__ == "ExponentialLoss" else 1.0
        return answers.binary(meta, estimator.classes_, scores[0], "sigmoid", factor, zero=True)
    return answers.several(meta, estimator.classes_, scores, "softmax", forest.steps)


def scores_of(forest: Forest, terms: list[list[str]], starts: Any) -> list[str]:
    """A step for each list of terms, side by side."""
    level = max(3, forest.steps.next())
    names = []
    for k, (own, start) in enumerate(zip(terms, starts, strict=True)):
        made = number(start)
        chunks = [own[at : at + AT_ONCE] for at in range(0, len(own), AT_ONCE)] or [[]]
        for at, chunk in enumerate(chunks):
            last = at == len(chunks) - 1
            made = forest.steps.put(
                level + at, f"__s{k}" if last else f"__s{k}_{at}", " + ".join([made, *chunk])
            )
        names.append(made)
    return names


def _adaptive(meta: Mapping[str, Any], estimator: Any, forest: Forest) -> dict[str, str]:
    """AdaBoost of classification trees: each votes for its class with its weight, and a little against the others."""
    members = estimator.estimators_
    weights = estimator.estimator_weights_[: len(members)]  # a perfect member is the last, and the rest are zeros
    if any(type(member).__name__ not in _SINGLE for member in members):
        raise NotTranslatable("its members are not trees")
    classes = estimator.classes_
    count = len(classes)
    whole = float(np.sum(weights))
    nodes = [forest.tree(member.tree_) for member in members]
    terms: list[list[str]] = []
    for wanted in classes if count > 2 else classes[:1]:
        own = []
        for node, member, weight in zip(nodes, members, weights.tolist(), strict=True):
            voted = member.classes_[np.argmax(member.tree_.value[:, 0, :], axis=1)] == wanted
            own.append(node.sql(leaf_of(np.where(voted, weight, -1 / (count - 1) * weight))))
        terms.append(own)
    sums = scores_of(forest, terms, [0.0] * len(terms))
    level = forest.steps.next()
    if count == 2:
        score = forest.steps.put(level, "__d", f"{number(-2)} * ({sums[0]} / {number(whole)})")
        return answers.binary(meta, classes, score, "sigmoid")
    scores = [
        forest.steps.put(level, f"__d{at}", f"{made} / {number(whole)}") for at, made in enumerate(sums)
    ]
    return answers.several(meta, classes, scores, "softmax", forest.steps, 1 / (count - 1))


def _histogram(meta: Mapping[str, Any], estimator: Any, forest: Forest) -> dict[str, str]:
    """Histogram gradient boosting: thresholds are doubles, categories are split by sets, missing values go aside."""
    columns = _order(estimator)
    starts = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    terms: list[list[str]] = [[] for _ in starts]
    for row in estimator._predictors:
        for k, predictor in enumerate(row):
            node = _histogram_tree(estimator, predictor, columns, forest)
            terms[k].append(node.sql(leaf_of(predictor.nodes["value"])))
    scores = scores_of(forest, terms, starts)
    if meta["task"] == "regression":
        score = scores[0]
        link = type(estimator._loss.link).__name__
        if link == "LogLink":
            score = forest.steps.put(forest.steps.next(), "__e", f"exp({score})")
        elif link != "IdentityLink":
            raise NotTranslatable(f"the link {link}")
        return answers.regression(meta, score)
    if len(scores) == 1:
        return answers.binary(meta, estimator.classes_, scores[0], "sigmoid")
    return answers.several(meta, estimator.classes_, scores, "softmax", forest.steps)


def _order(estimator: Any) -> list[int]:
    """The matrix column of each feature of the trees: category columns have been put first."""
    apart = estimator.is_categorical_
    if apart is None:
        return list(range(estimator.n_features_in_))
    return [*np.nonzero(apart)[0].tolist(), *np.nonzero(~apart)[0].tolist()]


def _histogram_tree(estimator: Any, predictor: Any, columns: list[int], forest: Forest) -> Node:
    nodes = predictor.nodes
    forest.count(int(nodes["is_leaf"].sum()))
    sets = predictor.raw_left_cat_bitsets
    known_sets, set_of_feature = estimator._bin_mapper.make_known_categories_bitsets()

    def build(at: int, depth: int) -> Node:
        node = nodes[at]
        if node["is_leaf"]:
            return Node(leaf=at)
        if depth > MOST_DEPTH:
            raise NotTranslatable("a tree is too deep")
        feature = int(node["feature_idx"])
        place = columns[feature]
        missing_low = bool(node["missing_go_to_left"])
        low, high = build(int(node["left"]), depth + 1), build(int(node["right"]), depth + 1)
        if not node["is_categorical"]:
            return split(forest.double(place), float(node["num_threshold"]), missing_low, low, high)
        names = _code_names(estimator, feature)
        left = _members(sets[node["bitset_idx"]])
        known = _members(known_sets[set_of_feature[feature]])
        value = forest.inputs.code(forest.inputs.column_at(place))
        if missing_low:
            return Node(test=in_codes(value, [names[c] for c in known - left if c in names]), met=high, other=low)
        return Node(test=in_codes(value, [names[c] for c in left if c in names]), met=low, other=high)

    return build(0, 1)


def _code_names(estimator: Any, feature: int) -> dict[int, int]:
    """For each code that the trees know the encoder's own code of that category."""
    found = estimator._preprocessor.named_transformers_["encoder"].categories_[feature]
    return {at: int(code) for at, code in enumerate(found.tolist()) if code == code}


def _members(bits: Any) -> set[int]:
    return {32 * at + bit for at, word in enumerate(bits.tolist()) for bit in range(32) if word >> bit & 1}


_WORD = 62


def in_codes(value: str, codes: Sequence[int]) -> str:
    """Whether a code is one of those: a look at its bit. A shift out of a word's range gives 0."""
    words: dict[int, int] = {}
    for code in codes:
        words[code // _WORD] = words.get(code // _WORD, 0) | 1 << code % _WORD
    parts = [
        f"(CAST({mask} AS BIGINT) >> {value if not at else f'({value} - {at * _WORD})'})"
        for at, mask in sorted(words.items())
    ]
    return f"(({' | '.join(parts)}) & 1) = 1" if parts else f"{value} < 0"
