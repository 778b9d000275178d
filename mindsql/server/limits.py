"""Owns how often and how many: requests of one token, wrong tokens and open connections of one address."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from mindsql.errors import LimitError
from mindsql.server.principal import Principal

FAILURES_PER_MINUTE = 100
_MOST = 10_000
"""How many tokens and addresses are remembered; the one seen longest ago is forgotten first."""


class Connections:
    """How many connections are open, by address: one that takes them all locks everybody else out.

    Args:
        most: Over all addresses, so that files can be opened still; half of them may be of one address.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    @classmethod
    def for_process(cls) -> Connections:
        """Four fifths of the files that this process may open."""
        try:
            import resource
        except ImportError:  # not on this system
            return cls(1_000)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(10_000 if soft == resource.RLIM_INFINITY else max(2, min(10_000, soft * 4 // 5)))

    def enter(self, address: str) -> bool:
        """Count a connection; False when it is one too many."""
        with self._lock:
            if self._open.total() >= self.most or self._open[address] >= max(1, self.most // 2):
                return False
            self._open[address] += 1
            return True

    def leave(self, address: str) -> None:
        """A connection that had entered is closed."""
        with self._lock:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]


CONNECTIONS = Connections.for_process()
"""Those of this process, whatever door they came by."""


class Bucket:
    """A token bucket: `per_minute` may come at once, and then as many as a minute brings.

    Args:
        clock: Seconds, from any beginning.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._most = float(per_minute)
        self._left = float(per_minute)
        self._clock = clock
        self._at = clock()

    def take(self) -> float:
        """Take one; 0 when there was one, else the seconds until there is."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


class RateLimits:
    """The buckets of one server. Any thread may call.

    Args:
        clock: Seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def spend(self, principal: Principal) -> None:
        """Count one request: over HTTP a request, over MySQL a statement. Raises LimitError."""
        if principal.requests_per_minute is None:
            return
        wait = self._take(("token", principal.token), principal.requests_per_minute)
        if wait:
            raise LimitError(
                f"this token may send {principal.requests_per_minute} requests a minute",
                hint=f"wait {wait:.0f} s",
                retry_after=wait,
            )

    def failed(self, address: str) -> None:
        """Count one wrong secret. Raises LimitError."""
        wait = self._take(("address", address), FAILURES_PER_MINUTE)
        if wait:
            raise LimitError("too many wrong tokens came from this address", retry_after=wait)

    def _take(self, key: tuple[str, str], per_minute: int) -> float:
        with self._lock:
            bucket = self._buckets.pop(key, None) or Bucket(per_minute, self._clock)
            self._buckets[key] = bucket
            while len(self._buckets) > _MOST:
                self._buckets.popitem(last=False)
            return bucket.take()
