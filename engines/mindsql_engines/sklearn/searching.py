"""Owns the search for an estimator and its parameters, within a time limit: what is tried, and what was best.

Optuna proposes the parameters (TPE: Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, 2011); each
proposal is judged by cross-validation on the same folds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mindsql.engine import Option, Task
from mindsql.errors import EngineError, EngineMissingError, StatementError, UnknownNameError
from mindsql_engines.sklearn import choosing, estimators, parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mindsql_engines.sklearn.columns import Codes, Numbers

_SECONDS = 60.0
_MOST_ROWS = 20_000
"""More rows are sampled for the search; the model itself is trained on all."""
_INNER_FOLDS = 5
"""A stack trains each member so often, to see what it says of rows that it has not seen."""
_STACKED = 3
"""So many of the best, of different kinds, are stacked."""

Range = tuple[float, float] | tuple[float, float, str] | list[Any]
_TREES: dict[str, Range] = {"max_features": [0.3, 0.6, 1.0], "min_samples_leaf": (1, 20, "log"), "n_estimators": [200]}
_SPACES: dict[str, dict[str, Range]] = {
    "Ridge": {"alpha": (1e-3, 1e3, "log")},
    "LogisticRegression": {"C": (1e-3, 1e3, "log"), "max_iter": [1000]},
    "KNeighbors": {"n_neighbors": (2, 40, "log"), "weights": ["uniform", "distance"]},
    "RandomForest": _TREES,
    "ExtraTrees": _TREES,
    "HistGradientBoosting": {
        "learning_rate": (0.02, 0.3, "log"),
        "max_iter": (50, 500, "log"),
        "max_leaf_nodes": (4, 63, "log"),
        "min_samples_leaf": (2, 60, "log"),
        "l2_regularization": (1e-6, 10.0, "log"),
    },
    "LGBM": {
        "learning_rate": (0.02, 0.3, "log"),
        "n_estimators": (50, 500, "log"),
        "num_leaves": (4, 63, "log"),
        "min_child_samples": (2, 60, "log"),
        "reg_lambda": (1e-6, 10.0, "log"),
        "colsample_bytree": (0.4, 1.0),
    },
    "XGB": {
        "learning_rate": (0.02, 0.3, "log"),
        "n_estimators": (50, 500, "log"),
        "max_depth": (2, 10),
        "min_child_weight": (1.0, 20.0, "log"),
        "reg_lambda": (1e-3, 10.0, "log"),
        "colsample_bytree": (0.4, 1.0),
    },
    "CatBoost": {"iterations": [300], "learning_rate": (0.03, 0.3, "log"), "depth": (3, 8)},
}
_SUFFIX: dict[Task, str] = {"regression": "Regressor", "classification": "Classifier"}


@dataclass
class Tried:
    """One proposal and what came of it.

    Attributes:
        loss: Squared error of the numbers, or of the probabilities (Brier's score), a row; infinite if it failed.
        score: r2, or accuracy.
    """

    estimator: str
    parameters: dict[str, Any]
    loss: float
    score: float
    seconds: float


@dataclass
class Search:
    """What is looked for.

    Attributes:
        spaces: Estimator → its parameters' ranges.
        given: Parameters that are set, whatever is tried.
        seconds: When to stop.
        trials: How many to try at most; None for any.
        tried: What was, in order.
    """

    task: Task
    spaces: dict[str, dict[str, Range]]
    given: dict[str, Any]
    seconds: float
    trials: int | None
    seed: int | None
    stacks: bool = False
    tried: list[Tried] = field(default_factory=list)

    def run(
        self,
        values: NDArray[Any],
        classes: int,
        rows: Codes,
        fit: Callable[[Any, Codes, Codes], tuple[Any, Numbers]],
        build: Callable[[str, dict[str, Any]], Any],
        progress: Callable[[float, float, str], None],
    ) -> Tried:
        """The best that was tried.

        Args:
            values: The target of every row: doubles or class codes.
            classes: How many there are.
            rows: The numbers of the rows that may be looked at.
            fit: Trains an estimator on some rows; gives the fitted one, and the matrix of the others.
            build: Makes an estimator of a name and parameters.
            progress: Is told the seconds that are over, of how many, and what is done.

        Raises:
            EngineError: Nothing could be trained.
            EngineMissingError: Optuna is not installed.
        """
        optuna = _optuna()
        start = time.monotonic()
        if len(rows) > _MOST_ROWS:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, _MOST_ROWS, replace=False))
        folds = choosing.folds(rows, self.seed, values if self.task == "classification" else None)

        def measure(name: str, given: dict[str, Any]) -> Tried:
            begin = time.monotonic()
            progress(begin - start, self.seconds, f"trying {name} ({len(self.tried)} tried)")
            loss = right = 0.0
            try:
                estimator = build(name, given)
                for learn, test in folds:
                    fitted, matrix = fit(estimator, learn, test)
                    lost, hit = choosing.losses(fitted, matrix, values[test], classes)
                    loss, right = loss + lost, right + hit
                    if self.tried and time.monotonic() - start > self.seconds:
                        loss = np.inf  # what is not done in time is not known
                        break
            except (EngineError, ValueError, IndexError):
                loss = np.inf
            spread = float(((values[rows] - values[rows].mean()) ** 2).sum()) or 1.0
            score = right / len(rows) if classes else 1 - loss / spread
            made = Tried(name, given, loss / len(rows), score, time.monotonic() - begin)
            self.tried.append(made)
            return made

        def objective(trial: Any) -> float:
            names = list(self.spaces)
            name = trial.suggest_categorical("estimator", names) if len(names) > 1 else names[0]
            given = {key: _suggested(trial, name, key, span) for key, span in self.spaces[name].items()}
            return min(measure(name, {**self.given, **given}).loss, 1e300)

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=self._sampler(optuna))
        if len(self.spaces) > 1:
            for name, space in self.spaces.items():  # first one of each, somewhere in the middle
                middle = {f"{name}.{key}": _middle(span) for key, span in space.items()}
                study.enqueue_trial({"estimator": name, **middle})
        share = 0.85 if self.stacks else 1.0
        study.optimize(objective, n_trials=self.trials, timeout=self.seconds * share, gc_after_trial=False)
        if self.stacks:
            members = self._members()
            left = self.seconds - (time.monotonic() - start)
            if len(members) > 1 and _INNER_FOLDS * self._seconds_of(members) < left:
                measure(f"Stacking{_SUFFIX[self.task]}", {"estimators": members})
        best = min(self.tried, key=lambda one: one.loss)
        if not np.isfinite(best.loss):
            raise EngineError(
                "none of the estimators could be trained on these rows", hint="name one: USING estimator = …"
            )
        return best

    def _sampler(self, optuna: Any) -> Any:
        """What proposes: each combination once, if these are few, else what has been good so far."""
        if len(self.spaces) == 1 and self.trials is not None:
            ((name, space),) = self.spaces.items()
            grid = {f"{name}.{key}": list(range(len(span))) for key, span in space.items() if isinstance(span, list)}
            grid = {key: places for key, places in grid.items() if len(places) > 1}
            lists = all(isinstance(span, list) for span in space.values())
            if grid and lists and self.trials >= np.prod([len(places) for places in grid.values()]):
                return optuna.samplers.GridSampler(grid, seed=self.seed)
        return optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=max(10, 2 * len(self.spaces)))

    def _members(self) -> list[dict[str, Any]]:
        """The best of each kind that can be stacked, the best first."""
        found: dict[str, dict[str, Any]] = {}
        for one in sorted(self.tried, key=lambda one: one.loss):
            if one.estimator not in estimators.BOOSTED and np.isfinite(one.loss):
                found.setdefault(one.estimator, {"estimator": one.estimator, **one.parameters})
        return list(found.values())[:_STACKED]

    def _seconds_of(self, members: list[dict[str, Any]]) -> float:
        """What the members took to be judged."""
        return sum(
            one.seconds
            for member in members
            for one in self.tried
            if member == {"estimator": one.estimator, **one.parameters}
        )

    def leaderboard(self) -> list[dict[str, Any]]:
        """What was tried, the best first."""
        return [
            {
                "estimator": one.estimator,
                "score": float(one.score) if np.isfinite(one.loss) else None,
                "loss": float(one.loss) if np.isfinite(one.loss) else None,
                "seconds": round(one.seconds, 3),
                "parameters": one.parameters,
            }
            for one in sorted(self.tried, key=lambda one: one.loss)
        ]

    def why(self, best: Tried) -> str:
        """A sentence that says what was chosen."""
        score = "accuracy" if self.task == "classification" else "r2"
        said = ", ".join(f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}"
                         for key, value in best.parameters.items() if key != "estimators")  # fmt: skip
        return (
            f"estimator: {best.estimator}{f' ({said})' if said else ''}, the best of {len(self.tried)} tried by "
            f"cross-validation ({score} {best.score:.3g}); DESCRIBE model.leaderboard shows all"
        )


def search_of(
    task: Task, using: Mapping[str, Any], name: str | None, given: dict[str, Any], seed: int | None
) -> Search:
    """The search that the options of a statement ask for.

    Raises:
        StatementError: They do not go together.
        UnknownNameError: `tune` names what is no parameter of the estimator.
    """
    seconds, trials = float(using.get("time_limit") or _SECONDS), using.get("trials")
    if task not in _SUFFIX:
        raise StatementError(f"{task} has nothing to search by", hint="name the estimator and its parameters")
    tune = using.get("tune")
    if tune is None:
        if given:
            raise StatementError(
                f"estimator = 'auto' chooses parameters itself, and {next(iter(given))} is one",
                hint="name an estimator, and give tune = {…}",
            )
        return Search(task, _spaces(task), {}, seconds, trials, seed, stacks=True)
    if name is None:
        raise StatementError("tune needs an estimator", hint="USING estimator = 'Ridge', tune = {\"alpha\": [0.1, 1]}")
    known = {option.name: option for option in parameters.options(name)}
    given = {key: given[key] for key in parameters.chosen(name, given)}
    space: dict[str, Range] = {}
    for key, span in tune.items():
        if key not in known:
            raise UnknownNameError.of(f"parameter of {name} in tune:", key, known)
        space[key] = _range(key, span, known[key])
        for value in space[key] if isinstance(space[key], list) else space[key][:2]:
            parameters.build(name, {**given, key: value}, seed)  # says what does not fit
    if not space:
        raise StatementError("tune names no parameter", hint='tune = {"alpha": [0.1, 1, 10]}')
    combinations = 1
    for span in space.values():
        combinations *= len(span) if isinstance(span, list) else 1 << 20
    most = min(trials or 1 << 20, combinations)
    return Search(task, {name: space}, given, seconds, most, seed)


def _range(key: str, span: Any, option: Option) -> Range:
    if isinstance(span, list) and span:
        return list(span)
    if isinstance(span, Mapping) and {"from", "to"} <= span.keys() <= {"from", "to", "log"}:
        low, high = span["from"], span["to"]
        numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
        if numbers and low < high and not (span.get("log") and low <= 0):
            whole = option.type == "integer" or (isinstance(low, int) and isinstance(high, int))
            ends = (int(low), int(high)) if whole else (float(low), float(high))
            return (*ends, "log") if span.get("log") else ends
    raise StatementError(
        f'tune: "{key}" is neither a list of values nor a range',
        hint=f'{{"{key}": [1, 2, 3]}} or {{"{key}": {{"from": 0.01, "to": 10, "log": true}}}}',
    )


def _spaces(task: Task) -> dict[str, dict[str, Range]]:
    """The estimators that `auto` compares: those that are installed."""
    found = {}
    for base, space in _SPACES.items():
        name = base if base in estimators.ESTIMATORS else base + _SUFFIX[task]
        if estimators.task_of(name) == task:
            with suppress(EngineMissingError):
                estimators.load_class(name)
                found[name] = space
    return found


def _suggested(trial: Any, estimator: str, key: str, span: Range) -> Any:
    name = f"{estimator}.{key}"
    if isinstance(span, list):
        return span[trial.suggest_int(name, 0, len(span) - 1)] if len(span) > 1 else span[0]
    low, high, log = span[0], span[1], len(span) > 2
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, low, high, log=log)


def _middle(span: Range) -> Any:
    if isinstance(span, list):
        return len(span) // 2
    low, high = span[0], span[1]
    middle = (low * high) ** 0.5 if len(span) > 2 else (low + high) / 2
    return round(middle) if isinstance(low, int) and isinstance(high, int) else middle


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise EngineMissingError(
            f"the search needs optuna, which is not installed: {error}",
            hint="pip install 'mindsql-server[auto]', or optuna",
        ) from error
    return optuna


def asked(using: Mapping[str, Any]) -> bool:
    """Whether the options ask for a search. Raises StatementError when they do not go together."""
    auto = estimators.is_auto(using.get("estimator"))
    if auto and using.get("tune") is not None:
        raise StatementError("tune is for one estimator", hint="name it: USING estimator = 'Ridge', tune = {…}")
    if auto or using.get("tune") is not None:
        return True
    for name in ("time_limit", "trials"):
        if using.get(name) is not None:
            raise StatementError(
                f"{name} is for a search", hint="USING estimator = 'auto', or tune = {…} with an estimator"
            )
    return False
