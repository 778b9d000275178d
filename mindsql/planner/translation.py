"""Owns models as SQL: a step whose model has a translation becomes expressions of the scan, and a scope without any
step left becomes a subquery of the user's statement, so that DuckDB does all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import expressions as exp

from mindsql.binder.tree import column
from mindsql.planner.frame import Draft, PredictStep
from mindsql.schema import family


@dataclass(frozen=True)
class _ModelsAsSQL:
    """A model that has a proven SQL form is computed by DuckDB, when all that is read of it has that form."""

    name: str = "models_as_sql"

    def draft(self, draft: Draft) -> bool:
        changed, first = False, ""
        for step in draft.steps:
            step.why = _unfit(step, draft)
            if first and not step.why:
                # What follows an engine's answer cannot be part of the scan.
                step.why = f'it comes after "{first}", which the engine answers'
            if step.why:
                first = first or step.alias
                continue
            step.translation = step.model.version.summary["translation"]
            changed = True
        return changed


models_as_sql = _ModelsAsSQL()


def _unfit(step: PredictStep, draft: Draft) -> str:
    """Why DuckDB cannot compute a step, or should not; empty when it can."""
    summary = step.model.version.summary
    translation = summary.get("translation")
    if not translation:
        return str(summary.get("translation_refused") or "the engine gives no such form")
    if not draft.scope.data:
        return "for so few rows, planning the expression costs more than asking the engine"
    if step.model.params:
        return "USING is for the engine"
    if step.computed:
        return "an input follows from another model's answer"
    lacking = [output for output in step.outputs if output not in translation["outputs"]]
    if lacking:
        return f"{lacking[0]} is read, which has no such form"
    types = {
        f"{relation.alias}.{item.name}": item.type
        for relation in draft.scope.data
        for item in relation.columns
    }
    for item in step.model.version.inputs:
        source = step.inputs.get(item.name)
        if source is None:
            continue
        # A cast between families is the engine border's affair: its errors name the input.
        known = types.get(source)
        if known is None or family(known) != item.family:
            return f"the input {item.name} is not given as {item.type}"
    return ""


def with_models(scan: exp.Select, step: PredictStep) -> exp.Select:
    """The scan with a model's outputs among its columns."""
    assert step.translation is not None
    frame = [projection.alias for projection in scan.expressions]
    inputs = [
        exp.alias_(_input(step, item.name, item.type), item.name, quoted=True)
        for item in step.model.version.inputs
    ]
    query = _over(scan, [exp.Star(), *inputs])
    for level in step.translation["steps"]:
        query = _over(query, [exp.Star(), *(_raw(name, text) for name, text in level.items())])
    types = {item.name: item.type for item in step.model.version.outputs}
    outputs = [
        _raw(name, f"CAST({step.translation['outputs'][output]} AS {types[output]})")
        for output, name in step.outputs.items()
    ]
    return _over(query, [*(exp.alias_(column(name), name, quoted=True) for name in frame), *outputs])


def _input(step: PredictStep, name: str, type_name: str) -> exp.Expr:
    source = step.inputs.get(name)
    if source is None:
        return exp.Cast(this=exp.Null(), to=exp.Var(this=type_name))
    return column(source)


def _raw(name: str, text: str) -> exp.Expr:
    """An expression of the engine's, taken as it is: reading kilobytes of it would tell the planner nothing."""
    return exp.alias_(exp.Var(this=text), name, quoted=True)


def _over(query: exp.Select, projections: list[Any]) -> exp.Select:
    source = exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier("s", quoted=True)))
    return exp.Select(expressions=projections, from_=exp.From(this=source))


def inline(tree: exp.Expr, name: str, scan: exp.Select) -> bool:
    """Put a scan in the place of its frame, when the tree reads it once. Returns whether it did."""
    places = [node for node in tree.find_all(exp.Table) if node.name == name and not node.db]
    if len(places) != 1:
        return False
    places[0].replace(
        exp.Subquery(this=scan.copy(), alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    )
    return True
