"""Owns the checking of USING: every option is known, given once, of its type; what is not given gets its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mindsql_grammar as grammar
from mindsql.engine import ANY_OPTION, Option
from mindsql.errors import StatementError, UnknownNameError
from mindsql.redaction import looks_secret
from mindsql.sandbox import Sandbox, paths_in

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


STRICT = Option("strict", "boolean", description="refuse a row that lacks an input; else it counts as missing")
"""What every model takes, in USING of SELECT, too."""


def check(
    given: Sequence[tuple[str, Any, tuple[int, int] | None]] | Mapping[str, Any],
    options: Sequence[Option],
    what: str,
) -> dict[str, Any]:
    """Check options against what is known.

    Args:
        given: `(key, value, span)` of each option, or a mapping of those. Values are Python values, or `Env`.
        options: The options there are.
        what: What they belong to, for the message: `the engine "sklearn"`.

    Returns:
        Key → value, keys as `Option.name`; a default of None is left out.

    Raises:
        UnknownNameError: An unknown option.
        StatementError: A value of the wrong type, a missing required option, one given twice under two names.
    """
    pairs = (
        [(key, value, None) for key, value in given.items()] if isinstance(given, Mapping) else list(given)
    )
    known = {name.casefold(): option for option in options for name in (option.name, *option.aliases)}
    result: dict[str, Any] = {}
    for key, value, span in pairs:
        option = known.get(key.casefold()) or known.get(ANY_OPTION.name)
        if option is None:
            raise UnknownNameError.of(
                f"option of {what}:",
                key,
                [o.name for o in options],
                span=span,
                hint=None if options else "it takes none",
            )
        name = key if option.name == ANY_OPTION.name else option.name
        if name in result:
            raise StatementError(f'the option "{name}" is given twice', span=span)
        result[name] = value if isinstance(value, grammar.Env) else typed(option, value, span)
    for option in options:
        if option.name in result:
            continue
        if option.required:
            raise StatementError(
                f'{what} needs the option "{option.name}"',
                hint=f"USING {option.name} = …"
                + (f"   ({option.description})" if option.description else ""),
            )
        if option.default is not None:
            result[option.name] = option.default
    return result


def secrecy(options: Sequence[Option]) -> Callable[[str], bool]:
    """Tells by its name whether an option must be hidden: as declared, or by its looks when it is not."""
    declared = {option.name: option.secret for option in options}
    return lambda name: declared[name] if name in declared else looks_secret(name)


def admit_files(given: Mapping[str, Any], options: Sequence[Option], sandbox: Sandbox | None) -> None:
    """Refuse checked options that name a file outside a sandbox. Raises AccessError."""
    for option in options:
        if sandbox is not None and option.file and given.get(option.name) is not None:
            for path in paths_in(given[option.name], option.name):
                sandbox.admit(path)


def typed(option: Option, value: Any, span: tuple[int, int] | None = None) -> Any:
    """A value as the option's type. Raises StatementError."""
    if value is None or option.type == "any":
        return value
    if option.type == "boolean" and isinstance(value, str) and value.casefold() in _WORDS:
        value = _WORDS[value.casefold()]
    if option.type == "boolean" and type(value) is int and value in (0, 1):
        value = bool(value)
    wanted = _TYPES[option.type]
    fits = isinstance(value, wanted) and not (isinstance(value, bool) and bool not in wanted)
    if option.type == "integer" and isinstance(value, float) and value.is_integer():
        value, fits = int(value), True
    if not fits:
        shown = "a secret" if option.secret else repr(value)
        raise StatementError(
            f'the option "{option.name}" takes {_article(option.type)}, not {shown}',
            hint=option.description or None,
            span=span,
        )
    if option.choices:
        for choice in option.choices:
            if value == choice or (isinstance(value, str) and value.casefold() == str(choice).casefold()):
                return choice
        raise StatementError(
            f'the option "{option.name}" cannot be {value!r}',
            hint="it is one of: " + ", ".join(repr(choice) for choice in option.choices),
            span=span,
        )
    low, high = option.minimum, option.maximum
    for bound, wrong, word in (
        (low, low is not None and value < low, "at least"),
        (high, high is not None and value > high, "at most"),
    ):
        if wrong:
            raise StatementError(
                f'the option "{option.name}" must be {word} {bound:g}, not {value!r}', span=span
            )
    return value


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeio" else f"a {word}"
