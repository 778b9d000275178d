"""Owns models as SQL: a step whose model has a translation becomes expressions of the scan, and a scope without any
step left becomes a subquery of the user's statement, so that DuckDB does all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import expressions as exp

from mindsql.binder.tree import column, data_type, table
from mindsql.planner.frame import Draft, PredictStep, frame_column
from mindsql.planner.operators import Output, Plan, Scan
from mindsql.schema import Schema, family

_FRAME = "mindsql_frame"
"""Key in `meta` of the subquery that a frame's scan has become."""


@dataclass(frozen=True)
class _ModelsAsSQL:
    """A model that has a proven SQL form is computed by DuckDB, when all that is read of it has that form."""

    name: str = "models_as_sql"

    def draft(self, draft: Draft) -> bool:
        changed, first = False, ""
        for step in draft.steps:
            step.fallback_reason = _unfit(step, draft)
            if first and not step.fallback_reason:
                # What follows an engine's answer cannot be part of the scan.
                step.fallback_reason = f'it comes after "{first}", which the engine answers'
            if step.fallback_reason:
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
        frame_column(relation.alias, item.name): item.type
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


def with_step(scan: exp.Select, step: PredictStep) -> exp.Select:
    """The scan of a scope with a model's outputs among its columns."""
    assert step.translation is not None
    version = step.model.version
    sources = {name: source for name, source in step.inputs.items() if source is not None}
    return with_model(scan, step.translation, version.inputs, version.outputs, sources, step.outputs)


def with_model(
    scan: exp.Select,
    translation: Mapping[str, Any],
    inputs: Schema,
    outputs: Schema,
    sources: Mapping[str, str],
    wanted: Mapping[str, str],
) -> exp.Select:
    """A SELECT with a model's outputs beside its columns. The proof of a translation and every plan are made by this.

    Args:
        scan: A SELECT whose projections all have aliases.
        translation: The model as SQL: `steps` and `outputs`.
        inputs, outputs: The model's columns.
        sources: Input → the scan's column that it is taken from; the others are NULL.
        wanted: Output → what its column is called.
    """
    # The scan's columns stand beside the inputs, whose names are anybody's: they get names that nothing else has.
    taken = [*inputs.names, *(name for level in translation["steps"] for name in level)]
    prefix = "f"
    while any(name.casefold().startswith(prefix) for name in taken):
        prefix += "_"
    scan = scan.copy()
    inner = {}
    for number, projection in enumerate(scan.expressions):
        inner[projection.alias] = f"{prefix}{number}"
        projection.set("alias", exp.to_identifier(f"{prefix}{number}", quoted=True))
    given = [
        exp.alias_(
            column(inner[sources[item.name]])
            if item.name in sources
            else exp.Cast(this=exp.Null(), to=data_type(item.type)),
            item.name,
            quoted=True,
        )
        for item in inputs
    ]
    query = _over(scan, [exp.Star(), *given])
    for level in translation["steps"]:
        query = _over(query, [exp.Star(), *(_raw(name, text) for name, text in level.items())])
    types = {item.name: item.type for item in outputs}
    computed = [
        _raw(name, f"CAST({translation['outputs'][output]} AS {types[output]})")
        for output, name in wanted.items()
    ]
    kept = [exp.alias_(column(inside), name, quoted=True) for name, inside in inner.items()]
    return _over(query, [*kept, *computed])


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
    made = exp.Subquery(this=scan.copy(), alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    made.meta[_FRAME] = True
    places[0].replace(made)
    return True


def framed(plan: Plan) -> Plan | None:
    """A plan whose one `inline` scan is the `Scan` of a frame again; None when it has none, or several."""
    tree = plan.root.tree.copy()
    tree.meta.clear()
    found = [node for node in tree.find_all(exp.Subquery) if _FRAME in node.meta]
    if len(found) != 1 or plan.root.inputs or not isinstance(found[0].this, exp.Select):
        return None
    (place,) = found
    name, scan = place.alias, Scan(place.this)
    place.replace(table(name))
    return replace(plan, root=Output(tree, {name: scan}))
