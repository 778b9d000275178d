"""Owns what a query string says to a model's endpoint: flags and options of ours, typed parameters of its estimator.

What is left over are columns (GET) or parameters (PUT).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindsql.engine import ANY_OPTION, Option
from mindsql.errors import UnknownNameError, suggest
from mindsql.server.http.faults import RequestError, UnprocessableError

_TRUE, _FALSE = frozenset({"", "1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_NOTHING = frozenset({"none", "null", ""})
FLAGS = tuple(sorted(_TRUE | _FALSE))
CLASS, ESTIMATOR = "class", "estimator"
"""Gramex' word for what USING calls an estimator."""
TARGET = "target_col"
ACTIONS = ("predict", "score", "train", "retrain", "append")


@dataclass(frozen=True)
class Query:
    """A query string: names and values in their order."""

    pairs: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """The values of a name."""
        return [value for key, value in self.pairs if key == name]

    def one(self, name: str) -> str | None:
        """The value of a name that may come once. Raises UnprocessableError."""
        found = self.all(name)
        if len(found) > 1:
            raise UnprocessableError(f'"{name}" is given {len(found)} times', hint="give it once")
        return found[0] if found else None

    def flag(self, name: str) -> bool:
        """Whether a flag is set: `?_retrain`, `?_retrain=1`. Raises UnprocessableError."""
        value = self.one(name)
        if value is None or value.casefold() in _FALSE:
            return False
        if value.casefold() in _TRUE:
            return True
        raise UnprocessableError(f'"{name}" is a flag: 1 or 0, not {value!r}')

    def without(self, names: Iterable[str]) -> Query:
        """What is left when these names are taken out."""
        taken = frozenset(names)
        return Query(tuple(pair for pair in self.pairs if pair[0] not in taken))

    def none_left(self, known: Sequence[str]) -> None:
        """Raise UnprocessableError for a name that nobody has taken, with the nearest of `known`."""
        if self.pairs:
            name = self.pairs[0][0]
            raise UnprocessableError(f'"{name}" has no meaning here', hint=suggest(name, known))


def choice(query: Query, name: str, known: Sequence[str], default: str) -> str:
    """One word out of several. Raises UnprocessableError."""
    value = query.one(name)
    if value is None:
        return default
    if value.casefold() not in known:
        raise UnprocessableError(f"{name} cannot be {value!r}", hint=suggest(value, known))
    return value.casefold()


def actions(query: Query) -> list[str]:
    """What to do with the posted rows: one action, or `append` with one that trains."""
    found = [action.casefold() for value in query.all("_action") for action in value.split(",")]
    for action in found:
        if action not in ACTIONS:
            raise RequestError(f"there is no action {action!r}", hint=suggest(action, ACTIONS))
    if query.flag("_retrain"):
        found.append("train")
    kinds = list(dict.fromkeys("train" if action == "retrain" else action for action in found)) or ["predict"]
    if len(kinds) > 1 and sorted(kinds) != ["append", "train"]:
        raise RequestError(f"the actions {' and '.join(kinds)} do not go together")
    return kinds


def number(query: Query, name: str, default: float, most: float) -> float:
    """A number of seconds from 0 to `most`. Raises UnprocessableError."""
    value = query.one(name)
    if value is None:
        return default
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found <= most:
        raise UnprocessableError(f"{name} takes a number from 0 to {most:g}, not {value!r}")
    return found


def estimator(
    query: Query, known: Callable[[Mapping[str, Any]], Sequence[Option]], now: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that a query string gives, typed as the engine declares them.

    Args:
        query: Nothing but `class` and parameters.
        known: The options there are, given some of them (`Engine.options_for`).
        now: The options that the model has, of which `class` may be one.

    Returns:
        Option → value, for USING.

    Raises:
        UnprocessableError: An unknown class or parameter, with the nearest name; a value of another type.
    """
    given: dict[str, Any] = {}
    name = query.one(CLASS)
    if name is not None:
        given[ESTIMATOR] = name
    keys = list(dict.fromkeys(key for key, _ in query.without([CLASS]).pairs))
    chosen = {ESTIMATOR: now[ESTIMATOR]} if ESTIMATOR in now else {}
    try:
        options = known({**chosen, **dict.fromkeys(keys), **given})
    except UnknownNameError as error:
        raise UnprocessableError(error.message, hint=error.hint) from error
    by_name = {word: option for option in options for word in (option.name, *option.aliases)}
    for key in keys:
        option = by_name.get(key) or by_name.get(ANY_OPTION.name)
        if option is None:
            what = name or now.get(ESTIMATOR) or "the model"
            raise UnprocessableError(f'{what} has no parameter "{key}"', hint=suggest(key, by_name))
        given[key] = _typed(option, key, query.all(key))
    return given


def _typed(option: Option, key: str, texts: list[str]) -> Any:
    if len(texts) > 1:
        if option.type not in ("array", "any"):
            raise UnprocessableError(
                f'the parameter "{key}" is given {len(texts)} times', hint="give it once"
            )
        return [_literal(text) for text in texts]
    text = texts[0]
    if text.casefold() in _NOTHING and not (option.type == "string" and option.choices):
        return None
    match option.type:
        case "string":
            return text
        case "integer" | "float":
            return _number(option, key, text)
        case "boolean":
            if text.casefold() in _TRUE | _FALSE:
                return text.casefold() in _TRUE
            raise _wrong(key, "true or false", text)
        case "array":
            value = _literal(text)
            return value if isinstance(value, list) else [value]
        case "object":
            value = _literal(text)
            if not isinstance(value, dict):
                raise _wrong(key, "a JSON object", text)
            return value
        case _:
            return _literal(text)


def _number(option: Option, key: str, text: str) -> float:
    try:
        value = float(text) if option.type == "float" else int(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:
        raise _wrong(key, "a whole number" if option.type == "integer" else "a number", text)
    return value


def _literal(text: str) -> Any:
    """A value whose type only its form tells: JSON, Python's None, True and False, else text."""
    word = {"none": None, "true": True, "false": False}
    if text.casefold() in word:
        return word[text.casefold()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _wrong(key: str, kind: str, text: str) -> UnprocessableError:
    return UnprocessableError(f'the parameter "{key}" takes {kind}, not {text[:60]!r}')
