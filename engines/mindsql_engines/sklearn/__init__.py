"""Owns the engine "sklearn": scikit-learn estimators as models. Importing it does not load scikit-learn."""

from mindsql_engines.sklearn.engine import SklearnEngine

__all__ = ["SklearnEngine"]
