"""Owns how door tests meet a door: a real process with pipes, or a real terminal with a screen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

MINDSQL = [sys.executable, "-m", "mindsql.cli"]
PATIENCE = 30.0
"""Seconds after which a terminal that does not show what it should is given up; no speed is tested here."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command() -> list[str]:
    """How `mindsql` is started."""
    return MINDSQL


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is read or written."""
    return {
        **os.environ,
        "MINDSQL_HISTORY": str(tmp_path / "history"),
        "PYTHONIOENCODING": "utf-8",
        "TERM": "xterm-256color",
    }


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run `mindsql` with arguments and a text as its stdin, in an empty folder."""

    def call(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MINDSQL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=environment,
            timeout=120,
        )

    return call


class Terminal:
    """`mindsql` on a terminal of 100 × 50."""

    def __init__(self, arguments: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(100, 50)
        self._stream = pyte.ByteStream(self._screen)
        command = [*MINDSQL, *arguments]
        self.process = pexpect.spawn(
            command[0], command[1:], cwd=str(cwd), env=environment, dimensions=(50, 100)
        )

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).strip()

    def type(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def clear(self) -> None:
        """Forget what is on the screen, and draw an empty prompt."""
        self._screen.reset()
        self.type("\x0c")
        self.wait("mindsql>")

    def wait(self, *expected: str) -> str:
        """Wait until the screen shows all of these; gives its text."""
        deadline = time.monotonic() + PATIENCE
        while not all(text in self.text for text in expected):
            assert time.monotonic() < deadline, f"waited for {expected}, the screen shows:\n{self.text}"
            self._read(0.1)
        return self.text

    def press_until(self, key: str, expected: str) -> None:
        """Press a key now and then until the screen shows this: what it needs is loaded in the background."""
        deadline = time.monotonic() + PATIENCE
        while expected not in self.text:
            assert time.monotonic() < deadline, f"waited for {expected}, the screen shows:\n{self.text}"
            self.type(key)
            for _ in range(5):
                self._read(0.1)

    def _read(self, seconds: float) -> None:
        try:
            data = self.process.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            pytest.fail(f"ended too early:\n{self.text}")
        self._stream.feed(data)
        if b"\x1b[6n" in data:
            cursor = self._screen.cursor
            self.process.send(f"\x1b[{cursor.y + 1};{cursor.x + 1}R")

    def started(self) -> None:
        """Wait until the prompt has given the terminal to the statement: then Ctrl-C is a signal."""
        self.process.expect_exact("\x1b[?2004l", timeout=PATIENCE)
        self._stream.feed(self.process.before)

    def end(self) -> int:
        """Wait for the end of the process; gives its exit status."""
        self.process.expect(pexpect.EOF, timeout=PATIENCE)
        self.process.close()
        status = self.process.exitstatus
        assert status is not None
        return int(status)


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Open `mindsql` on a terminal and wait for its prompt."""
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(list(arguments), tmp_path, environment))
        opened[-1].wait("mindsql>")
        return opened[-1]

    yield start
    for one in opened:
        one.process.close(force=True)
