"""Owns the models that real MLflow servers serve in the tests. `python mlflow_models.py folder` saves them."""

from __future__ import annotations

import sys
from pathlib import Path
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


def main(folder: Path) -> None:
    """Save both models."""
    rows = pd.DataFrame({"0": range(40), "more": [i % 7 * 0.5 for i in range(40)]}).astype({"0": "int64"})
    target = (rows["0"] > 20).map({True: "big", False: "small"})
    pipeline = make_pipeline(LogisticRegression(max_iter=1000)).fit(rows, target)
    signature = infer_signature(rows, pipeline.predict(rows))
    mlflow.sklearn.save_model(
        pipeline, folder / "sizes", signature=signature, pip_requirements=["scikit-learn"]
    )
    mlflow.pyfunc.save_model(
        folder / "shapes",
        python_model=Shapes(),
        pip_requirements=["mlflow"],
        signature=ModelSignature(
            inputs=infer_signature(rows.rename(columns={"0": "a"})[["a"]].astype(float)).inputs,
            params=ParamSchema([ParamSpec("kind", "string", "strings")]),
        ),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
