"""Owns the environment that MLflow and Ray run in: their pins would hold back the libraries that MindSQL is tested with
(MLflow 3.17 wants pyarrow < 26), so they are installed apart, once, in the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = (
    "fastapi",
    "mlflow>=3.17,<3.18",  # 3.18.0 wants an mlflow-skinny that does not exist
    "pandas>=2.2",
    "pyarrow>=20",
    "ray[serve]>=2.40,<3",
    "scikit-learn>=1.6,<2",
    "skops>=0.13,<1",
    "uvicorn",
)


def python() -> str:
    """The Python with MLflow and Ray; the first call on a machine installs them."""
    key = hashlib.sha256(f"{sys.version}\n{REQUIREMENTS}".encode()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "mindsql-tests" / f"servers-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    found, done = folder / "env" / "bin" / "python", folder / "installed"
    with (folder / "lock").open("w") as lock:
        # The workers of one test run, or of several, install it but once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / "env")], check=True)
            subprocess.run(
                [str(found), "-m", "pip", "install", "-q", "--no-input", *REQUIREMENTS],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            done.write_text(str(found))
        return done.read_text()
