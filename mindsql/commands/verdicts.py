"""Owns what the answer of a training says of the new version beside the one before, and whether it is to be active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql.snapshot import Version

_WELL_BELOW = 0.05
"""A score that is so much lower than the last one is worth a word."""


def notes(version: Version, before: Version | None, active: bool = True) -> list[str]:
    """What a user should know of a version that was just trained.

    Args:
        version: The complete version.
        before: The version that was active before it, if there was one.
        active: Whether the new one answers from now on.
    """
    found = list(version.summary.get("notes", ()))
    if version.settings.get("max_rows") is not None:
        found.append(f"max_rows = {version.settings['max_rows']}: of more rows it saw a sample, taken at random")
    name, figure, usual = _primary(version)
    if figure is not None and usual is not None and figure <= usual:
        found.append(
            f"it is no better than its baseline, which knows no inputs: {name} {figure:.3g}, baseline {usual:.3g}"
        )
    if before is None or not before.inputs:
        return found
    number = f"{before.model}.{before.number}"
    back = f"; SET active {number} goes back" if active else ""
    reasons: Mapping[str, str] = version.summary.get("left_out") or {}
    for column in before.inputs:
        if version.inputs.find(column.name) is None:
            reason = next((why for key, why in reasons.items() if key.casefold() == column.name.casefold()), "")
            found.append(
                f'"{column.name}" is no input any more{f" ({reason})" if reason else ""}; '
                f"{number} has it{back}"
            )
    old = before.summary.get("accuracy")
    if figure is not None and old is not None and figure < old - _WELL_BELOW * max(1.0, abs(old)):
        found.append(f"its {name} is {figure:.3g}, that of {number} was {old:.3g}{back}")
    if not active:
        found.append(f"{number} stays active; SET active {version.model}.{version.number} changes that")
    return found


def is_better(version: Version, before: Version | None) -> bool:
    """Whether a version is to replace the active one by its score; the first one always is."""
    if before is None:
        return True
    old, new = before.summary.get("accuracy"), version.summary.get("accuracy")
    return old is None or (new is not None and new > old)


def _primary(version: Version) -> tuple[str, float | None, float | None]:
    """The score that a version is judged by: its name, its value, and that of its baseline."""
    metrics: Mapping[str, Any] = version.summary.get("metrics") or {}
    baseline: Mapping[str, Any] = version.summary.get("baseline") or {}
    figure = version.summary.get("accuracy")
    name = next((name for name in ("accuracy", "r2") if name in metrics and metrics[name] == figure), "accuracy")
    return name, figure, baseline.get(name)
