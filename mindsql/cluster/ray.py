"""Owns the Ray cluster of this process: it is connected to or started, has parts answered in order, and is stopped.

Ray places the tasks, runs those of a worker or a node that died again, and spills what does not fit. Parts are handed
out a few ahead of the one that is read next, so that neither side holds many.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mindsql.errors import (
    DataError,
    EngineMissingError,
    EngineProcessError,
    MindSQLError,
    StatementError,
    spoken,
)
from mindsql.execution import ExecutionContext

if TYPE_CHECKING:
    from mindsql.cluster.job import Answer, Job, Part

LOCAL = "local"
_PREFIX = "ray"
_RETRIES = 3
_WAIT_SECONDS = 0.05
_PROBE_SECONDS = 5.0
_CLUSTERS: dict[str, Cluster] = {}
_LOCK = threading.Lock()


def connected(executor: str) -> str:
    """An executor that can be used: `local`, or one whose cluster is connected to now. Raises as `cluster` does."""
    given = executor.strip()
    host, separator, port = given.removeprefix("ray://").rpartition(":")
    if given.casefold() == LOCAL:
        return LOCAL
    if given.casefold() == _PREFIX:
        given = _PREFIX
    elif not (given.startswith("ray://") and separator and host and port.isdigit()):
        raise StatementError(f'"{executor}" is no executor', hint="there are: 'local', 'ray', 'ray://host:port'")
    cluster(given)
    return given


def cluster(executor: str) -> Cluster:
    """The cluster of an executor, connected to or started when it is first asked for.

    Args:
        executor: `ray`, for the cluster that RAY_ADDRESS names, the one that this process is connected to, or one that
            is started here; `ray://host:port` for a Ray client server.

    Raises:
        EngineMissingError: Ray is not installed.
        StatementError: No cluster answers there, or another one is connected to.
    """
    with _LOCK:
        found = _CLUSTERS.get(executor)
        if found is not None and found.alive():
            return found
        address = os.environ.get("RAY_ADDRESS", "") if executor == _PREFIX else executor
        if ":" in address:
            _probe(address)
        other = next((name for name, one in _CLUSTERS.items() if one.alive() and name != executor), None)
        if other is not None:
            raise StatementError(
                f'this process is connected to "{other}"', hint="one process has one cluster: start another process"
            )
        _CLUSTERS[executor] = Cluster(executor)
        return _CLUSTERS[executor]


class Cluster:
    """A connection to a Ray cluster; made by `cluster`."""

    def __init__(self, executor: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineMissingError(
                "the executor ray needs the package ray", hint="pip install 'mindsql-server[cluster]'"
            ) from error
        self._ray: Any = ray
        if not ray.is_initialized():
            # Without an address Ray would look for what another program started here, and wait for it if it is dead.
            address = (os.environ.get("RAY_ADDRESS") or "local") if executor == _PREFIX else executor
            options: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
            if address == "local":
                options["include_dashboard"] = False
            logging.getLogger("ray").setLevel(logging.ERROR)
            try:
                ray.init(**options)
            except Exception as error:  # Ray raises its own, ConnectionError, RuntimeError, ValueError …
                said = " ".join(line.strip() for line in spoken(error).splitlines()[:3])
                raise StatementError(
                    f'the cluster "{executor}" cannot be used: {said}',
                    hint="its Ray and Python must be those of this process; where it asks for a token, "
                    "RAY_AUTH_MODE=token must be set",
                ) from error
        self._answer = ray.remote(max_retries=_RETRIES, retry_exceptions=False, num_cpus=1)(_answer)
        self._stored: dict[str, Any] = {}

    def alive(self) -> bool:
        """Whether the connection stands."""
        return bool(self._ray.is_initialized())

    def width(self) -> int:
        """How many parts are answered at once."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def store(self, key: str, files: Callable[[], Mapping[str, bytes]]) -> Any:
        """Put a model's artifacts where every node finds them, once; each node then fetches them once."""
        if key not in self._stored:
            self._stored[key] = self._ray.put(dict(files()))
        return self._stored[key]

    def run(self, job: Job, parts: Sequence[Part], execution: ExecutionContext) -> Iterator[tuple[Part, Answer]]:
        """Have parts answered, and give their answers in order.

        Raises:
            MindSQLError: What failed in a part.
            EngineProcessError: A part's worker died again and again.
            Cancelled: The statement was stopped.
        """
        shared = self._ray.put(job)
        ahead = 2 * self.width()
        waiting = iter(parts)
        running: deque[tuple[Part, Any]] = deque()
        try:
            while True:
                while len(running) < ahead and (part := next(waiting, None)) is not None:
                    running.append((part, self._answer.remote(shared, part)))
                if not running:
                    return
                part, task = running[0]
                answer = self._wait(task, part, execution)
                running.popleft()
                answer.check()
                yield part, answer
        finally:
            for _, task in running:
                with suppress(Exception):  # it may be done, and the cluster gone
                    self._ray.cancel(task, force=True)

    def _wait(self, task: Any, part: Part, execution: ExecutionContext) -> Answer:
        exceptions = self._ray.exceptions
        while True:
            execution.check()
            done, _ = self._ray.wait([task], timeout=_WAIT_SECONDS)
            if done:
                break
        try:
            answer: Answer = self._ray.get(task)
            return answer
        except exceptions.OutOfMemoryError as error:
            raise EngineProcessError(
                f"a node of the cluster has not enough memory for {part}", hint="give its workers more memory"
            ) from error
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError) as error:
            raise EngineProcessError(
                f"the worker of {part} died {_RETRIES + 1} times: {type(error).__name__}",
                hint="ray logs tells why; SET executor = 'local' answers here",
            ) from error
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, MindSQLError):
                raise cause from None
            raise DataError(
                f"a node of the cluster failed on {part}: {spoken(cause if cause is not None else error)}",
                hint="mindsql must be installed on every node, and see the files by the same paths",
            ) from error
        except exceptions.RayError as error:
            raise EngineProcessError(f"the cluster failed on {part}: {spoken(error).splitlines()[0]}") from error


def _answer(job: Job, part: Part) -> Answer:
    """Runs on a node."""
    import ray

    from mindsql.cluster import worker

    return worker.answer(job, part, ray.get)


def _probe(address: str) -> None:
    """Raise StatementError unless something listens at an address: Ray itself would try for half a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise StatementError(
            f'no cluster answers at "{address}": {error.strerror or error}',
            hint="ray start --head starts one; ray:// is for its client server, --ray-client-server-port=10001",
        ) from error
