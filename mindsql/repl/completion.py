"""Owns completion at the prompt: which kind of name can stand where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from mindsql.engine import Task
from mindsql.formats import FORMATS
from mindsql.repl.catalog import Names

_NAME = r"(?:[\w$]+|\"[^\"]*\"|`[^`]*`)"
_FRAGMENT = re.compile(rf"(?:(?P<owner>{_NAME}(?:\.{_NAME})*)\.)?(?P<word>[\w$]*)$")
_RELATION = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|,)\s*(?P<name>{_NAME}(?:\.{_NAME})*)(?:\s+(?:AS\s+)?(?P<alias>{_NAME}))?",
    re.IGNORECASE,
)
_ENGINE = re.compile(r"\bengine\s*=\s*['\"]?(\w+)", re.IGNORECASE)
# What stands before the cursor, and what may follow it; the first that matches counts.
_CONTEXTS: tuple[tuple[str, str], ...] = (
    (r"\bENGINE\s*=\s*['\"]?", "handlers"),
    (r"\bESTIMATOR\s*=\s*['\"]?|\b(?:DESCRIBE|DESC)\s+ESTIMATOR\s+", "estimators"),
    (r"\bSHOW\s+ESTIMATORS\s+FOR\s+", "tasks"),
    (r"\bML_ENGINE\s+(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+FROM\s+", "handlers"),
    (r"\b(?:MODEL|PREDICTOR|RETRAIN|FINETUNE|EVALUATE)\s+(?:IF\s+EXISTS\s+)?", "models"),
    (r"\b(?:HANDLER|ML_ENGINE)\s+(?:IF\s+EXISTS\s+)?", "handlers"),
    (r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|DESCRIBE|DESC|SUMMARIZE)\s+", "relations"),
    (r"\b(?:FROM|JOIN)\s[^();]*,\s*", "relations"),
    (r"\bUSING\s+(?:(?:(?!\bSELECT\b)[^;])*,\s*)?", "options"),
)
_COMPILED = [(re.compile(pattern + r"$", re.IGNORECASE), kind) for pattern, kind in _CONTEXTS]
_SYNTAX = re.compile(
    r"ON|WHERE|USING|GROUP|ORDER|LIMIT|JOIN|LEFT|INNER|CROSS|AS|PREDICT|SET|VALUES|SELECT|HAVING|UNION",
    re.IGNORECASE,
)


class SQLCompleter(Completer):
    """Completes from names that are read when they are first asked for."""

    def __init__(
        self, names: Callable[[], Names], commands: Iterable[str], words: Callable[[], Iterable[str]]
    ) -> None:
        self._names = names
        self._commands = sorted(commands)
        self._words = words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        if before.lstrip().startswith("."):
            yield from self._command(before.lstrip())
            return
        fragment = _FRAGMENT.search(before)
        if fragment is None:
            return
        word, names = fragment["word"], self._names()
        statement = before.rpartition(";")[2]
        lead = statement[: len(statement) - len(fragment.group())]
        for text, kind in self._candidates(names, fragment["owner"], lead, statement, document.text):
            if text.casefold().startswith(word.casefold()) and text != word:
                shown = text.lower() if kind == "keyword" and word and word.islower() else text
                yield Completion(shown, start_position=-len(word), display_meta=kind)

    def _command(self, text: str) -> Iterator[Completion]:
        head, blank, rest = text.partition(" ")
        choices = FORMATS if blank and head == ".mode" else () if blank else self._commands
        word = rest if blank else head
        for choice in choices:
            if choice.startswith(word):
                yield Completion(choice, start_position=-len(word))

    def _candidates(
        self, names: Names, owner: str | None, lead: str, statement: str, text: str
    ) -> Iterator[tuple[str, str]]:
        relations = dict(_relations(text))
        if owner is not None:
            columns = names.columns(relations.get(owner.casefold(), owner))
            yield from ((column, "column") for column in columns)
            prefix = owner + "."
            yield from (
                (name.removeprefix(prefix), "relation")
                for name in [*names.tables, *names.models]
                if name.startswith(prefix)
            )
            yield from ((name, "table") for name in names.tables_of(owner))
            return
        kind = next((kind for pattern, kind in _COMPILED if pattern.search(lead)), "any")
        if kind == "handlers":
            yield from ((name, "handler") for name in names.handlers)
            return
        if kind == "estimators":
            yield from ((name, "estimator") for name in names.estimators())
            return
        if kind == "tasks":
            yield from ((name, "task") for name in get_args(Task) if name != "other")
            return
        if kind == "options":
            engine = _ENGINE.search(statement)
            asked = names.options.get(engine.group(1)) if engine else None
            every = [option for options in names.options.values() for option in options]
            found = asked if asked is not None else ["engine", *every]
            yield from ((option, "option") for option in dict.fromkeys(found))
            return
        if kind in ("models", "relations"):
            if kind == "relations":
                yield from ((name, "table") for name in names.tables)
                yield from ((name, "database") for name in names.sources)
            yield from ((name, "model") for name in names.models)
            return
        seen = dict.fromkeys(column for name in relations.values() for column in names.columns(name))
        yield from ((column, "column") for column in seen)
        yield from ((word, "keyword") for word in dict.fromkeys([*self._words(), *names.keywords]))
        yield from ((name, "table") for name in names.tables)
        yield from ((name, "model") for name in names.models)


def _relations(text: str) -> Iterator[tuple[str, str]]:
    """Alias (or name) to name, of each relation that a statement mentions."""
    for match in _RELATION.finditer(text):
        name, alias = match["name"], match["alias"]
        yield name.casefold(), name
        yield name.rpartition(".")[2].casefold(), name
        if alias and not _SYNTAX.fullmatch(alias):
            yield alias.casefold(), name
