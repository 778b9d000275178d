"""Owns how a plan is shown: one line for each operator, the last first, what it runs below it."""

from __future__ import annotations

from collections.abc import Callable

from mindsql.binder.tree import generate
from mindsql.planner.operators import (
    Operator,
    Output,
    Plan,
    Predict,
    Project,
    Scan,
    Values,
    inputs_of,
)

_MOST_TEXT = 4000


def explain(
    plan: Plan,
    measured: Callable[[Operator], str] = lambda operator: "",
    placed: Callable[[Operator], str] = lambda operator: "",
) -> str:
    """A plan as text.

    Args:
        plan: The plan.
        measured: What to add to an operator's line (EXPLAIN ANALYZE: rows, batches, seconds).
        placed: Where an operator is answered, if that is to be told.
    """
    lines: list[str] = []
    shown: set[int] = set()

    def show(operator: Operator, indent: int, name: str | None = None) -> None:
        pad = "  " * indent
        label = f"{name} = " if name else ""
        if id(operator) in shown:
            lines.append(f"{pad}{label}(as above)")
            return
        shown.add(id(operator))
        figures = measured(operator)
        lines.append(f"{pad}{label}{_title(operator, plan)}" + (f"  [{figures}]" if figures else ""))
        lines.extend(f"{pad}  {line}" for line in _details(operator, plan))
        lines.extend(f"{pad}  {line}" for line in (placed(operator),) if line)
        if isinstance(operator, (Scan, Output)):
            for key, child in operator.inputs.items():
                show(child, indent + 1, key)
        else:
            for child in inputs_of(operator):
                show(child, indent + 1)

    show(plan.root, 0)
    for kept in plan.kept:
        lines.append(f"{kept.name} = {'Write' if kept.writes is not None else 'Keep'}: {_short(generate(kept.tree))}")
    for name, (source, text) in plan.natives.items():
        lines.append(f"{name} = {source} ({text.strip()})")
    lines.extend(plan.notes)
    if plan.rules:
        lines.append("rules: " + ", ".join(plan.rules))
    return "\n".join(lines)


def _title(operator: Operator, plan: Plan) -> str:
    if isinstance(operator, Predict):
        version = operator.model.version
        return f"Predict {version.project}.{version.model}.{version.number} ({version.engine})"
    if isinstance(operator, Output) and plan.direct is not None and operator is plan.root:
        return "Output: no query, columns are picked"
    return type(operator).__name__


def _details(operator: Operator, plan: Plan) -> list[str]:
    if isinstance(operator, Predict):
        given = [
            name
            if source is not None and source.split(".", 1)[-1] == name
            else f"{name} = {source or 'NULL'}"
            for name, source in operator.inputs.items()
        ]
        lines = [f"inputs: {', '.join(given)}", f"outputs: {', '.join(operator.outputs) or 'none'}"]
        if operator.fallback_reason:
            lines.append(f"not as SQL: {operator.fallback_reason}")
        if operator.once:
            lines.append("equal rows: asked for once, where many repeat")
        if operator.model.params:
            lines.append(
                "using: " + ", ".join(f"{key} = {value!r}" for key, value in operator.model.params.items())
            )
        return lines
    if isinstance(operator, Values):
        cells = (
            (f"${cell.parameter}" if cell.parameter is not None else "NULL" if cell.value is None else repr(cell.value))
            + (f"::{cell.type}" if cell.type is not None and cell.value is None and cell.parameter is None else "")
            for cell in operator.cells
        )
        return [", ".join(f"{name} = {cell}" for name, cell in zip(operator.names, cells, strict=True))]
    if isinstance(operator, Project):
        return [f"{name} = {generate(value)}" for name, value in operator.columns.items()]
    if isinstance(operator, Output) and plan.direct is not None and operator is plan.root:
        return [
            ", ".join(
                name if name == source.split(".", 1)[-1] else f"{source} AS {name}"
                for name, source in plan.direct
            )
        ]
    return [_short(generate(operator.tree))]


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} … ({len(text)} characters)"
