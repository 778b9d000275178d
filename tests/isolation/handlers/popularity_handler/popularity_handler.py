from typing import Dict, Optional

import pandas as pd
from mindsdb.integrations.handlers.popularity_handler.helpers import most_frequent
from mindsdb.integrations.libs.base import BaseMLEngine
from mindsdb.integrations.utilities.handler_utils import get_api_key
from mindsdb.utilities import log

logger = log.getLogger(__name__)


class PopularityHandler(BaseMLEngine):
    name = "popularity"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generative = True

    @staticmethod
    def create_validation(target, args=None, **kwargs):
        if "item_id" not in args["using"]:
            raise Exception("'item_id' must be provided in the USING clause.")

    def create(self, target: str, df: Optional[pd.DataFrame] = None, args: Optional[Dict] = None) -> None:
        using = args["using"] | {"target": target}
        using["key"] = get_api_key("popularity", using, self.engine_storage, strict=False)
        self.model_storage.json_set("args", using)
        self.model_storage.json_set("best", most_frequent(df, using["item_id"]))

    def predict(self, df: Optional[pd.DataFrame] = None, args: Optional[Dict] = None) -> pd.DataFrame:
        args = self.model_storage.json_get("args")
        logger.info("predicting")
        print(f"{len(df)} rows")
        df = df.drop("__mindsdb_row_id", axis=1)
        best = self.model_storage.json_get("best")
        return pd.DataFrame({args["target"]: [best[0]] * len(df)})

    def describe(self, attribute=None):
        if attribute is None:
            return pd.DataFrame({"tables": ["best"]})
        return pd.DataFrame(self.model_storage.json_get("best"), columns=["best"])
