"""Owns how many threads scikit-learn's own loops take: one for little work, where sharing it costs more.

OpenMP threads wait for each other by spinning, so on few rows two threads can take ten times as long as one
when the machine is busy. The limit holds for the calling thread only.
"""

from __future__ import annotations

import contextlib
import importlib
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

FEW_TO_PREDICT = 4096
FEW_TO_TRAIN = 20_000


def few(rows: int, most: int) -> AbstractContextManager[Any]:
    """A context in which loops over no more than `most` rows take one thread."""
    if rows > most:
        return contextlib.nullcontext()
    limit: AbstractContextManager[Any] = _openmp().limit(limits=1)
    return limit


@cache
def _openmp() -> Any:
    from threadpoolctl import ThreadpoolController

    # The library must be in memory to be found.
    with contextlib.suppress(ImportError):
        importlib.import_module("sklearn.utils._openmp_helpers")
    return ThreadpoolController().select(user_api="openmp")
