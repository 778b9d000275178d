"""Owns the connection and the servers that tests of engines share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import processes

import mindsql
from mindsql.connection import Connection

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}


@pytest.fixture
def con() -> Iterator[Connection]:
    """A connection in memory."""
    with mindsql.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def byom_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bring-your-own-model application under uvicorn."""
    log = tmp_path_factory.mktemp("byom") / "log"
    with processes.uvicorn("byom_app:app", "/openapi.json", log) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of `servers/mlflow_models.py`."""
    folder = tmp_path_factory.mktemp("mlflow")
    script = str(processes.HERE / "mlflow_models.py")
    subprocess.run(
        [sys.executable, script, str(folder)],
        check=True,
        env={**os.environ, **QUIET},
        stderr=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture
def mlflow_sizes(mlflow_models: Path) -> Iterator[str]:
    """`mlflow models serve` of a scikit-learn pipeline with a signature; its URL."""
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "-m", str(mlflow_models / "sizes")),
        *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"),
    ]
    env = {**QUIET, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with processes.process(command, url + "/ping", mlflow_models / "sizes.log", env):
        yield url


@pytest.fixture
def mlflow_shapes(mlflow_models: Path) -> Iterator[str]:
    """The scoring server of a model that answers in many shapes; its URL."""
    env = {**QUIET, "__pyfunc_model_path__": str(mlflow_models / "shapes")}
    application = "mlflow.pyfunc.scoring_server.app:app"
    with processes.uvicorn(application, "/ping", mlflow_models / "shapes.log", env) as url:
        yield url


@pytest.fixture
def ray_url(tmp_path: Path) -> Iterator[str]:
    """A real Ray Serve application with the page's endpoints; its URL."""
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(processes.HERE / "ray_app.py"), str(port)]
    with processes.process(command, url + "/my_model/openapi.json", tmp_path / "log", QUIET):
        yield url


@pytest.fixture
def mlflow_tracking(tmp_path: Path) -> Iterator[str]:
    """A real `mlflow server` whose registry has the models of `servers/mlflow_models.py`; its URL."""
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        *(
            "--artifacts-destination",
            str(tmp_path / "artifacts"),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-w",
            "1",
        ),
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**QUIET, "PATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    script = str(processes.HERE / "mlflow_models.py")
    with processes.process(command, url + "/health", tmp_path / "tracking.log", env):
        subprocess.run(
            [sys.executable, script, url],
            check=True,
            env={**os.environ, **QUIET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield url
