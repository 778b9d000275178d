"""An engine that does to its process what the option `how` says, in `create`, `predict` or `load`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

from mindsql.engine import Args, Capabilities, Engine, Option, Summary
from mindsql.schema import Schema


class Hostile(Engine):
    options = (Option("how", default=""), Option("where", default="predict"))
    capabilities = Capabilities(deterministic=False, batch_rows=20_000)

    def create(self, target: str, df: Any = None, args: Args | None = None) -> None:
        assert args is not None
        model = {"target": target, "inputs": list(args["schema"].without(target).pairs()), **args["using"]}
        self.model_storage.json_set("model", model)
        folder = self.model_storage.folder_get("kept")
        with open(os.path.join(folder, "number"), "w") as file:
            file.write("1")
        self.model_storage.folder_sync("kept")
        self._do("create")

    def summary(self) -> Summary:
        model = self.model_storage.json_get("model")
        return Summary(Schema.of(model["inputs"]), Schema.of([(model["target"], "BIGINT")]))

    def load(self, args: Args | None = None) -> None:
        self._do("load")

    def predict(self, df: Any, args: Args | None = None) -> Any:
        import pandas as pd

        self.model_storage.folder_get("kept")
        self._do("predict")
        target = self.model_storage.json_get("model")["target"]
        return pd.DataFrame({target: [os.getpid()] * len(df)})

    def _do(self, where: str) -> None:
        model = self.model_storage.json_get("model")
        if model["where"] == where:
            getattr(self, "_" + model["how"])()

    def _nothing(self) -> None:
        pass

    def _pause(self) -> None:
        time.sleep(0.05)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _segfault(self) -> None:
        ctypes.string_at(0)

    def _exit(self) -> None:
        sys.exit(3)

    def _exit_now(self) -> None:
        os._exit(3)

    def _raise(self) -> None:
        raise KeyError("garbage")

    def _memory(self) -> None:
        held = [bytearray(1 << 20) for _ in range(8 << 10)]
        raise AssertionError(len(held))

    def _hang(self) -> None:
        time.sleep(3600)

    def _hang_without_python(self) -> None:
        ctypes.PyDLL(None).sleep(3600)  # holds the interpreter's lock

    def _fork_bomb(self) -> None:
        while True:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            time.sleep(0.002)

    def _children(self) -> None:
        if os.fork() == 0:
            time.sleep(3600)
        os.kill(os.getpid(), signal.SIGKILL)

    def _stdout(self) -> None:
        for _ in range(20_000):
            print("x" * 100)
        os.write(1, b"x" * 100_000)

    def _stderr(self) -> None:
        for _ in range(20_000):
            os.write(2, b"y" * 100 + b"\n")
