"""Owns which scikit-learn estimators a statement may name, and how each wants its inputs.

The list is fixed: SQL text is looked up in it and never becomes an import path.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mindsql.engine import Task
from mindsql.errors import StatementError, UnknownNameError

Categories: TypeAlias = Literal["native", "codes", "onehot", "bins"]
Scaling: TypeAlias = Literal["none", "standard", "scale", "unit"]


def names_in(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


_CLASSIFIERS = {
    "calibration": "CalibratedClassifierCV",
    "discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "dummy": "DummyClassifier",
    "ensemble": "AdaBoostClassifier BaggingClassifier ExtraTreesClassifier GradientBoostingClassifier "
    "HistGradientBoostingClassifier RandomForestClassifier StackingClassifier VotingClassifier",
    "gaussian_process": "GaussianProcessClassifier",
    "linear_model": "LogisticRegression LogisticRegressionCV PassiveAggressiveClassifier Perceptron "
    "RidgeClassifier RidgeClassifierCV SGDClassifier",
    "model_selection": "FixedThresholdClassifier TunedThresholdClassifierCV",
    "multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",
    "naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    "neighbors": "KNeighborsClassifier NearestCentroid RadiusNeighborsClassifier",
    "neural_network": "MLPClassifier",
    "semi_supervised": "LabelPropagation LabelSpreading SelfTrainingClassifier",
    "svm": "LinearSVC NuSVC SVC",
    "tree": "DecisionTreeClassifier ExtraTreeClassifier",
}
_REGRESSORS = {
    "compose": "TransformedTargetRegressor",
    "cross_decomposition": "CCA PLSCanonical PLSRegression",
    "dummy": "DummyRegressor",
    "ensemble": "AdaBoostRegressor BaggingRegressor ExtraTreesRegressor GradientBoostingRegressor "
    "HistGradientBoostingRegressor RandomForestRegressor StackingRegressor VotingRegressor",
    "gaussian_process": "GaussianProcessRegressor",
    "isotonic": "IsotonicRegression",
    "kernel_ridge": "KernelRidge",
    "linear_model": "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars "
    "LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression OrthogonalMatchingPursuit "
    "OrthogonalMatchingPursuitCV PassiveAggressiveRegressor PoissonRegressor QuantileRegressor "
    "RANSACRegressor Ridge RidgeCV SGDRegressor TheilSenRegressor TweedieRegressor",
    "neighbors": "KNeighborsRegressor RadiusNeighborsRegressor",
    "neural_network": "MLPRegressor",
    "svm": "LinearSVR NuSVR SVR",
    "tree": "DecisionTreeRegressor ExtraTreeRegressor",
}
_DETECTORS = {
    "covariance": "EllipticEnvelope",
    "ensemble": "IsolationForest",
    "linear_model": "SGDOneClassSVM",
    "neighbors": "LocalOutlierFactor",
    "svm": "OneClassSVM",
}
_CLUSTERERS = {
    "cluster": "AffinityPropagation BisectingKMeans KMeans MeanShift MiniBatchKMeans",
    "mixture": "BayesianGaussianMixture GaussianMixture",
}
_LISTS: tuple[tuple[Task, dict[str, str]], ...] = (
    ("classification", _CLASSIFIERS),
    ("regression", _REGRESSORS),
    ("anomaly", _DETECTORS),
    ("clustering", _CLUSTERERS),
)

_BOOSTED = "mindsql_engines.sklearn.boosted"
ESTIMATORS: dict[str, tuple[Task, str]] = {
    name: (task, f"sklearn.{module}")
    for task, modules in _LISTS
    for module, names in modules.items()
    for name in names.split()
}
BOOSTED = names_in("LGBMClassifier XGBClassifier CatBoostClassifier LGBMRegressor XGBRegressor CatBoostRegressor")
"""Those of LightGBM, XGBoost and CatBoost, which may not be installed."""
ESTIMATORS |= {
    name: ("classification" if name.endswith("Classifier") else "regression", _BOOSTED) for name in sorted(BOOSTED)
}
"""Class name → task and module of every estimator that may be named."""

_REFUSED = {
    "Birch": "keeps a tree of nodes that cannot be stored safely",
    **dict.fromkeys(
        names_in("DBSCAN HDBSCAN OPTICS AgglomerativeClustering SpectralClustering FeatureAgglomeration"),
        "groups the rows it was fitted on but cannot label new ones",
    ),
    **dict.fromkeys(
        names_in(
            "ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain MultiTaskElasticNet "
            "MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV"
        ),
        "answers several targets at once, and a model has one",
    ),
}

_TREES = names_in(
    "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor IsolationForest "
    "ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier RandomForestRegressor "
    "GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier "
    "HistGradientBoostingRegressor DummyClassifier DummyRegressor IsotonicRegression"
)
_SINGLE = names_in(
    "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor IsolationForest "
    "ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier RandomForestRegressor "
    "GradientBoostingClassifier GradientBoostingRegressor"
)
_TREE_BY_DEFAULT = names_in("AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor")
_HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")

BASE_ESTIMATOR = "base_estimator"
"""The option for a meta-estimator's own `estimator`, a name that USING needs for itself."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "PLSCanonical": {"n_components": 1},
    "LocalOutlierFactor": {"novelty": True},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.01},
    "RadiusNeighborsClassifier": {"outlier_label": "most_frequent"},
}
"""Where scikit-learn's own default cannot work for a model of one target, new rows and one-hot columns."""

_FALLBACK_INNER: dict[str, str] = {
    "FixedThresholdClassifier": "LogisticRegression",
    "TunedThresholdClassifierCV": "LogisticRegression",
    "OneVsOneClassifier": "LogisticRegression",
    "OneVsRestClassifier": "LogisticRegression",
    "OutputCodeClassifier": "LogisticRegression",
    "SelfTrainingClassifier": "LogisticRegression",
}

DEFAULT_FOR: dict[Task, str] = {
    "classification": "HistGradientBoostingClassifier",
    "regression": "HistGradientBoostingRegressor",
    "anomaly": "IsolationForest",
    "clustering": "KMeans",
}


@dataclass(frozen=True)
class Style:
    """How an estimator wants its matrix.

    Attributes:
        categories: `native` and `codes` one column of numbers per category column, `onehot` one per value,
            `bins` everything as small whole numbers.
        impute: NULLs are replaced by the median, with a flag column beside.
        scaling: `standard` to mean 0 and deviation 1, `scale` to deviation 1 only, `unit` into 0 … 1.
        most: The most values of one category column that are told apart.
        single: The estimator computes in 32 bits whatever it is given, so the matrix is made of them at once.
    """

    categories: Categories = "onehot"
    impute: bool = True
    scaling: Scaling = "standard"
    most: int = 255
    single: bool = False


_SPARSE = names_in(
    "BernoulliNB ComplementNB ElasticNet Lasso LinearRegression LinearSVC LinearSVR MultinomialNB "
    "PassiveAggressiveClassifier PassiveAggressiveRegressor Perceptron SGDClassifier SGDRegressor"
)
_SPARSE_BY_SOLVER = {"LogisticRegression": "lbfgs", "Ridge": "auto", "RidgeClassifier": "auto"}


def fits_sparse(estimator: Any) -> bool:
    """Whether it is faster trained on a sparse matrix, and then answers the same."""
    name = type(estimator).__name__
    return name in _SPARSE or (name in _SPARSE_BY_SOLVER and estimator.solver == _SPARSE_BY_SOLVER[name])


def lookup(name: str) -> str:
    """The class name as scikit-learn spells it.

    Raises:
        UnknownNameError: Nothing has that name.
        StatementError: scikit-learn has it, but it cannot serve as a model.
    """
    if name in ESTIMATORS:
        return name
    folded = {known.casefold(): known for known in (*ESTIMATORS, *_REFUSED)}
    known = folded.get(name.casefold())
    if known is None:
        raise UnknownNameError.of("estimator", name, ESTIMATORS)
    if known in _REFUSED:
        others = [other for other, (kind, _) in ESTIMATORS.items() if kind == "clustering"]
        several = "several targets" in _REFUSED[known]
        hint = "make a model per target" if several else f"these can: {', '.join(others)}"
        raise StatementError(f"{known} {_REFUSED[known]}", hint=hint)
    return known


def is_auto(name: Any) -> bool:
    """Whether `USING estimator = 'auto'` leaves the choice to a search."""
    return isinstance(name, str) and name.casefold() == "auto"


def task_of(name: str) -> Task:
    """What kind of answer an estimator of the list gives."""
    return ESTIMATORS[lookup(name)][0]


def load_class(name: str) -> Any:
    """Import the class of that name from the list."""
    name = lookup(name)
    module = importlib.import_module(ESTIMATORS[name][1])
    if not hasattr(module, name):
        import sklearn

        raise StatementError(f"scikit-learn {sklearn.__version__} has no {name}")
    found = getattr(module, name)
    if name in BOOSTED:
        module.check_installed(found)
    return found


def inner_name(value: Any) -> str:
    """The class name in the value of an option that names an estimator: text, or an object that has it."""
    given = value.get("estimator") if isinstance(value, Mapping) else value
    if isinstance(given, str):
        name = lookup(given)
        if name in BOOSTED:
            raise StatementError(
                f"{name} cannot be a part of another estimator", hint="take HistGradientBoosting… of scikit-learn"
            )
        return name
    raise StatementError(
        "an inner estimator is given by its class name or as an object",
        hint='write \'Ridge\' or {"estimator": "Ridge", "alpha": 2.0}',
    )


def default_inner(name: str) -> str | None:
    """The estimator that a meta-estimator wraps when none is given and scikit-learn has no default."""
    return _FALLBACK_INNER.get(name)


def _trees_only(estimator: Any) -> bool:
    name = type(estimator).__name__
    if name in _TREES:
        return True
    inner = getattr(estimator, "estimator", None)
    if name in _TREE_BY_DEFAULT and inner is None:
        return True
    members = (
        [inner] if inner is not None else [pair[1] for pair in getattr(estimator, "estimators", None) or ()]
    )
    return bool(members) and all(_trees_only(member) for member in members)


def style_of(estimator: Any) -> Style:
    """How this estimator, with these parameters, wants its matrix."""
    from sklearn.utils import get_tags

    name = type(estimator).__name__
    if name in BOOSTED:
        return Style("native", impute=False, scaling="none", most=254)
    tags = get_tags(estimator).input_tags
    if name in _HISTOGRAM:
        return Style("native", impute=False, scaling="none", most=min(254, estimator.max_bins - 1))
    if name == "CategoricalNB":
        return Style("bins", impute=False, scaling="none", most=100)
    if _trees_only(estimator):
        return Style(
            "codes", impute=not tags.allow_nan, scaling="none", most=1000, single=name in _SINGLE
        )
    if tags.positive_only:
        return Style("onehot", impute=True, scaling="unit")
    # A shift is made good by an intercept only.
    intercept = all(value for key, value in estimator.get_params().items() if key.endswith("fit_intercept"))
    return Style("onehot", impute=True, scaling="standard" if intercept else "scale")
