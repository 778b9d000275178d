"""Owns `mindsql serve --supervise`: a parent that starts the server anew when it dies, since a library that crashes
takes its process along."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

log = logging.getLogger("mindsql.server")

SUPERVISED = "MINDSQL_SUPERVISED"
"""Set in the environment of the server that is watched."""
_FINAL = (0, 2)
"""Statuses of a server that ended as it was asked to, or was asked for what cannot be."""
_LONGEST_WAIT = 30.0
_STEADY = 60.0
"""A server that ran so long before it died is started at once."""


def supervise(arguments: Sequence[str]) -> int:
    """Run `mindsql serve` with these arguments until it ends by itself or by a signal; give its exit status."""
    child: subprocess.Popen[bytes] | None = None
    stopping = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    wait = 0.0
    while True:
        begun = time.monotonic()
        command = [sys.executable, "-m", "mindsql.cli", "serve", *arguments]
        child = subprocess.Popen(command, env={**os.environ, SUPERVISED: "1"})
        if stopping:  # the signal came before there was a child
            child.send_signal(signal.SIGTERM)
        status = child.wait()
        if stopping or status in _FINAL:
            return status
        wait = 0.0 if time.monotonic() - begun > _STEADY else min(_LONGEST_WAIT, max(0.5, 2 * wait))
        log.warning("the server has ended with status %s, and is started anew", status)
        ends = time.monotonic() + wait
        while not stopping and time.monotonic() < ends:
            time.sleep(0.05)
        if stopping:
            return 0
