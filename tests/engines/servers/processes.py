"""Owns servers in processes of their own: started once a session, bound to loopback, ended with all their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
_PATIENCE = 100.0


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    command: list[str], ready: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server process, from the moment its URL `ready` answers."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=HERE,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        try:
            ends = time.monotonic() + _PATIENCE
            while not _answers(ready):
                if server.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError(f"{command} is not ready:\n{log.read_text()[-4000:]}")
                time.sleep(0.1)
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(server.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    server.wait(15)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def uvicorn(
    application: str,
    ready: str,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """An ASGI application under uvicorn; gives its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), application]
    with process([*command, "--log-level", "warning"], url + ready, log, env):
        yield url
