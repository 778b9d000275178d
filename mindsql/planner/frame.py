"""Owns the draft of one scope's plan: the frame that flows through it, and how the user's SELECT reads it.

A scope is planned plainly first: scan every column of every relation, predict every output, and let the user's own
SELECT read the frame. The rules then take away what is not needed. With all rules off the draft runs as it is, and
must give the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import expressions as exp

from mindsql.binder.tree import column, data_type
from mindsql.bound import SCOPE, BoundModel, Scope
from mindsql_grammar import quote, verbatim


@dataclass
class PredictStep:
    """One model of the scope. `inputs` and `outputs` as in `operators.Predict`."""

    alias: str
    model: BoundModel
    inputs: dict[str, str | None]
    outputs: dict[str, str]
    computed: dict[str, exp.Expr] = field(default_factory=dict)
    """Frame columns that must be computed from earlier models' outputs before this one is asked."""
    translation: Mapping[str, Any] | None = None
    """The model as SQL, when DuckDB is to compute it: `steps`, `outputs`, `kind`."""
    once: bool = False
    """Whether rows of a batch that are equal are asked for once."""
    fallback_reason: str = ""
    """Why DuckDB does not compute it."""


@dataclass
class Draft:
    """The plan of one scope before it is turned into operators.

    Attributes:
        scope: What is planned.
        name: The frame's name in SQL, `__p0`.
        scan: The SELECT that gives the frame's first columns, each projection an alias.
        steps: The models, in the order they are asked.
        finish: The user's SELECT, its FROM replaced by the frame.
        consumed: Terms of WHERE that the scan's values make true by construction.
        applied: Names of the rules that changed it.
        frames: The names of the other scopes' frames, those inside this one.
    """

    scope: Scope
    name: str
    scan: exp.Select
    steps: list[PredictStep]
    finish: exp.Select
    shared: dict[tuple[str, str], str] = field(default_factory=dict)
    """A model's `(alias, input)` → the frame column that it has in common with the data."""
    types: dict[str, str] = field(default_factory=dict)
    """Frame column → its type in DuckDB, where it comes back from Arrow as another."""
    collations: dict[str, str] = field(default_factory=dict)
    """Frame column → its collation, which Arrow does not carry."""
    consumed: list[exp.Expr] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    frames: frozenset[str] = frozenset()
    missing: list[str] = field(default_factory=list)
    """Sentences about inputs that are not given."""

    @property
    def scan_columns(self) -> dict[str, exp.Expr]:
        """Frame column → the scan's expression for it."""
        return {projection.alias: projection.this for projection in self.scan.expressions}

    def keep_columns(self, names: set[str]) -> bool:
        """Drop the scan's other columns. Returns whether there were any."""
        kept = [projection for projection in self.scan.expressions if projection.alias in names]
        if len(kept) == len(self.scan.expressions):
            return False
        # A frame without columns has no rows to count: one column of any kind keeps them.
        self.scan.set("expressions", kept or [exp.alias_(exp.Boolean(this=True), "row", quoted=True)])
        return True


def frame_column(alias: str, name: str) -> str:
    """What a relation's column is called in the frame. Relations have different aliases, so names are unique."""
    plain = "." not in alias and not alias.startswith('"')
    return f"{alias}.{name}" if plain else f"{quote(alias)}.{name}"


def to_frame(node: exp.Expr, draft: Draft) -> exp.Expr:
    """Make the scope's columns below a node the frame's, in place. Returns the node, or what replaces it."""
    for part in list(node.find_all(exp.Column)):
        if part.meta.get(SCOPE) == draft.scope.key:
            name = draft.shared.get((part.table, part.name)) or frame_column(part.table, part.name)
            replacement: exp.Expr = column(name, draft.name)
            if name in draft.types:
                replacement = exp.Cast(this=replacement, to=data_type(draft.types[name]))
            if name in draft.collations:
                replacement = exp.Collate(this=replacement, expression=exp.Var(this=draft.collations[name]))
            verbatim.take_place(replacement, part)
            if part is node:
                node = replacement
            else:
                part.replace(replacement)
    return node


def frame_columns(node: exp.Expr, frame: str) -> set[str]:
    """The frame's columns that an expression reads."""
    return {part.name for part in node.find_all(exp.Column) if part.table == frame}
