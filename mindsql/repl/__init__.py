"""Owns the prompt: reading statements until their `;`, and the session that they run in."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import Condition, has_completions, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from mindsql.errors import Cancelled
from mindsql.repl import catalog
from mindsql.repl.commands import COMMANDS, PLAIN_WORDS, Quit, dispatch
from mindsql.repl.completion import SQLCompleter
from mindsql.repl.highlight import MindSQLLexer
from mindsql.repl.history import SafeHistory, path
from mindsql.script import Abandoned, Runner, ScriptOptions, diagnose, interruptible, notice

if TYPE_CHECKING:
    from mindsql.connection import Connection

PROMPT = "mindsql> "
CONTINUATION = "    ...> "
_PRELOADED = ("mindsql_grammar", "pyarrow", "rich.progress", "pandas", "sklearn")


class Repl:
    """A session at the prompt on one connection."""

    def __init__(self, connection: Connection, settings: ScriptOptions, file: str | None = None) -> None:
        self.settings = settings
        self.runner = Runner(connection, settings)
        self._file = file
        self._names: catalog.Names | None = None
        self._loaded = threading.Event()
        self._out: TextIO | None = None
        self._left_behind = False

    def loop(self) -> int:
        """Read and run until the user leaves. Gives the exit status."""
        notice(
            f"MindSQL on {self._file or 'a database in memory'}. Statements end with ; .help lists the rest."
        )
        session = self._session()
        try:
            while True:
                try:
                    text = session.prompt(PROMPT, pre_run=self._preload)
                except KeyboardInterrupt:
                    continue
                except EOFError:
                    return 0
                try:
                    self.handle(text)
                except KeyboardInterrupt:
                    diagnose(Cancelled("stopped"))
                except Quit:
                    return 0
        finally:
            self.output(None)
            if self._left_behind:
                # Closing the connection would wait for the statement that was left running on it.
                sys.stdout.flush()
                os._exit(0)

    def handle(self, text: str) -> None:
        """Run what was entered: statements or a dot-command."""
        text = text.strip()
        if not text:
            return
        try:
            text = PLAIN_WORDS.get(text.rstrip(";").strip().lower(), text)
            if text.startswith("."):
                dispatch(self, text)
            else:
                self.runner.run(text)
        except Abandoned as error:
            diagnose(error)
            self._left_behind = True
            self.runner.connection = self.runner.connection.cursor()
            notice("the session goes on over a new connection; temporary tables are gone")
        except Quit:
            raise
        except Exception as error:  # whatever it is, the session outlives it
            diagnose(error)
        finally:
            self._names = None

    def say(self, text: str) -> None:
        """Write a line where answers go."""
        print(text, file=self.runner.out, flush=True)

    def show(self, sql: str) -> None:
        """Run one statement of our own and show its rows."""
        self.runner.run_one(sql)

    def query(self, sql: str) -> list[Any]:
        """The rows of a query of our own."""
        connection = self.runner.connection
        return interruptible(connection, lambda stop: list(connection.execute(sql).fetchall()))

    def explain(self, sql: str) -> None:
        """Show the plan of a query."""
        connection = self.runner.connection
        self.say(str(interruptible(connection, lambda stop: connection.explain(sql.rstrip("; \n")))))

    def output(self, file: str | None) -> None:
        """Send answers to a file, or (None) back to the screen."""
        opened = open(file, "w", encoding="utf-8") if file is not None else None  # noqa: SIM115
        if self._out is not None:
            self._out.close()
        self._out = opened
        self.runner.out = opened if opened is not None else sys.stdout

    def names(self) -> catalog.Names:
        """Names for completion, read once after each statement; nothing is running while the prompt asks."""
        if not self._loaded.is_set():
            return catalog.Names()
        if self._names is None:
            self._names = catalog.read(self.runner.connection)
        return self._names

    def _session(self) -> PromptSession[str]:
        return PromptSession(
            history=SafeHistory(path()),
            auto_suggest=AutoSuggestFromHistory(),
            lexer=MindSQLLexer(self._words),
            completer=SQLCompleter(self.names, COMMANDS, self._words),
            complete_while_typing=False,
            enable_history_search=True,
            multiline=True,
            prompt_continuation=CONTINUATION,
            key_bindings=_bindings(),
        )

    def _words(self) -> frozenset[str]:
        if not self._loaded.is_set():
            return frozenset()
        from mindsql_grammar import KEYWORDS

        return frozenset(KEYWORDS)

    def _preload(self) -> None:
        """Import what the first statements need while the user types; the prompt is drawn already."""
        if self._loaded.is_set():
            return

        def load() -> None:
            import importlib

            for name in _PRELOADED:
                importlib.import_module(name)
                if name == "mindsql_grammar":
                    self._loaded.set()

        get_app().loop.call_later(0.05, threading.Thread(target=load, daemon=True).start)  # type: ignore[union-attr]


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @Condition
    def chosen() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and state.current_completion is not None

    @bindings.add("enter", filter=has_completions & chosen)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    @bindings.add("enter", filter=~is_searching & ~chosen)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_ready(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline()

    return bindings


def is_ready(text: str) -> bool:
    """Whether an entered text can be run: a dot-command, nothing at all, or statements up to their `;`."""
    bare = text.strip()
    if not bare or bare.startswith(".") or bare.lower() in PLAIN_WORDS:
        return True
    if not bare.endswith(";") and ";" not in bare:
        return False
    from mindsql_grammar import is_complete

    return is_complete(text)
