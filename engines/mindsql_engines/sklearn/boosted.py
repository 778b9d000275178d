"""Owns the boosted trees of LightGBM, XGBoost and CatBoost: their parameters, and each library's own format for them.

They look like estimators of scikit-learn to the modules beside this one. Categories are the libraries' own: a column of
codes, NaN where there is none. Nothing is pickled.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mindsql.engine import Option, OptionType
from mindsql.errors import CatalogError, EngineError, EngineMissingError
from mindsql_engines.sklearn import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMMON = (
    Option("class_weight", "any", description="'balanced', or an object: how much each class counts"),
    Option("early_stopping", "boolean", default=False, description="stop when held-out rows get no better"),
    Option(
        "validation_fraction", "float", default=0.1, minimum=0.01, maximum=0.9, description="share of rows to stop by"
    ),
    Option("n_iter_no_change", "integer", default=10, minimum=1, description="rounds without a gain before it stops"),
)
_OURS = frozenset(option.name for option in _COMMON)


def _number(name: str, default: Any, low: float | None, about: str, high: float | None = None) -> Option:
    kind: OptionType = "integer" if isinstance(default, int) else "float"
    return Option(name, kind, default, minimum=low, maximum=high, description=about)


class Boosted:
    """One estimator of another library.

    Attributes:
        classes_: The class codes seen in training, of a classifier.
    """

    package: ClassVar[str]
    classifier: ClassVar[bool]
    rounds: ClassVar[str]
    """The parameter that says how many trees there are."""
    OPTIONS: ClassVar[tuple[Option, ...]]

    def __init__(self, **parameters: Any) -> None:
        self._parameters = {option.name: option.default for option in self.OPTIONS} | {"random_state": None}
        self._parameters |= parameters
        self._categories: list[int] = []
        self._model: Any = None
        self.classes_: NDArray[Any] = np.zeros(0, dtype=np.int64)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """See scikit-learn."""
        return dict(self._parameters)

    def set_params(self, **parameters: Any) -> Boosted:
        """See scikit-learn; `categorical_features` are the columns of codes."""
        self._categories = list(parameters.pop("categorical_features", self._categories))
        self._parameters |= parameters
        return self

    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None) -> Boosted:
        """Train on doubles, and stop by others if they are given."""
        values = np.asarray(y)
        weight = None
        if self.classifier:
            from sklearn.utils.class_weight import compute_sample_weight

            self.classes_, values = np.unique(values, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError("the rows have one class only")
            if self._parameters["class_weight"] is not None:
                weight = compute_sample_weight(self._parameters["class_weight"], np.asarray(y))
        stop = None
        if X_val is not None:
            known = np.isin(y_val, self.classes_) if self.classifier else np.ones(len(y_val), dtype=bool)
            held = np.searchsorted(self.classes_, y_val[known]) if self.classifier else np.asarray(y_val)
            stop = (X_val[known], held)
        given = {
            key: value
            for key, value in self._parameters.items()
            if value is not None and key not in _OURS and key != "random_state"
        }
        self._train(np.ascontiguousarray(X), values, weight, stop, given)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Numbers, or class codes."""
        if not self.classifier:
            return np.asarray(self._raw(X), dtype=np.float64)
        found: NDArray[Any] = self.classes_[np.argmax(self._probabilities(X), axis=1)]
        return found

    def _probabilities(self, X: Any) -> NDArray[Any]:
        found = np.asarray(self._raw(X), dtype=np.float64)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found

    # What each library does in its own way:

    def _train(self, x: Any, y: Any, weight: Any, stop: tuple[Any, Any] | None, given: dict[str, Any]) -> None:
        """Make the trees; `stop` are rows to stop by, `given` the library's own parameters."""
        raise NotImplementedError

    def _raw(self, x: Any) -> Any:
        """Numbers, or probabilities: of the second class where there are two."""
        raise NotImplementedError

    def _to_bytes(self) -> bytes:
        """The trees in the library's format."""
        raise NotImplementedError

    def _from_bytes(self, data: bytes) -> None:
        """The trees of `_to_bytes`."""
        raise NotImplementedError

    def frozen(self) -> dict[str, Any]:
        """What `thawed` makes it of again: plain values and the library's own bytes."""
        return {
            "boosted": type(self).__name__,
            "version": _load(self.package).__version__,
            "parameters": self._parameters,
            "categories": self._categories,
            "classes": [int(code) for code in self.classes_],
            "model": self._to_bytes(),
        }


class _Classifier(Boosted):
    classifier = True

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """See scikit-learn: a column for each of `classes_`."""
        return self._probabilities(X)


def _load(library: str) -> Any:
    """Import a library. Raises EngineMissingError."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise EngineMissingError(
            f"{library} is not installed: {error}", hint=f"pip install 'mindsql-server[boosting]', or {library}"
        ) from error


def _one_if(few: bool, all_of_them: int) -> int:
    """How many threads: these libraries have loops and limits of their own."""
    return 1 if few else all_of_them


# LightGBM ------------------------------------------------------------------------------------------------------------

_LIGHTGBM = (
    Option("boosting_type", default="gbdt", choices=("gbdt", "dart", "rf"), description="how trees are added"),
    _number("n_estimators", 100, 1, "trees, for each class"),
    _number("learning_rate", 0.1, 1e-9, "how much each tree counts"),
    _number("num_leaves", 31, 2, "the most leaves of a tree"),
    _number("max_depth", -1, -1, "the most levels of a tree; -1 for any"),
    _number("min_child_samples", 20, 0, "the fewest rows of a leaf"),
    _number("min_child_weight", 0.001, 0, "the least weight of a leaf"),
    _number("min_split_gain", 0.0, 0, "the least gain of a split"),
    _number("subsample", 1.0, 1e-9, "share of the rows for each tree", 1),
    _number("subsample_freq", 0, 0, "how often the rows are drawn anew; 0 for never"),
    _number("colsample_bytree", 1.0, 1e-9, "share of the columns for each tree", 1),
    _number("reg_alpha", 0.0, 0, "L1 penalty"),
    _number("reg_lambda", 0.0, 0, "L2 penalty"),
    _number("max_bin", 255, 2, "values of a number that are told apart", 65535),
)


class _LightGBM(Boosted):
    package = "lightgbm"
    rounds = "n_estimators"

    def _train(self, x: Any, y: Any, weight: Any, stop: tuple[Any, Any] | None, given: dict[str, Any]) -> None:
        lightgbm = _load(self.package)
        count = int(given.pop(self.rounds))
        settings = {**given, "verbosity": -1, "seed": self._parameters["random_state"], "deterministic": True}
        settings |= {"force_row_wise": True, "num_threads": _one_if(len(x) <= threads.FEW_TO_TRAIN, 0)}
        if self.classifier:
            classes = len(self.classes_)
            settings |= {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
        settings = {key: value for key, value in settings.items() if value is not None}
        categories = self._categories or "auto"

        def rows(of: Any, target: Any, weights: Any = None) -> Any:
            return lightgbm.Dataset(of, target, weight=weights, categorical_feature=categories, free_raw_data=True)

        learn = rows(x, y, weight)
        callbacks, held = [], []
        if stop is not None:
            held = [lightgbm.Dataset(stop[0], stop[1], reference=learn, categorical_feature=categories)]
            callbacks = [lightgbm.early_stopping(self._parameters["n_iter_no_change"], verbose=False)]
        self._model = lightgbm.train(settings, learn, count, valid_sets=held, callbacks=callbacks)

    def _raw(self, x: Any) -> Any:
        return self._model.predict(x, num_threads=_one_if(len(x) <= threads.FEW_TO_PREDICT, 0))

    def _to_bytes(self) -> bytes:
        text: str = self._model.model_to_string()
        return text.encode()

    def _from_bytes(self, data: bytes) -> None:
        self._model = _load(self.package).Booster(model_str=data.decode())


    def dump(self) -> list[dict[str, Any]]:
        """The trees, as LightGBM describes them."""
        trees: list[dict[str, Any]] = self._model.dump_model()["tree_info"]
        return trees


class LGBMClassifier(_LightGBM, _Classifier):
    """Gradient boosting of LightGBM, for classes."""

    OPTIONS = (*_LIGHTGBM, *_COMMON)


class LGBMRegressor(_LightGBM):
    """Gradient boosting of LightGBM, for numbers."""

    classifier = False
    OPTIONS = (
        Option(
            "objective",
            default="regression",
            choices=("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
            description="what is made small",
        ),
        _number("alpha", 0.9, 0, "of the objectives huber and quantile"),
        *_LIGHTGBM,
        *_COMMON[1:],
    )


# XGBoost -------------------------------------------------------------------------------------------------------------

_XGBOOST = (
    _number("n_estimators", 100, 1, "trees, for each class"),
    _number("learning_rate", 0.3, 1e-9, "how much each tree counts"),
    _number("max_depth", 6, 0, "the most levels of a tree; 0 for any"),
    _number("max_leaves", 0, 0, "the most leaves of a tree; 0 for any"),
    Option("grow_policy", default="depthwise", choices=("depthwise", "lossguide"), description="where trees grow"),
    _number("min_child_weight", 1.0, 0, "the least weight of a leaf"),
    _number("gamma", 0.0, 0, "the least gain of a split"),
    _number("subsample", 1.0, 1e-9, "share of the rows for each tree", 1),
    _number("colsample_bytree", 1.0, 1e-9, "share of the columns for each tree", 1),
    _number("colsample_bylevel", 1.0, 1e-9, "share of the columns for each level", 1),
    _number("reg_alpha", 0.0, 0, "L1 penalty"),
    _number("reg_lambda", 1.0, 0, "L2 penalty"),
    _number("max_bin", 256, 2, "values of a number that are told apart"),
)


class _XGBoost(Boosted):
    package = "xgboost"
    rounds = "n_estimators"

    def _train(self, x: Any, y: Any, weight: Any, stop: tuple[Any, Any] | None, given: dict[str, Any]) -> None:
        xgboost = _load(self.package)
        count = int(given.pop(self.rounds))
        settings = {**given, "verbosity": 0, "seed": self._parameters["random_state"] or 0, "tree_method": "hist"}
        settings["nthread"] = _one_if(len(x) <= threads.FEW_TO_TRAIN, 0)
        if self.classifier:
            several = len(self.classes_) > 2
            settings |= {"objective": "multi:softprob", "num_class": len(self.classes_)} if several else {
                "objective": "binary:logistic"
            }
        learn = self._matrix(x, y, weight)
        early: dict[str, Any] = {}
        if stop is not None:
            held = [(self._matrix(*stop), "held_out")]
            patience = self._parameters["n_iter_no_change"]
            early = {"evals": held, "early_stopping_rounds": patience, "verbose_eval": False}
        model = xgboost.train(settings, learn, count, **early)
        self._model = model[: model.best_iteration + 1] if stop is not None else model

    def _matrix(self, x: Any, y: Any = None, weight: Any = None) -> Any:
        width = np.shape(x)[1]
        kinds = ["c" if at in set(self._categories) else "q" for at in range(width)]
        return _load(self.package).DMatrix(x, y, weight=weight, feature_types=kinds, enable_categorical=True)

    def _raw(self, x: Any) -> Any:
        self._model.set_param({"nthread": _one_if(len(x) <= threads.FEW_TO_PREDICT, 0)})
        return self._model.predict(self._matrix(np.ascontiguousarray(x)))

    def _to_bytes(self) -> bytes:
        return bytes(self._model.save_raw("ubj"))

    def _from_bytes(self, data: bytes) -> None:
        self._model = _load(self.package).Booster(model_file=bytearray(data))


class XGBClassifier(_XGBoost, _Classifier):
    """Gradient boosting of XGBoost, for classes."""

    OPTIONS = (*_XGBOOST, *_COMMON)


class XGBRegressor(_XGBoost):
    """Gradient boosting of XGBoost, for numbers."""

    classifier = False
    OPTIONS = (
        Option(
            "objective",
            default="reg:squarederror",
            choices=(
                "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:gamma", "reg:tweedie",
                "count:poisson",
            ),
            description="what is made small",
        ),
        *_XGBOOST,
        *_COMMON[1:],
    )  # fmt: skip


# CatBoost ------------------------------------------------------------------------------------------------------------

_CATBOOST = (
    _number("iterations", 1000, 1, "trees"),
    Option("learning_rate", "float", minimum=1e-9, description="how much each tree counts; by the rows when not given"),
    _number("depth", 6, 1, "levels of a tree", 16),
    _number("l2_leaf_reg", 3.0, 0, "L2 penalty"),
    _number("border_count", 254, 1, "values of a number that are told apart", 65535),
    _number("random_strength", 1.0, 0, "how much chance there is in the choice of splits"),
    _number("rsm", 1.0, 1e-9, "share of the columns for each split", 1),
    Option("subsample", "float", minimum=1e-9, maximum=1, description="share of the rows for each tree"),
    Option("min_data_in_leaf", "integer", minimum=1, description="the fewest rows of a leaf, of growing by leaf"),
    Option(
        "grow_policy",
        default="SymmetricTree",
        choices=("SymmetricTree", "Depthwise", "Lossguide"),
        description="where trees grow",
    ),
    _number("one_hot_max_size", 2, 2, "categories of a column that are told apart one by one"),
)


class _CatBoost(Boosted):
    package = "catboost"
    rounds = "iterations"

    def _train(self, x: Any, y: Any, weight: Any, stop: tuple[Any, Any] | None, given: dict[str, Any]) -> None:
        catboost = _load(self.package)
        settings = {**given, "verbose": False, "allow_writing_files": False}
        settings["thread_count"] = _one_if(len(x) <= threads.FEW_TO_TRAIN, -1)
        settings["random_seed"] = self._parameters["random_state"] or 0
        settings["use_best_model"] = stop is not None
        if stop is not None:
            settings["early_stopping_rounds"] = self._parameters["n_iter_no_change"]
        if self.classifier:
            settings["loss_function"] = "MultiClass" if len(self.classes_) > 2 else "Logloss"
        self._model = catboost.CatBoost({"loss_function": "RMSE", **settings})
        try:
            self._model.fit(self._pool(x, y, weight), eval_set=None if stop is None else self._pool(*stop))
        except catboost.CatBoostError as error:
            raise ValueError(str(error)) from error

    def _pool(self, x: Any, y: Any = None, weight: Any = None) -> Any:
        """Rows as CatBoost wants them: codes as whole numbers, -1 where there is none."""
        import pandas as pd

        table = {}
        for at in range(np.shape(x)[1]):
            column = np.asarray(x)[:, at]
            is_category = at in set(self._categories)
            table[at] = np.where(np.isnan(column), -1, column).astype(np.int64) if is_category else column
        return _load(self.package).Pool(pd.DataFrame(table), y, cat_features=self._categories, weight=weight)

    def _raw(self, x: Any) -> Any:
        kind = "Probability" if self.classifier else "Exponent" if self._exponent else "RawFormulaVal"
        count = _one_if(len(x) <= threads.FEW_TO_PREDICT, -1)
        return self._model.predict(self._pool(x), prediction_type=kind, thread_count=count)

    @property
    def _exponent(self) -> bool:
        return str(self._parameters.get("loss_function", "")).startswith(("Poisson", "Tweedie"))

    def _to_bytes(self) -> bytes:
        with tempfile.TemporaryDirectory(prefix="mindsql-") as folder:
            path = Path(folder, "model.cbm")
            self._model.save_model(str(path), format="cbm")
            return path.read_bytes()

    def _from_bytes(self, data: bytes) -> None:
        self._model = _load(self.package).CatBoost()
        self._model.load_model(blob=data)


class CatBoostClassifier(_CatBoost, _Classifier):
    """Gradient boosting of CatBoost, for classes."""

    OPTIONS = (*_CATBOOST, *_COMMON)


class CatBoostRegressor(_CatBoost):
    """Gradient boosting of CatBoost, for numbers."""

    classifier = False
    OPTIONS = (
        Option(
            "loss_function",
            default="RMSE",
            choices=("RMSE", "MAE", "MAPE", "Poisson", "Quantile"),
            description="what is made small",
        ),
        *_CATBOOST,
        *_COMMON[1:],
    )


CLASSES: dict[str, type[Boosted]] = {
    cls.__name__: cls
    for cls in (
        LGBMClassifier, LGBMRegressor, XGBClassifier, XGBRegressor, CatBoostClassifier, CatBoostRegressor,
    )
}  # fmt: skip


def check_installed(cls: type[Boosted]) -> None:
    """Raise EngineMissingError unless its library is there."""
    _load(cls.package)


def stored(estimator: Any) -> Any:
    """An estimator as it is stored: itself, or what `restored` makes it of."""
    return estimator.frozen() if isinstance(estimator, Boosted) else estimator


def restored(content: Any) -> Any:
    """The estimator of `stored`. Raises CatalogError, EngineError."""
    if not (isinstance(content, Mapping) and "boosted" in content):
        return content
    cls = CLASSES.get(content["boosted"])
    if cls is None:
        raise CatalogError(f"the stored model is a {content['boosted']}, which is not known", hint="RETRAIN the model")
    made = cls(**content["parameters"])
    made.set_params(categorical_features=content["categories"])
    made.classes_ = np.array(content["classes"], dtype=np.int64)
    here = _load(cls.package).__version__
    try:
        made._from_bytes(content["model"])
    except Exception as error:  # each library has errors of its own
        raise EngineError(
            f"the model was trained with {cls.package} {content['version']}, and does not load in {here}",
            hint=f"RETRAIN the model, or pip install {cls.package}=={content['version']}",
        ) from error
    return made
