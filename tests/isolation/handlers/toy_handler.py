"""A handler that has all five methods, and keeps every promise of the contract."""

import pandas as pd

from mindsql.errors import StatementError
from mindsql.testing import ToyEngine


class Handler(ToyEngine):
    def create_engine(self, connection_args):
        self.engine_storage.json_set("made", True)

    def update(self, df=None, args=None):
        raise StatementError("there is nothing to continue")

    def describe(self, key=None):
        if key is None:
            return pd.DataFrame({"tables": ["info"]})
        if key != "info":
            raise StatementError(f"there is no {key}")
        return pd.DataFrame({"rows": [self.model_storage.json_get("model")["rows"]]})
