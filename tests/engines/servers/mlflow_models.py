"""Owns the models that real MLflow servers have in the tests. `python mlflow_models.py folder` saves them there,
`python mlflow_models.py http://…` registers them."""

from __future__ import annotations

import sys
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ParamSchema, ParamSpec
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


class Shapes(mlflow.pyfunc.PythonModel):
    """Answers in the shape that its parameter names."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        kind = (params or {}).get("kind", "strings")
        a = [float(value) for value in model_input["a"]]
        if kind == "frame":
            return pd.DataFrame({"y": a, "lower": [v - 1 for v in a], "upper": [v + 1 for v in a]})
        if kind == "lists":
            return [[v, v + 0.5] for v in a]
        if kind == "several":
            return pd.DataFrame({"small": [v / 2 for v in a], "big": [v * 2 for v in a]})
        if kind == "one":
            return [[v] for v in a]
        return [f"s{v:g}" for v in a]


def main(where: str) -> None:
    """Save both models in a folder, or register them, one also as a pickle, as `sizes` 1 and 2 and `shapes` 1."""
    rows = pd.DataFrame({"0": range(40), "more": [i % 7 * 0.5 for i in range(40)]}).astype({"0": "int64"})
    target = (rows["0"] > 20).map({True: "big", False: "small"})
    pipeline = make_pipeline(LogisticRegression(max_iter=1000)).fit(rows, target)
    sizes = {
        "signature": infer_signature(rows, pipeline.predict(rows)),
        "pip_requirements": ["scikit-learn"],
    }
    shapes = {
        "python_model": Shapes(),
        "pip_requirements": ["mlflow"],
        "signature": ModelSignature(
            inputs=infer_signature(rows.rename(columns={"0": "a"})[["a"]].astype(float)).inputs,
            params=ParamSchema([ParamSpec("kind", "string", "strings")]),
        ),
    }
    if not where.startswith("http"):
        mlflow.sklearn.save_model(pipeline, f"{where}/sizes", **sizes)
        mlflow.pyfunc.save_model(f"{where}/shapes", **shapes)
        return
    mlflow.set_tracking_uri(where)
    for kind in ("skops", "pickle"):
        mlflow.sklearn.log_model(
            pipeline, name="sizes", registered_model_name="sizes", serialization_format=kind, **sizes
        )
    mlflow.pyfunc.log_model(name="shapes", registered_model_name="shapes", **shapes)
    mlflow.MlflowClient().set_registered_model_alias("sizes", "champion", "1")
    mlflow.MlflowClient().transition_model_version_stage("sizes", "1", "Production")


if __name__ == "__main__":
    main(sys.argv[1])
