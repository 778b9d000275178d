"""Owns the bring-your-own-model page's program as a Ray Serve application. `python ray_app.py port` runs it.

What Ray has removed since 2022 is replaced (`route_prefix` of the decorator, `deploy()`); the rest is as on the page.
"""

# No `from __future__ import annotations`: FastAPI must see types, and Ray ships this class without its module.
import os
import sys
import time
from typing import Any

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")

import byom_app
import ray
from fastapi import FastAPI, Request
from ray import serve

app = FastAPI()


@serve.deployment
@serve.ingress(app)
class MyModel:
    """The page's model, in a replica of Ray Serve."""

    def __init__(self) -> None:
        self.own = byom_app.MyModel()

    @app.post("/train")
    async def train(self, request: Request) -> Any:
        return await self.own.train(request)

    @app.post("/predict")
    async def predict(self, request: Request) -> Any:
        return await self.own.predict(request)


def main(port: int) -> None:
    """Run until the process is ended."""
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", object_store_memory=128 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(MyModel.bind(), name="byom", route_prefix="/my_model")
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
