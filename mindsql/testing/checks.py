"""Owns what a check is: a named function, a promise in one sentence, and to which engines it applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mindsql.engine import ANY_OPTION, BaseMLEngine, Engine
from mindsql.testing.subject import Subject

Applies = Callable[[type[Engine]], bool]


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Attributes:
        name: The function's name, `check_…`.
        promise: What an engine must keep: the first line of the function's docstring.
        function: Raises CheckFailed, or whatever the engine raises, when the promise is broken.
        applies: Whether an engine makes the promise, by its capabilities and methods.
    """

    name: str
    promise: str
    function: Callable[[Subject], None]
    applies: Applies


CHECKS: list[Check] = []
"""All checks, in the order they run."""


def check(
    applies: Applies = lambda cls: True,
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Make a function a check."""

    def add(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        promise = (function.__doc__ or "").strip().splitlines()[0]
        CHECKS.append(Check(function.__name__, promise, function, applies))
        return function

    return add


def implements(method: str) -> Applies:
    """Engines that have a method of their own."""
    return lambda cls: getattr(cls, method) not in (getattr(Engine, method), getattr(BaseMLEngine, method))


def declares_options(cls: type[Engine]) -> bool:
    """Engines that take no other options than they declare."""
    return ANY_OPTION not in cls.options


def repeatable(cls: type[Engine]) -> bool:
    """Engines whose answer depends on the row alone, and is the same each time."""
    return cls.capabilities.deterministic and cls.capabilities.row_wise
