"""Owns the name of the handler `mlflow`: models of an MLflow scoring server, or of an MLflow registry."""

from mindsql_engines.mlflow.engine import MLflowEngine

__all__ = ["MLflowEngine"]
