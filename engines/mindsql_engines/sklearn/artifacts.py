"""Owns how fitted estimators are stored and loaded: skops under a fixed list of types, checked by digest.

skops never runs code from a file: it builds objects of known types only. scikit-learn's compiled types (a
tree's nodes) it leaves for us to allow; a forged tree could still crash the process, so the digest guards the
bytes. Pickles, which do run code, load only when the caller says that the connection's owner trusts them.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from mindsql.engine import suppress_warnings
from mindsql.errors import CatalogError, EngineError, MindSQLError, StatementError

ALLOWED = (
    "functools.partial",
    "numpy.dtype",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.ExponentialLoss",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn._loss.loss.HuberLoss",
    "sklearn._loss.loss.PinballLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.feature_selection._univariate_selection.r_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.metrics._classification.accuracy_score",
    "sklearn.metrics._classification.balanced_accuracy_score",
    "sklearn.metrics._classification.brier_score_loss",
    "sklearn.metrics._classification.f1_score",
    "sklearn.metrics._classification.jaccard_score",
    "sklearn.metrics._classification.log_loss",
    "sklearn.metrics._classification.matthews_corrcoef",
    "sklearn.metrics._classification.precision_score",
    "sklearn.metrics._classification.recall_score",
    "sklearn.metrics._dist_metrics.BrayCurtisDistance64",
    "sklearn.metrics._dist_metrics.CanberraDistance64",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.DiceDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.HammingDistance64",
    "sklearn.metrics._dist_metrics.JaccardDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.metrics._dist_metrics.RogersTanimotoDistance64",
    "sklearn.metrics._dist_metrics.RussellRaoDistance64",
    "sklearn.metrics._dist_metrics.SEuclideanDistance64",
    "sklearn.metrics._dist_metrics.SokalMichenerDistance64",
    "sklearn.metrics._dist_metrics.SokalSneathDistance64",
    "sklearn.metrics._ranking.average_precision_score",
    "sklearn.metrics._ranking.roc_auc_score",
    "sklearn.metrics._regression.explained_variance_score",
    "sklearn.metrics._regression.max_error",
    "sklearn.metrics._regression.mean_absolute_error",
    "sklearn.metrics._regression.mean_absolute_percentage_error",
    "sklearn.metrics._regression.mean_squared_error",
    "sklearn.metrics._regression.mean_squared_log_error",
    "sklearn.metrics._regression.median_absolute_error",
    "sklearn.metrics._regression.r2_score",
    "sklearn.metrics._regression.root_mean_squared_error",
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._split.GroupKFold",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.RepeatedKFold",
    "sklearn.model_selection._split.RepeatedStratifiedKFold",
    "sklearn.model_selection._split.ShuffleSplit",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.model_selection._split.StratifiedShuffleSplit",
    "sklearn.model_selection._split.TimeSeriesSplit",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.utils.validation.check_array",
)
"""What a stored model may hold beside the types that skops itself trusts."""


def dumps(content: dict[str, Any], what: str) -> bytes:
    """The bytes of fitted objects.

    Raises:
        EngineError: One of them holds a type that is not allowed; `what` names it for the user.
    """
    import skops.io

    try:
        data: bytes = skops.io.dumps(content, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        unknown = _unknown(data)
    except MindSQLError:
        raise
    except Exception as error:  # skops raises what the object's own parts raise
        raise EngineError(f"{what} cannot be stored: {_first_line(error)}") from error
    if unknown:
        raise EngineError(
            f"{what} cannot be stored: it holds {unknown[0]}, which is not on the list of safe types",
            hint="choose other parameters, or another estimator",
        )
    return data


def digest(data: bytes) -> str:
    """The SHA-256 of stored bytes."""
    return hashlib.sha256(data).hexdigest()


def loads(data: bytes, wanted: str, trained_with: str) -> dict[str, Any]:
    """What `dumps` made.

    Args:
        data: The stored bytes.
        wanted: Their digest.
        trained_with: The version of scikit-learn they were made with, for the error message.
    """
    import sklearn
    import skops.io

    here = sklearn.__version__
    if digest(data) != wanted:
        raise CatalogError("the stored model is damaged: its digest does not fit", hint="RETRAIN the model")
    try:
        unknown = _unknown(data)
        if not unknown:
            with suppress_warnings():  # other versions are tried, and told of when they fail
                found: dict[str, Any] = skops.io.loads(data, trusted=list(ALLOWED))
            return found
    except MindSQLError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in skops
        if trained_with != here:
            raise EngineError(
                f"the model was trained with scikit-learn {trained_with}, and does not load in {here}",
                hint=f"RETRAIN the model, or pip install scikit-learn=={trained_with}",
            ) from error
        raise CatalogError(
            f"the stored model is damaged: {_first_line(error)}", hint="RETRAIN the model"
        ) from error
    raise CatalogError(
        f"the stored model holds the type {unknown[0]}, which is not allowed", hint="RETRAIN the model"
    )


def _unknown(data: bytes) -> list[str]:
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(ALLOWED))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def read_file(path: str) -> bytes:
    """The bytes of a file. Raises StatementError."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise StatementError(f'cannot read the model file "{path}": {error.strerror or error}') from error


def read(data: bytes, path: str, trusted: bool) -> Any:
    """A ready-made estimator from a skops file, or from a joblib or pickle file when trusted. Raises
    StatementError, which calls the file by its path."""
    if data[:2] == b"PK":  # a zip archive, which every skops file is
        return _read_skops(data, path, trusted)
    if not trusted:
        raise StatementError(
            f'"{path}" is not a skops file; loading a pickle or joblib file can run any code that is in it',
            hint="if you made the file yourself, add trusted = true; better, save it with skops.io.dump",
        )
    try:
        import joblib

        return joblib.load(io.BytesIO(data))
    except MindSQLError:
        raise
    except Exception as error:  # unpickling runs whatever the file holds
        raise StatementError(f'cannot load "{path}": {_first_line(error)}') from error


def _read_skops(data: bytes, path: str, trusted: bool) -> Any:
    import skops.io

    try:
        unknown = _unknown(data)
        if unknown and not trusted:
            raise StatementError(
                f'"{path}" holds the type {unknown[0]}, which is not on the list of safe types',
                hint="if you made the file yourself, add trusted = true",
            )
        return skops.io.loads(data, trusted=[*ALLOWED, *unknown])
    except MindSQLError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in skops
        raise StatementError(f'cannot load "{path}": {_first_line(error)}') from error


def pickled(content: Any) -> bytes:
    """The bytes of an object that skops cannot hold."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(content, buffer, compress=3)
    return buffer.getvalue()


def unpickled(data: bytes, wanted: str, trusted: bool) -> Any:
    """What `pickled` made; only for a caller that trusts it."""
    import joblib

    if not trusted:
        raise StatementError(
            "the model is stored as a pickle, which can run any code that is in it",
            hint="if you made the model yourself, add USING trusted = true to the query",
        )
    if digest(data) != wanted:
        raise CatalogError(
            "the stored model is damaged: its digest does not fit", hint="register the file again"
        )
    return joblib.load(io.BytesIO(data))
