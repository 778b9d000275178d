"""Owns `ToyEngine`: an engine whose answers can be told by hand, for documentation and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mindsql.engine import Args, Capabilities, Engine, Option, Summary
from mindsql.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


class ToyEngine(Engine):
    """`target = factor × (sum of the numbers + lengths of the texts)`; NULLs count 0, booleans 0 or 1.

    `target_confidence` is the share of inputs that are not NULL; `target_explain` has factor and sum.
    """

    title = "Toy"
    description = "factor × (sum of the numbers + lengths of the texts)"
    options = (Option("factor", "float", default=1.0, description="what the sum is multiplied by"),)
    capabilities = Capabilities(thread_safe=True)

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """Keep the names; there is nothing to learn."""
        args, rows = args or {}, 0 if df is None else len(df)
        inputs = list(args["schema"].without(target).pairs())
        model = {"target": target, "factor": args["using"]["factor"], "inputs": inputs, "rows": rows}
        self.model_storage.json_set("model", model)

    def summary(self) -> Summary:
        """The inputs are all columns but the target, the outputs three."""
        model = self.model_storage.json_get("model")
        y = model["target"]
        outputs = Schema.of([(y, "DOUBLE"), (f"{y}_confidence", "DOUBLE"), (f"{y}_explain", "JSON")])
        return Summary(Schema.of(model["inputs"]), outputs, task="regression", rows=model["rows"])

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """Answer each row, and what else the query reads."""
        import pandas as pd

        model = self.model_storage.json_get("model")
        y, factor = model["target"], model["factor"]
        sums = df.apply(lambda column: column.map(_weight)).sum(axis=1).astype(float)
        answers = {
            y: sums * factor,
            f"{y}_confidence": df.notna().mean(axis=1).astype(float),
            f"{y}_explain": [f'{{"factor": {factor}, "sum": {total}}}' for total in sums],
        }
        wanted = (args or {}).get("columns") or [y]
        return pd.DataFrame({name: answers[name] for name in wanted}, index=df.index)


def _weight(value: Any) -> float:
    if isinstance(value, str):
        return len(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if number == number else 0.0
