"""Owns what becomes of the warnings of libraries: ignored or collected for one thread, whatever others do meanwhile.

`warnings.catch_warnings` changes what holds for the whole process and puts back what it found: of two threads that do
so at once, the first to leave ends the other's silence, and the last leaves the first's behind for good.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()
_listeners: dict[int, list[deque[Warning]]] = {}
_process: list[warnings.catch_warnings[None]] = []


@contextmanager
def capture_warnings(most: int = 1000) -> Iterator[deque[Warning]]:
    """Inside, warnings are heard by who asks for them only.

    Args:
        most: How many are kept, the last ones.

    Yields:
        The warnings as they come: this thread's, and those of threads that collect none.
    """
    thread = threading.get_ident()
    found: deque[Warning] = deque(maxlen=most)
    with _lock:
        if not _listeners:
            _process.append(warnings.catch_warnings())
            _process[0].__enter__()
            warnings.simplefilter("always")
            warnings.showwarning = _hear
        _listeners.setdefault(thread, []).append(found)
    try:
        yield found
    finally:
        with _lock:
            _listeners[thread].pop()
            if not _listeners[thread]:
                del _listeners[thread]
            if not _listeners:
                _process.pop().__exit__(None, None, None)


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Inside, warnings are ignored."""
    with capture_warnings(0):
        yield


def _hear(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    warning = message if isinstance(message, Warning) else category(message)
    with _lock:
        # An unknown thread may be a helper of any that listens.
        own = _listeners.get(threading.get_ident())
        for stack in [own] if own else _listeners.values():
            stack[-1].append(warning)
