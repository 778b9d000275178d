"""Owns the threads that run statements. One that hangs in a call that nothing stops is given up, and another takes its
place: a fixed pool would lose a place for good with each."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """So many threads that take calls from one queue.

    Args:
        count: How many calls run at the same time.
    """

    def __init__(self, count: int) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: dict[int, Future[Any]] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._closed = False
        with self._lock:
            for _ in range(count):
                self._start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run something in a worker. Raises RuntimeError after `close`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the workers have ended")
            self._calls.put((future, call))
        return future

    @property
    def waiting(self) -> int:
        """How many calls wait for a worker."""
        return self._calls.qsize()

    def give_up(self, thread: int, error: BaseException) -> bool:
        """Answer what a thread runs with an error, and let another thread take its place.

        Args:
            thread: Its identity.

        Returns:
            Whether it was running something.
        """
        with self._lock:
            future = self._running.pop(thread, None)
            if future is None:
                return False
            self._threads.pop(thread, None)
            if not self._closed:
                self._start()
        with suppress(Exception):  # it ended in this very moment
            future.set_exception(error)
        return True

    def close(self, seconds: float) -> bool:
        """Take no more calls, cancel those that wait, and wait so long for those that run. Returns whether all did
        end."""
        with self._lock:
            self._closed = True
            threads = list(self._threads.values())
        while True:
            try:
                waiting = self._calls.get_nowait()
            except queue.Empty:
                break
            if waiting is not None:
                waiting[0].cancel()
        for _ in threads:
            self._calls.put(None)
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start(self) -> None:
        # A thread that never ends must not keep the process from ending.
        thread = threading.Thread(target=self._execution, name="mindsql-statement", daemon=True)
        thread.start()
        assert thread.ident is not None
        self._threads[thread.ident] = thread

    def _execution(self) -> None:
        me = threading.get_ident()
        while True:
            taken = self._calls.get()
            if taken is None:
                return
            future, call = taken
            if not future.set_running_or_notify_cancel():
                continue
            with self._lock:
                self._running[me] = future
            try:
                result, error = call(), None
            except BaseException as raised:
                result, error = None, raised
            with self._lock:
                mine = self._running.pop(me, None) is future
            if not mine:
                return  # given up: nobody waits for this, and another thread has the place
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
            del taken, future, call, result, error
