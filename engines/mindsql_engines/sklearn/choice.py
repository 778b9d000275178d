"""Owns what there is to choose from: the estimators, with what each can do, for SHOW ESTIMATORS."""

from __future__ import annotations

import inspect
from functools import lru_cache

from mindsql.engine import Estimator, suppress_warnings
from mindsql.errors import EngineMissingError, StatementError
from mindsql_engines.sklearn import estimators, parameters, updating
from mindsql_engines.sklearn.sql import bayes, boosting, linear, trees

_AS_SQL = bayes.NAMES | boosting.NAMES | linear.NAMES | trees.NAMES
_FINETUNE = updating.LEARN_ON | updating.ADD_TREES


@lru_cache(maxsize=1)
def listed() -> tuple[Estimator, ...]:
    """All estimators that a statement may name and this scikit-learn has."""
    found = []
    for name, (task, _) in estimators.ESTIMATORS.items():
        try:
            cls = estimators.load_class(name)
        except (AttributeError, EngineMissingError):
            continue
        about = (inspect.getdoc(cls) or "").strip().split("\n\n")[0]
        found.append(
            Estimator(
                name,
                task,
                accepts_missing=_accepts_missing(name),
                as_sql=name in _AS_SQL,
                finetune=name in _FINETUNE,
                description=" ".join(about.split()).rstrip("."),
            )
        )
    return tuple(found)


def _accepts_missing(name: str) -> bool:
    try:
        with suppress_warnings():
            return not estimators.style_of(parameters.build(name, {}, None)).impute
    except StatementError:  # what it wraps must be named, and says so
        return False
