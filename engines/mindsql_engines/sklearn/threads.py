"""Owns how many threads scikit-learn's loops and products take: one for little work, where sharing it costs more.

The threads of OpenMP and of BLAS wait for each other by spinning, so on few rows two threads can take ten times as
long as one when the machine is busy. OpenMP's limit holds for the calling thread, that of BLAS for the process.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

FEW_TO_PREDICT = 4096
FEW_TO_TRAIN = 20_000
_TOO_FEW_FOR_BLAS = 64  # rows whose products are never shared, and are over before a limit is set

_LOADED_BY = {"openmp": "sklearn.utils._openmp_helpers", "blas": "scipy.linalg"}


def few(rows: int, most: int) -> AbstractContextManager[Any]:
    """A context in which work on no more than `most` rows takes one thread."""
    if rows > most:
        return contextlib.nullcontext()
    if rows <= _TOO_FEW_FOR_BLAS:
        limit: AbstractContextManager[Any] = _libraries("openmp").limit(limits=1)
        return limit
    return _one_thread()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    with _libraries("openmp").limit(limits=1), _BLAS:
        yield


class _BlasLimit:
    """One thread for BLAS while anybody asks for it: the limits of two threads that overlap would undo each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._limit = _libraries("blas").limit(limits=1)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._limit.restore_original_limits()


_BLAS = _BlasLimit()


@cache
def _libraries(api: str) -> Any:
    from threadpoolctl import ThreadpoolController

    with contextlib.suppress(ImportError):  # a library must be in memory to be found
        importlib.import_module(_LOADED_BY[api])
    return ThreadpoolController().select(user_api=api)
