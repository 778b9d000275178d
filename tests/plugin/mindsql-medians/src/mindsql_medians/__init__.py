"""Owns `MediansEngine`: the median of the target among the rows of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mindsql import Capabilities, Engine, Option, Schema, Summary
from mindsql.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd


class MediansEngine(Engine):
    """Answers each row with the median of its group in training, or of all rows when the group is new."""

    title = "Medians"
    description = "the median of the target in each group"
    options = (Option("by", "string", required=True, description="the column that makes the groups"),)
    capabilities = Capabilities(thread_safe=True)

    def create(self, target: str, df: pd.DataFrame | None = None, args: dict[str, Any] | None = None) -> None:
        assert df is not None and args is not None  # the default capabilities ask for rows
        group = args["schema"].without(target).find(args["using"]["by"])
        if group is None:
            known = args["schema"].without(target).names
            raise UnknownNameError.of("column to group by:", args["using"]["by"], known)
        medians = df.groupby(df[group.name].astype(str))[target].median()
        model = {"target": target, "by": group.name, "type": group.type, "rows": len(df)}
        self.model_storage.json_set("model", {**model, "all": float(df[target].median())})
        self.model_storage.json_set("medians", {key: float(value) for key, value in medians.items()})

    def summary(self) -> Summary:
        model = self.model_storage.json_get("model")
        inputs, outputs = Schema.of([(model["by"], model["type"])]), Schema.of([(model["target"], "DOUBLE")])
        return Summary(inputs, outputs, task="regression", rows=model["rows"])

    def predict(self, df: pd.DataFrame, args: dict[str, Any] | None = None) -> pd.DataFrame:
        model, medians = (self.model_storage.json_get(name) for name in ("model", "medians"))
        groups = df[model["by"]].astype(str)
        answers = groups.map(lambda group: medians.get(group, model["all"])).astype(float)
        return answers.to_frame(model["target"])

    def describe(self, key: str | None = None) -> pd.DataFrame:
        import pandas as pd

        if key is None:
            return pd.DataFrame({"tables": ["medians"]})
        medians = self.model_storage.json_get("medians")
        return pd.DataFrame({"group": list(medians), "median": list(medians.values())})
