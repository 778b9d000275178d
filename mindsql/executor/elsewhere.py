"""Owns what the executor asks of whoever answers parts of a plan on other machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from mindsql.batches import Batches
from mindsql.executor.pipeline import OperatorMetrics
from mindsql.planner.operators import Operator, Plan

Measured: TypeAlias = "Callable[[Operator], OperatorMetrics | None]"
"""Gives what is measured of an operator; None when nothing is."""


class Elsewhere(Protocol):
    """Answers parts of one plan on other machines.

    Attributes:
        plan: The plan, as it is best answered there.
    """

    plan: Plan

    def takes(self, operator: Operator) -> bool:
        """Whether it answers an operator and all below it."""

    def inside(self, operator: Operator) -> bool:
        """Whether an operator is, or is below, one that it answers."""

    def batches(self, operator: Operator, measured: Measured) -> Batches:
        """The rows of an operator that it takes."""

    def place(self, operator: Operator) -> str:
        """Where an operator is answered, as EXPLAIN shows it; empty where there is nothing to say."""

    def copied(self, measured: Measured) -> int | None:
        """Write the rows of the plan's COPY; how many they are, or None when they are to be written here."""
