"""Owns the model of MindsDB's first bring-your-own-model page, as a FastAPI application: `/train` and `/predict`.

What Ray has removed since (`route_prefix` of the decorator, `deploy()`) is replaced; the wire format is untouched.
`app` runs under uvicorn, `bind()` is the Ray Serve application.
"""

from __future__ import annotations

import json

import pandas as pd
from fastapi import FastAPI, Request
from sklearn.linear_model import LogisticRegression

app = FastAPI()


async def parse_req(request: Request) -> tuple[pd.DataFrame, str | None]:
    data = await request.json()
    target = data.get("target", None)
    di = json.loads(data["df"])
    df = pd.DataFrame(di)
    return df, target


class MyModel:
    """One model at a time, as on the page."""

    async def train(self, request: Request) -> dict[str, str]:
        df, target = await parse_req(request)
        feature_cols = [column for column in df.columns if column != target]
        self.feature_cols = feature_cols
        X = df.loc[:, self.feature_cols]
        Y = list(df[target])
        self.model = LogisticRegression(max_iter=1000)
        self.model.fit(X, Y)
        return {"status": "ok"}

    async def predict(self, request: Request) -> dict[str, list[float]]:
        df, _ = await parse_req(request)
        X = df.loc[:, self.feature_cols]
        predictions = self.model.predict(X)
        pred_dict = {"prediction": [float(x) for x in predictions]}
        return pred_dict


_model = MyModel()
app.post("/my_model/train")(_model.train)
app.post("/my_model/predict")(_model.predict)
