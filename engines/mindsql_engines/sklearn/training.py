"""Owns training: rows and options in, a fitted estimator and what is known of it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mindsql.engine import Task, capture_warnings, suppress_warnings
from mindsql.errors import DataError, EngineError, MindSQLError, StatementError, UnknownNameError
from mindsql.frames import TrainingRows, give_back
from mindsql.schema import Schema, family
from mindsql_engines.sklearn import (
    choosing,
    columns,
    estimators,
    features,
    leaks,
    parameters,
    scoring,
    searching,
    stopping,
    targets,
    threads,
)
from mindsql_engines.sklearn.encoding import Encoder
from mindsql_engines.sklearn.features import Feature
from mindsql_engines.sklearn.scoring import Scores
from mindsql_engines.sklearn.targets import Target

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Codes, Numbers

BASE_OPTIONS = estimators.names_in(
    "estimator task path trusted test_size random_state confidence features exclude engine tag "
    "time_limit trials tune"
)
Progress = Callable[[float, float, str], None]
_STEPS = 5
_LARGE_BYTES = 32 << 20
"""Larger matrices of one-hot columns are sparse."""
_LOOKED_AT = 2000
"""The most rows that a fitted estimator is tried on."""


@dataclass
class Trained:
    """What training made."""

    estimator: Any
    name: str
    encoder: Encoder
    target: Target
    features: list[Feature]
    scores: Scores
    rows: int
    left_out: int
    notes: list[str] = field(default_factory=list)
    own_labels: bool = False
    proba: bool = False
    ranks: list[float] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    leaderboard: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainingRun:
    """A training to be done: names and options, checked."""

    target: str
    task: Task | None
    estimator: str | None
    given: dict[str, Any]
    test_size: float
    seed: int | None
    level: float
    wanted: list[str] | None
    unwanted: list[str] = field(default_factory=list)
    search: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, target: str, using: Mapping[str, Any], anomaly: bool) -> TrainingRun:
        """From the options of a statement."""
        estimator = using.get("estimator")
        if estimator is not None and not isinstance(estimator, str):
            raise StatementError("estimator takes the name of a scikit-learn class")
        search = using if searching.asked(using) else None
        estimator = None if estimators.is_auto(estimator) else estimator
        task = targets.check_task(using.get("task"), estimator, anomaly)
        given = {key: value for key, value in using.items() if key not in BASE_OPTIONS}
        size, level = using.get("test_size"), using.get("confidence")
        size, level = 0.2 if size is None else float(size), 0.9 if level is None else float(level)
        if not 0 <= size < 1:
            raise StatementError(f"test_size is {size}, but must be from 0 up to, not including, 1")
        if not 0 < level < 1:
            raise StatementError(f"confidence is {level}, but must be between 0 and 1")
        seed = using.get("random_state", 0)
        lists: dict[str, Any] = {}
        for option in ("features", "exclude"):
            names = lists[option] = using.get(option)
            if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
                raise StatementError(f"{option} takes an array of column names")
        return cls(target, task, estimator, given, size, seed, level, lists["features"], lists["exclude"] or [],
                   search)  # fmt: skip


def train(job: TrainingRun, data: TrainingRows, schema: Schema, progress: Progress) -> Trained:
    """Train on the rows, score on rows held out, then fit on all.

    The columns are taken out of `data`, and dropped once the matrix of all rows is made of them.
    """
    progress(0, _STEPS, "reading columns")
    if not data.count:
        raise DataError("the training query gave no rows")
    types = dict(schema.pairs())
    target = _target(job, data, types)
    rows = int(target.kept.sum())
    name = estimators.lookup(job.estimator or estimators.DEFAULT_FOR[target.task])
    estimator = _built(name, job.given, job, target)
    arrays = columns.Inputs(_columns(job, data, types, target), types, rows)
    found = features.choose(arrays, types, job.wanted, _named(job.unwanted, arrays, "exclude"))
    used = [feature for feature in found if feature.used]
    notes = [target.why] if target.why else []
    notes += target.notes
    notes += [f"left out: {feature.name} ({feature.reason})" for feature in found if not feature.used]
    notes += [f"{feature.name}: {feature.reason}" for feature in used if feature.reason]
    if not used:
        reasons = "; ".join(f"{f.name}: {f.reason}" for f in found) or "there is no other column"
        raise DataError(f"no column is left to predict from ({reasons})")
    missing = data.count - rows
    if missing:
        notes.append(f"left out: {missing} row{'s' if missing > 1 else ''} without a target")
    for feature in found:
        if not feature.used:
            del arrays[feature.name]
        elif feature.role == "text":
            arrays[feature.name] = _plain(arrays[feature.name])
    notes += leaks.copies(used, arrays, target)
    held = _held_out(job, target, rows, notes)

    def fit(estimator: Any, kept: Codes | None) -> tuple[Any, Encoder, Numbers]:
        from sklearn.base import clone

        part = arrays if kept is None else columns.Picked(arrays, kept)
        count = rows if kept is None else len(kept)
        values = target.values if kept is None or target.values is None else target.values[kept]
        codes = values if target.task == "classification" else None
        if target.task in ("anomaly", "clustering"):
            values = None
        encoder = Encoder.fit(used, part, count, estimators.style_of(estimator), job.seed)
        fitted = clone(estimator)
        adapt(fitted, encoder, codes, notes)
        sides = _sides(fitted, encoder, part, values, count, stopping.split(fitted, count, codes))
        if kept is None:
            arrays.clear()  # the matrix is enough from here on
            give_back()
        _fit(fitted, *sides)
        return fitted, encoder, sides[0][0]

    def compare(estimator: Any, train: Codes, test: Codes) -> tuple[Any, Numbers]:
        fitted, encoder, _ = fit(estimator, train)
        return fitted, encoder.matrix(columns.Picked(arrays, test), len(test))

    given = job.given
    search = None
    if job.search is not None:
        with collected([]):
            search = searching.search_of(target.task, job.search, job.estimator, given, job.seed)
    with collected(notes), threads.few(rows, threads.FEW_TO_TRAIN):
        compares = target.task in ("classification", "regression") and rows <= choosing.FEW_ROWS
        seen = held[0] if held is not None else np.arange(rows)
        if search is not None:
            assert target.values is not None
            classes = len(target.classes) if target.task == "classification" else 0
            with collected([]):
                best = search.run(
                    target.values, classes, seen, compare, partial(_built, job=job, target=target), progress
                )
            name, given = best.estimator, best.parameters
            notes.insert(bool(target.why), search.why(best))
            estimator = _built(name, given, job, target)
        elif compares and job.estimator is None and not given and target.values is not None:
            progress(0, _STEPS, "choosing an estimator")
            with collected([]):
                name, given, why = choosing.choose(
                    target.task, target.values, len(target.classes), seen, job.seed, compare
                )
            notes.insert(bool(target.why), why)
            estimator = _built(name, given, job, target)
        scores = _hold_out(job, target, arrays, held, lambda kept: fit(estimator, kept), progress, notes)
        progress(4, _STEPS, "training on all rows")
        fitted, encoder, matrix = fit(estimator, None)
        notes += encoder.notes()
        made = Trained(fitted, name, encoder, target, found, scores, rows, missing, notes)
        with threads.few(_LOOKED_AT, threads.FEW_TO_PREDICT):
            _look_at(made, matrix, job.seed)
    made.chosen = parameters.chosen(name, given)
    made.leaderboard = search.leaderboard() if search is not None else []
    progress(_STEPS, _STEPS, "storing")
    return made


def _built(name: str, given: Mapping[str, Any], job: TrainingRun, target: Target) -> Any:
    with collected([]):
        estimator = parameters.build(name, given, job.seed)
    if target.task == "classification":
        parameters.use_labels(estimator, [columns.label_text(label) for label in target.classes])
    return estimator


def _held_out(job: TrainingRun, target: Target, rows: int, notes: list[str]) -> tuple[Codes, Codes] | None:
    """The rows to train on for the scores and those to score on; None, and a note, when there are none."""
    if target.task == "clustering":
        return None
    codes = target.values if target.task == "classification" else None
    held = scoring.split(rows, job.test_size, job.seed, codes) if job.test_size else None
    if held is None:
        why = "test_size is 0" if not job.test_size else f"{rows} rows are too few to hold some out"
        notes.append(f"no scores: {why}")
    return held


def _plain(array: pa.Array) -> pa.Array:
    """A column of free text without its dictionary, from which an encoder would learn the texts of other rows."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _target(job: TrainingRun, data: TrainingRows, types: Mapping[str, str]) -> Target:
    everything = np.ones(data.count, dtype=bool)
    task = job.task
    column = next((c for c in data.names if c.casefold() == job.target.casefold()), None)
    name = job.estimator
    if task in ("anomaly", "clustering"):
        answer = "BOOLEAN" if task == "anomaly" else "INTEGER"
        target = Target(task, everything, answer_type=answer)
        if task == "anomaly" and column is not None:
            target.values = _known_anomalies(data.take(column), types[column])
        return target
    if column is None:
        raise UnknownNameError.of("target column", job.target, data.names)
    kind = types[column]
    by = f"estimator = '{name}'" if name else "task = 'regression'"
    array = data.take(column)
    task, why = targets.find_task(job.target, array, kind, task, by)
    return targets.prepare(job.target, array, kind, task, why)


def _known_anomalies(array: pa.Array, kind: str) -> Any:
    """A column that says which rows are anomalous is for scoring only; any other is just not a feature."""
    if family(kind) not in ("boolean", "number"):
        return None
    values = columns.numbers(array)
    return values == 1 if np.isin(values, (0, 1)).all() else None


def _columns(job: TrainingRun, data: TrainingRows, types: Mapping[str, str], target: Target) -> dict[str, pa.Array]:
    """The feature columns, of the rows with a target."""
    names = [name for name in data.names if name.casefold() != job.target.casefold()]
    if job.wanted is not None:
        names = list(_named(job.wanted, names, "features"))
    return {
        name: pa.nulls(0) if features.unsupported(types[name]) else target.rows_with(data.take(name))
        for name in names
    }


def _named(wanted: list[str], names: Iterable[str], option: str) -> dict[str, None]:
    """The columns that an option names, as they are spelt. Raises UnknownNameError."""
    folded = {name.casefold(): name for name in names}
    for name in wanted:
        if name.casefold() not in folded:
            raise UnknownNameError.of(f"column in {option}", name, list(folded.values()))
    return dict.fromkeys(folded[name.casefold()] for name in wanted)


def adapt(estimator: Any, encoder: Encoder, codes: Codes | None, notes: list[str]) -> None:
    """Tell the estimator what only the matrix shows: category columns, bins, constraints by column name."""
    known = estimator.get_params(deep=False)
    if encoder.native_categories():
        estimator.set_params(categorical_features=encoder.native_categories())
    if encoder.style.categories == "bins" and known.get("min_categories") is None:
        estimator.set_params(min_categories=encoder.bin_counts())
    constraint = known.get("monotonic_cst")
    if isinstance(constraint, Mapping):
        signs = [0] * encoder.width
        for name, sign in constraint.items():
            own = [c for c in encoder.columns if c.name.casefold() == name.casefold()]
            if not own or own[0].role != "number":
                numeric = [c.name for c in encoder.columns if c.role == "number"]
                raise UnknownNameError.of("number column in monotonic_cst", name, numeric)
            signs[own[0].start] = sign
        estimator.set_params(monotonic_cst=signs)
    if (
        codes is not None
        and known.get("early_stopping") == "auto"
        and len(codes) > 10_000
        and (np.bincount(codes)[np.unique(codes)].min() < 2)
    ):
        # Its inner validation split is stratified, and a class of one row cannot be split.
        estimator.set_params(early_stopping=False)
        note = "early stopping is off, because a class has one row only"
        if note not in notes:
            notes.append(note)


def _sides(
    estimator: Any,
    encoder: Encoder,
    arrays: columns.Inputs | columns.Picked,
    values: Any,
    rows: int,
    apart: tuple[Codes, Codes] | None,
) -> list[tuple[Numbers, Any]]:
    """The matrix and the targets of the rows to learn from, then of those to stop by if they are told apart."""
    if apart is None:
        return [(_matrix(estimator, encoder, arrays, rows), values)]
    return [(_matrix(estimator, encoder, columns.Picked(arrays, at), len(at)), values[at]) for at in apart]


def _matrix(estimator: Any, encoder: Encoder, arrays: Mapping[str, pa.Array], rows: int) -> Any:
    """The rows as numbers, sparse where that saves much."""
    large = 8 * rows * encoder.width > _LARGE_BYTES
    if large and encoder.is_sparse() and estimators.fits_sparse(estimator):
        return encoder.sparse(arrays, rows)
    return encoder.matrix(arrays, rows)


def _fit(estimator: Any, rows: tuple[Numbers, Any], stop: tuple[Numbers, Any] | None = None) -> None:
    """Fit on a matrix and its targets, if it has some; `stop` are those that tell when to stop."""
    name = type(estimator).__name__
    matrix, values = rows
    try:
        if values is None:
            estimator.fit(matrix)
        elif stop is None:
            estimator.fit(matrix, values)
        else:
            estimator.fit(matrix, values, X_val=stop[0], y_val=stop[1])
    except MindSQLError:
        raise
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        IndexError,
        np.linalg.LinAlgError,
    ) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(f"{name} could not be trained: {lines[0]}") from error
    except MemoryError as error:
        raise EngineError(f"{name} needs more memory than there is for {matrix.shape[0]} rows") from error


def _hold_out(
    job: TrainingRun,
    target: Target,
    arrays: columns.Inputs,
    held: tuple[Codes, Codes] | None,
    fit: Callable[[Codes | None], tuple[Any, Encoder, Numbers]],
    progress: Progress,
    notes: list[str],
) -> Scores:
    if held is None:
        return Scores()
    train, test = held
    progress(1, _STEPS, f"training on {len(train)} rows")
    try:
        fitted, encoder, seen = fit(train)
        progress(2, _STEPS, f"scoring on {len(test)} rows")
        x = _matrix(fitted, encoder, columns.Picked(arrays, test), len(test))
        scores = score(fitted, target, x, train, test, job)
        if target.values is not None and len(seen) == len(train):
            told = leaks.repeated(seen, x, target.values[train], target.values[test])
            notes += [told] if told else []
        if target.task == "regression" and scores.interval is None:
            notes.append(f"no interval: {len(test)} held-out rows are too few for {job.level:.0%} confidence")
        progress(3, _STEPS, "measuring importances")
        if target.task in ("classification", "regression"):
            assert target.values is not None
            y = target.values[test]
            scores.importances = scoring.importances(fitted, encoder, x, y, len(target.classes), job.seed)
        return scores
    except (EngineError, ValueError, IndexError) as error:
        message = error.message if isinstance(error, MindSQLError) else str(error).strip().splitlines()[0]
        notes.append(f"no scores: {message}")
        return Scores()


def score(fitted: Any, target: Target, x: Numbers, train: Codes, test: Codes, job: TrainingRun) -> Scores:
    """The scores that fit the task, on the rows `test`, beside a baseline learnt from the rows `train`."""
    values = target.values
    with suppress_warnings():
        if target.task == "anomaly":
            truth = None if values is None else values[test]
            share = float(np.mean(values[train])) if values is not None else 0.0
            return scoring.anomaly(fitted, x, truth, share)
        assert values is not None
        if target.task == "classification":
            return scoring.classification(fitted, x, values[test], values[train], target.classes)
        return scoring.regression(fitted, x, values[test], values[train], job.level)


def _look_at(made: Trained, matrix: Numbers, seed: int | None) -> None:
    """Try the fitted estimator on some of its rows: it must predict, and we see what else it can answer."""
    estimator, task = made.estimator, made.target.task
    rows = matrix.shape[0]
    at = np.arange(rows)
    if rows > _LOOKED_AT:
        at = np.sort(np.random.default_rng(seed).choice(rows, _LOOKED_AT, replace=False))
    sample = scoring.dense(matrix[at])
    name = type(estimator).__name__
    try:
        predicted = np.asarray(estimator.predict(sample))
        if predicted.reshape(-1).shape[0] != len(sample):
            raise EngineError(f"{name} answers several columns, and a model has one target")
        proba = estimator.predict_proba(sample) if hasattr(estimator, "predict_proba") else None
        if task == "anomaly":
            ranks = -np.asarray(estimator.score_samples(sample), dtype=np.float64)
            made.ranks = [float(q) for q in np.quantile(ranks, np.linspace(0, 1, min(1001, len(ranks))))]
    except (ValueError, TypeError, IndexError) as error:
        raise EngineError(f"{name} was trained but cannot predict: {str(error).splitlines()[0]}") from error
    made.proba = proba is not None and task in ("classification", "clustering")
    if made.proba:
        top = np.sort(np.asarray(proba), axis=1)[:, -2:]
        clear = top[:, -1] - top[:, 0] > 1e-9 if top.shape[1] > 1 else np.ones(len(top), dtype=bool)
        labels = np.argmax(np.asarray(proba), axis=1)
        if task == "classification":
            labels = np.asarray(estimator.classes_)[labels]
        made.own_labels = bool((labels != predicted)[clear].any()) or name in (
            "SVC",
            "NuSVC",
            "FixedThresholdClassifier",
            "TunedThresholdClassifierCV",
        )
    if task == "clustering":
        made.notes.append("clusters are scored on the rows they were made from")
        made.scores = scoring.clustering(predicted, sample, seed)
        made.target.classes = list(range(np.asarray(proba).shape[1])) if proba is not None else []


@contextmanager
def collected(notes: list[str]) -> Iterator[None]:
    """Turn what scikit-learn warns of into notes."""
    with capture_warnings() as caught:
        try:
            yield
        finally:
            for warning in caught:
                if isinstance(warning, FutureWarning | DeprecationWarning):
                    continue  # news for who writes Python, not for who writes SQL
                text = " ".join(str(warning).split())
                note = f"{type(warning).__name__}: {text[:300]}"
                if note not in notes and len(notes) < 50:
                    notes.append(note)
