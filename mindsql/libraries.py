"""Owns which versions of which libraries are installed: recorded with every model version."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache

_LIBRARIES = ("mindsql-server", "numpy", "pandas", "scikit-learn", "pyarrow", "duckdb")


@cache
def installed_libraries() -> dict[str, str]:
    """Library → version, of those that a stored model may depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found["mindsql" if name == "mindsql-server" else name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
