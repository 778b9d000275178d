"""Owns what the scripted servers answer, and the cases that the conformance suite asks them with."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

from mindsql.testing import Case
from mindsql_engines.huggingface import HuggingFaceEngine
from mindsql_engines.mlflow import MLflowEngine
from mindsql_engines.openai import OpenAIEngine
from mindsql_engines.ray_serve import RayServeEngine
from servers.scripted import Request, Server


def sums(request: Request) -> Any:
    """A model that needs no training: the sum of the numbers of a row."""
    if request.path == "/train":
        return {"status": "ok"}
    if request.path == "/version":
        return "3.1.0"
    if request.path == "/invocations":
        records = request.json()["dataframe_records"]
        return {
            "predictions": [sum(float(v) for v in r.values() if isinstance(v, (int, float))) for r in records]
        }
    if request.path == "/v1/embeddings":
        texts = request.json()["input"]
        vectors = [[float(len(text)), float(ord(text[0])) if text else 0.0] for text in texts]
        return {"data": [{"index": at, "embedding": one} for at, one in enumerate(vectors)]}
    if request.path == "/v1/chat/completions":
        asked = request.json()
        text = asked["messages"][-1]["content"]
        content = json.dumps({"size": len(text), "begin": text[:3]}) if "response_format" in asked else text.upper()
        return {"model": "m", "choices": [{"finish_reason": "stop", "message": {"content": content}}]}
    if request.path == "/hf":
        inputs = request.json()["inputs"]
        if "parameters" in request.json():
            return [[{"label": inputs[:3], "score": 0.7}, {"label": "rest", "score": 0.3}]]
        many = [inputs] if isinstance(inputs, str) else inputs
        return [[float(len(text)), float(ord(text[0])) if text else 0.0] for text in many]
    df = json.loads(request.json()["df"])
    rows = [
        dict(zip(df, values, strict=True)) for values in zip(*(v.values() for v in df.values()), strict=True)
    ]
    numbers = [[v for v in row.values() if isinstance(v, (int, float))] for row in rows]
    time.sleep(0.01)
    return {
        "prediction": [sum(row) for row in numbers],
        "confidence": [1 / (1 + len(row)) for row in numbers],
        "lower": [sum(row) - 1 for row in numbers],
        "upper": [sum(row) + 1 for row in numbers],
        "note": [str(len(row)) for row in numbers],
        "version": 7,
    }


@cache
def summing_server() -> Server:
    """One for all tests that only need answers."""
    return Server(sums)


def conformance() -> list[Case]:
    """What the remote handlers are checked with."""
    url = summing_server().url
    urls = {"url.predict": f"{url}/predict", "url.train": f"{url}/train"}
    asked = {"url.predict": f"{url}/invocations", "dtype_dict": {"rent": "float"}}
    texts = {
        "task": "text-classification",
        "input_column": "place",
        "base_url": f"{url}/hf",
        "api_format": "hf",
    }
    chat = {"model_name": "m", "base_url": f"{url}/v1", "prompt_template": "Where is {{place}}?"}
    return [
        Case(RayServeEngine, urls),
        Case(MLflowEngine, asked),
        Case(HuggingFaceEngine, {**texts, "api_key": "k3y"}, name="HuggingFace"),
        Case(HuggingFaceEngine, {**texts, "task": "feature-extraction"}, name="embeddings"),
        Case(OpenAIEngine, chat, name="OpenAI"),
        Case(OpenAIEngine, {**chat, "json_schema": {"size": "BIGINT", "begin": "VARCHAR"}}, name="OpenAI-columns"),
        Case(OpenAIEngine, {**chat, "mode": "embedding"}, name="OpenAI-embeddings"),
    ]
