"""What handlers of MindsDB do with storages, args and frames, each in the manner of one that people use.

Only the import is ours; the rest is what such a handler is: an AutoML library that pickles its model, one that keeps a
folder, a recommender that keeps JSON, a generative model without training rows, a client of a service.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mindsql
from mindsql import BaseMLEngine


class AutoHandler(BaseMLEngine):
    """Pickles a model of its library, and keeps its args as JSON, the schema of the rows among them."""

    name = "auto"

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        args = args["using"] | {"target": target, "dtype_dict": dict(df.dtypes.astype(str))}
        X = df.drop(columns=[target]).select_dtypes("number")
        weights, *_ = np.linalg.lstsq(np.c_[X.to_numpy(float), np.ones(len(X))], df[target].to_numpy(float), rcond=None)
        args["columns"] = list(X.columns)
        self.model_storage.json_set("args", args)
        self.model_storage.file_set("model", pickle.dumps(weights))

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        kept = self.model_storage.json_get("args")
        weights = pickle.loads(self.model_storage.file_get("model"))
        if "__mindsdb_row_id" in df.columns:
            df = df.drop(columns=["__mindsdb_row_id"])
        X = df[kept["columns"]].to_numpy(float)
        return pd.DataFrame({kept["target"]: np.c_[X, np.ones(len(X))] @ weights})

    def describe(self, attribute: str | None = None) -> pd.DataFrame:
        if attribute == "model":
            return pd.DataFrame([self.model_storage.json_get("args")["columns"]]).T
        return pd.DataFrame(["model"], columns=["tables"])


class FolderHandler(BaseMLEngine):
    """Its library writes a folder."""

    name = "folder"

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        self.model_storage.json_set("saved_args", {**args["using"], "target": target})
        folder = self.model_storage.folder_get("learner")
        os.makedirs(os.path.join(folder, "models"), exist_ok=True)
        df.groupby("g")[target].mean().to_json(os.path.join(folder, "models", "means.json"))
        self.model_storage.folder_sync("learner")

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        target = self.model_storage.json_get("saved_args")["target"]
        folder = self.model_storage.folder_get("learner")
        means = pd.read_json(os.path.join(folder, "models", "means.json"), typ="series")
        out = df.copy()
        out[target] = out["g"].map(means)
        out[f"{target}_explain"] = [{"mean": value} for value in out[target]]
        return out[[target, f"{target}_explain"]]


class PopularHandler(BaseMLEngine):
    """Keeps JSON, reports how far it is, and checks its args before anything runs."""

    name = "popular"

    @staticmethod
    def create_validation(target: str, args: Any = None, **kwargs: Any) -> None:
        if "item_id_column" not in args["using"]:
            raise Exception("item_id_column must be provided")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        using = args["using"]
        self.model_storage.training_state_set(1, 2, "counting")
        top = df[using["item_id_column"]].value_counts()
        self.model_storage.json_set("popular", {"items": top.index[: using.get("n", 1)].tolist(), "target": target})

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        kept = self.model_storage.json_get("popular")
        return pd.DataFrame({kept["target"]: [kept["items"][0]] * len(df)})


class ChatHandler(BaseMLEngine):
    """A generative model: it is created without rows, and its inputs are those that its args name."""

    name = "chat"
    generative = True

    @staticmethod
    def create_validation(target: str, args: Any = None, **kwargs: Any) -> None:
        if not {"question_column", "prompt_template"} & set(args["using"]):
            raise Exception("One of `question_column`, `prompt_template` is required for this engine.")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        args = args["using"]
        args["target"] = target
        self.model_storage.json_set("args", args)

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        pred_args = args["predict_params"] if args else {}
        args = self.model_storage.json_get("args")
        limit = int(pred_args.get("max_tokens", args.get("max_tokens", 100)))
        if "prompt_template" in args:
            prompts = []
            for _, row in df.iterrows():
                prompt = args["prompt_template"]
                for column in df.columns:
                    prompt = prompt.replace("{{" + column + "}}", str(row[column]))
                prompts.append(prompt)
        else:
            prompts = df[args["question_column"]].tolist()
        return pd.DataFrame({args["target"]: [prompt.upper()[:limit] for prompt in prompts]})


class ServiceHandler(BaseMLEngine):
    """A client: its key is an argument of the engine."""

    name = "service"

    def create_engine(self, connection_args: Any) -> None:
        if not connection_args.get("service_api_key"):
            raise Exception("service_api_key is required")

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        key = self.engine_storage.get_connection_args()["service_api_key"]
        kept = {"input": args["using"]["input_column"], "ends": key[-2:], "target": target}
        self.model_storage.json_set("args", kept)

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        kept = self.model_storage.json_get("args")
        if kept["input"] not in df.columns:
            raise RuntimeError(f'Column "{kept["input"]}" not found in input data')
        return pd.DataFrame({kept["target"]: [f"{text}/{kept['ends']}" for text in df[kept["input"]]]})


@pytest.fixture
def con() -> Iterator[mindsql.Connection]:
    with mindsql.connect() as opened:
        for handler in (AutoHandler, FolderHandler, PopularHandler, ChatHandler, ServiceHandler):
            opened.register_engine(handler.name, handler)
        opened.execute("CREATE TABLE t AS SELECT i AS a, i % 3 AS g, 2.0::DOUBLE * i + 1 AS y FROM range(60) r(i)")
        rows = "(VALUES ('why', 'short'), ('how', 'long')) q(question, style)"
        opened.execute(f"CREATE TABLE questions AS SELECT * FROM {rows}")
        yield opened


def test_a_model_that_is_pickled(con: mindsql.Connection) -> None:
    con.execute("CREATE MODEL m FROM (SELECT a, y FROM t) PREDICT y USING engine = 'auto', time_budget = 5")
    assert con.execute("SELECT round(y, 6) FROM m WHERE a = 10").fetchone() == (21.0,)
    assert con.execute("SELECT max(abs(t.y - m.y)) < 1e-6 FROM t JOIN m").fetchone() == (True,)
    assert con.execute("DESCRIBE m.model").fetchall() == [("a",)]


def test_a_model_that_is_a_folder(con: mindsql.Connection) -> None:
    con.execute("CREATE MODEL m FROM (SELECT g, y FROM t) PREDICT y USING engine = 'folder'")
    assert con.execute("SELECT y, y_explain->>'mean' FROM m WHERE g = 0").fetchone() == (58.0, "58")


def test_a_recommender(con: mindsql.Connection) -> None:
    with pytest.raises(mindsql.Error, match="item_id_column must be provided"):
        con.execute("CREATE MODEL m FROM (SELECT a, g FROM t) PREDICT best USING engine = 'popular'")
    con.execute(
        "CREATE MODEL m FROM (SELECT a, least(a, 7) AS g FROM t) PREDICT best "
        "USING engine = 'popular', item_id_column = 'g'"
    )
    assert con.execute("SELECT best, count(*) FROM t JOIN m GROUP BY best").fetchall() == [(7, 60)]


def test_a_generative_model_without_rows(con: mindsql.Connection) -> None:
    with pytest.raises(mindsql.Error, match="question_column"):
        con.execute("CREATE MODEL m PREDICT answer USING engine = 'chat'")
    con.execute("CREATE MODEL m PREDICT answer USING engine = 'chat', question_column = 'question'")
    assert con.execute("SELECT answer FROM m WHERE question = 'why me'").fetchone() == ("WHY ME",)
    assert con.execute("SELECT answer FROM questions JOIN m ORDER BY 1").fetchall() == [("HOW",), ("WHY",)]
    con.execute(
        "CREATE MODEL p PREDICT answer USING engine = 'chat', prompt_template = '{{question}}? be {{style}}'"
    )
    rows = con.execute("SELECT answer FROM questions JOIN p ORDER BY 1 USING max_tokens = 5").fetchall()
    assert rows == [("HOW? ",), ("WHY? ",)]


def test_a_client_of_a_service(con: mindsql.Connection) -> None:
    with pytest.raises(mindsql.EngineError, match="service_api_key is required"):
        con.execute("CREATE ML_ENGINE s FROM service")
    con.execute("CREATE ML_ENGINE s FROM service USING service_api_key = 'k-123'")
    con.execute("CREATE MODEL m PREDICT label USING engine = 's', input_column = 'question'")
    assert con.execute("SELECT label FROM questions JOIN m ORDER BY 1").fetchall() == [("how/23",), ("why/23",)]
    assert "k-123" not in str(con.execute("DESCRIBE ML_ENGINE s").fetchall())
