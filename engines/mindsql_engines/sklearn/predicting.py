"""Owns predictions, from Arrow to Arrow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mindsql.engine import Task, suppress_warnings
from mindsql.errors import DataError, EngineError, MindSQLError
from mindsql.schema import Schema, family
from mindsql_engines.sklearn import columns, scoring, threads
from mindsql_engines.sklearn.encoding import Encoder

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Codes, Numbers

MATRIX_BYTES = 64 << 20
"""Larger batches are answered in pieces, so that memory does not grow with the batch."""
_TIE = 1e-9
_MAY_WARN = frozenset({"RadiusNeighborsRegressor", "RadiusNeighborsClassifier", "AffinityPropagation"})


class SklearnPredictor:
    """Answers batches with one loaded model. Nothing in it changes, so threads may share it.

    Args:
        meta: What training stored beside the estimator.
        estimator: The fitted estimator.
        encoder: Makes the matrix; None for a ready-made pipeline, which takes a data frame.
    """

    def __init__(self, meta: Mapping[str, Any], estimator: Any, encoder: Encoder | None) -> None:
        import sklearn

        self._context = sklearn.config_context
        self._estimator = estimator
        self._encoder = encoder
        self._task: str = meta["task"]
        self._target: str = meta["target"]
        self._type: str = meta["answer_type"]
        self._inputs = [name for name, _ in meta["inputs"]]
        self._types = dict(meta["inputs"])
        self._outputs = [name for name, _ in [*meta["outputs"], *meta.get("extra", ())]]
        self._classes: list[Any] = meta["classes"]
        self._level: float = meta["level"]
        self._half: float | None = meta["interval"]
        self._scores = np.array(meta.get("scores") or [], dtype=np.float64)
        self._proba = f"{self._target}_confidence" in self._outputs and self._task in (
            "classification",
            "clustering",
        )
        self._own_labels = bool(meta.get("own_labels"))
        self._warns = type(estimator).__name__ in _MAY_WARN
        self._arrow_type = columns.arrow_type(self._type)
        if self._classes:
            self._labels = columns.label_array(self._classes, self._type)
            self._json = pa.array([_json_label(label, self._type) for label in self._classes], pa.string())
        width = encoder.width if encoder is not None else 4 * len(self._inputs)
        self._most = max(4096, MATRIX_BYTES // (8 * max(1, width)))
        plain = self._task == "classification" and not self._proba
        self._code_of_class = (
            {label: code for code, label in enumerate(np.asarray(estimator.classes_).tolist())}
            if encoder is None and self._task == "classification" and (plain or self._proba)
            else None
        )

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> dict[str, pa.Array]:
        """See `mindsql.engine.Predictor`."""
        rows = batch.num_rows
        wanted = [name for name in columns if name in self._outputs]
        if len(wanted) != len(columns):
            missing = next(name for name in columns if name not in self._outputs)
            raise EngineError(f'the model does not answer "{missing}"')
        arrays = self._arrays(batch)
        if rows <= self._most:
            return self._piece(arrays, rows, wanted)
        pieces = [
            self._piece(
                {k: a.slice(at, self._most) for k, a in arrays.items()}, min(self._most, rows - at), wanted
            )
            for at in range(0, rows, self._most)
        ]
        return {name: pa.concat_arrays([piece[name] for piece in pieces]) for name in wanted}

    def _arrays(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        names = batch.schema.names
        if names == self._inputs:
            return dict(zip(names, batch.columns, strict=True))
        at = {name.casefold(): place for place, name in enumerate(names)}
        missing = [name for name in self._inputs if name.casefold() not in at]
        if missing:
            raise DataError(f'the input column "{missing[0]}" is missing')
        return {name: batch.column(at[name.casefold()]) for name in self._inputs}

    def _piece(self, arrays: dict[str, pa.Array], rows: int, wanted: list[str]) -> dict[str, pa.Array]:
        if not rows:
            return {
                name: pa.array(
                    [], self._arrow_type if name == self._target else _extra_type(name, self._target)
                )
                for name in wanted
            }
        extras = len(wanted) > (self._target in wanted)
        try:
            few = threads.few(rows, threads.FEW_TO_PREDICT)
            # Extreme inputs may give infinite answers, which are NULL.
            infinite = np.errstate(over="ignore", invalid="ignore")
            with few, infinite, self._context(assume_finite=self._encoder is not None):
                if not self._warns:
                    return self._answer(self._matrix(arrays, rows), wanted, extras)
                with suppress_warnings():
                    return self._answer(self._matrix(arrays, rows), wanted, extras)
        except MindSQLError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            name, text = type(self._estimator).__name__, str(error).strip().splitlines()[0]
            absent = [f'"{key}"' for key, array in arrays.items() if array.null_count]
            if absent and "NaN" in text:
                raise DataError(
                    f"{name} could not predict where {', '.join(absent)} is NULL: {text}",
                    hint="give it a value: coalesce(…), or put an imputer into the pipeline",
                ) from error
            raise EngineError(f"{name} could not predict: {text}") from error

    def _matrix(self, arrays: dict[str, pa.Array], rows: int) -> Any:
        if self._encoder is not None:
            return self._encoder.matrix(arrays, rows)
        import pandas as pd

        frame = pd.DataFrame({name: _pandas(array, self._types[name]) for name, array in arrays.items()})
        # One that was fitted on a nameless matrix warns of names.
        return frame if hasattr(self._estimator, "feature_names_in_") else frame.to_numpy()

    def _answer(self, matrix: Any, wanted: list[str], extras: bool) -> dict[str, pa.Array]:
        if self._task in ("classification", "clustering") and self._classes:
            return self._classify(matrix, wanted, extras)
        if self._task == "anomaly":
            return self._detect(matrix, wanted, extras)
        if self._task == "clustering":
            labels = np.asarray(self._estimator.predict(matrix)).astype(np.int32)
            return {self._target: pa.array(labels)}
        predicted = np.asarray(self._estimator.predict(matrix), dtype=np.float64).reshape(-1)
        return self._regress(predicted, wanted)

    def _codes(self, matrix: Any) -> Codes:
        predicted = np.asarray(self._estimator.predict(matrix))
        if self._code_of_class is not None:
            return np.array([self._code_of_class[label] for label in predicted.tolist()], dtype=np.int64)
        return predicted.astype(np.int64)

    def _classify(self, matrix: Any, wanted: list[str], extras: bool) -> dict[str, pa.Array]:
        if not extras:
            return {self._target: self._labels.take(pa.array(self._codes(matrix)))}
        if self._code_of_class is not None or self._task == "clustering":
            proba: Numbers = np.asarray(self._estimator.predict_proba(matrix), dtype=np.float64)
        else:
            found = scoring.probabilities(self._estimator, matrix, len(self._classes))
            assert found is not None
            proba = found
        if self._own_labels:
            codes = self._codes(matrix)
        else:
            codes = np.argmax(proba, axis=1)
            self._settle_ties(matrix, proba, codes)
        sure = proba[np.arange(len(codes)), codes]
        place = pa.array(codes)
        made: dict[str, pa.Array] = {}
        for name in wanted:
            if name == self._target:
                made[name] = self._labels.take(place)
            elif name.endswith("_confidence"):
                made[name] = pa.array(sure)
            elif name == f"{self._target}_probabilities":
                made[name] = self._probabilities(proba)
            else:
                made[name] = self._explain_class(self._json.take(place), sure, proba)
        return made

    def _settle_ties(self, matrix: Any, proba: Numbers, codes: Codes) -> None:
        """Where two classes are equally likely the estimator's own answer decides, so it never varies."""
        if proba.shape[1] < 2:
            return
        top = proba.max(axis=1)
        tied = np.nonzero((proba >= (top - _TIE)[:, None]).sum(axis=1) > 1)[0]
        if len(tied):
            rows = matrix[tied] if self._encoder is not None else matrix.iloc[tied]
            codes[tied] = self._codes(rows)

    def _explain_class(self, predicted: pa.Array, sure: Numbers, proba: Numbers) -> pa.Array:
        bits: list[Any] = ['{"predicted_value": ', predicted, ', "confidence": ', _json_numbers(sure)]
        bits.append(', "probabilities": {')
        for code, label in enumerate(self._classes):
            key = json.dumps(columns.label_text(label), ensure_ascii=False)
            bits += [f"{', ' if code else ''}{key}: ", _json_numbers(proba[:, code])]
        return _join([*bits, "}}"])

    def _probabilities(self, proba: Numbers) -> pa.Array:
        """The classes' probabilities as maps."""
        rows, classes = proba.shape
        keys = pa.array([columns.label_text(label) for label in self._classes])
        places = pa.array(np.tile(np.arange(classes), rows))
        ends = pa.array(np.arange(rows + 1, dtype=np.int32) * classes)
        return pa.MapArray.from_arrays(ends, keys.take(places), pa.array(proba.reshape(-1)))

    def _regress(self, predicted: Numbers, wanted: list[str]) -> dict[str, pa.Array]:
        known = np.isfinite(predicted)
        mask = None if known.all() else ~known
        half = self._half or 0.0
        made: dict[str, pa.Array] = {}
        for name in wanted:
            if name == self._target:
                made[name] = pa.array(
                    predicted.astype(self._arrow_type.to_pandas_dtype(), copy=False), mask=mask
                )
            elif name.endswith("_confidence"):
                made[name] = pa.array(np.full(len(predicted), self._level), mask=mask)
            elif name in (f"{self._target}_lower", f"{self._target}_upper"):
                side = -half if name.endswith("_lower") else half
                made[name] = pa.array(predicted + side, mask=mask)
            else:
                bits = [
                    '{"predicted_value": ',
                    _json_numbers(predicted),
                    f', "confidence": {self._level!r}',
                    ', "confidence_lower_bound": ',
                    _json_numbers(predicted - half),
                    ', "confidence_upper_bound": ',
                    _json_numbers(predicted + half),
                    "}",
                ]
                made[name] = _join(bits)
        return made

    def _detect(self, matrix: Any, wanted: list[str], extras: bool) -> dict[str, pa.Array]:
        made: dict[str, pa.Array] = {}
        found = (
            np.asarray(self._estimator.predict(matrix)) == -1 if self._target in wanted or extras else None
        )
        if extras:
            score = -np.asarray(self._estimator.score_samples(matrix), dtype=np.float64)
            rank = np.searchsorted(self._scores, score, side="left") / max(1, len(self._scores))
        for name in wanted:
            if name == self._target:
                made[name] = pa.array(found)
            elif name.endswith("_confidence"):
                made[name] = pa.array(rank)
            else:
                truth = pa.array(["false", "true"]).take(pa.array(np.asarray(found).astype(np.int8)))
                bits = ['{"predicted_value": ', truth, ', "confidence": ', _json_numbers(rank)]
                made[name] = _join([*bits, ', "anomaly_score": ', _json_numbers(score), "}"])
        return made


def _extra_type(name: str, target: str) -> Any:
    if name == f"{target}_probabilities":
        return pa.map_(pa.string(), pa.float64())
    return pa.string() if name == f"{target}_explain" else pa.float64()


def _json_label(label: Any, duckdb_type: str) -> str:
    if isinstance(label, str) and pa.types.is_decimal(columns.arrow_type(duckdb_type)):
        return label
    return json.dumps(label, ensure_ascii=False)


def _json_numbers(values: Numbers) -> pa.Array:
    """Numbers as JSON writes them: the shortest text that reads back the same, null for what is no number."""
    known = np.isfinite(values)
    return pc.cast(pa.array(values, mask=None if known.all() else ~known), pa.string()).fill_null("null")


def _join(bits: list[Any]) -> pa.Array:
    return pc.binary_join_element_wise(*bits, "")


def _pandas(array: pa.Array, duckdb_type: str) -> Any:
    """An input of a ready-made pipeline, as pandas would have read it from a file."""
    if family(duckdb_type) in ("number", "boolean"):
        return columns.numbers(array)
    if family(duckdb_type) == "text":
        found = columns.texts(array)
        if pa.types.is_dictionary(found.type):
            found = found.dictionary_decode()
        values = found.to_numpy(zero_copy_only=False)
        if array.null_count:
            values = np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, values)
        return values
    return array.to_pandas()


def extra_of(target: str, task: Task, extras: bool) -> Schema:
    """The columns a model answers when a query names them."""
    if not extras:
        return Schema()
    if task == "classification":
        return Schema.of([(f"{target}_probabilities", "MAP(VARCHAR, DOUBLE)")])
    return Schema.of([(f"{target}_lower", "DOUBLE"), (f"{target}_upper", "DOUBLE")] if task == "regression" else [])


def outputs_of(target: str, answer_type: str, extras: bool) -> Schema:
    """The columns a model answers."""
    pairs = [(target, answer_type)]
    if extras:
        pairs += [(f"{target}_confidence", "DOUBLE"), (f"{target}_explain", "JSON")]
    return Schema.of(pairs)
