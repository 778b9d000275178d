"""Owns the common table expressions that must be evaluated once: those that write, and those that a scan and something
else read, since a scan takes a copy of what it names along. Each is kept in a temporary table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlglot import expressions as exp

from mindsql.binder.ctes import visible_ctes, with_visible_ctes
from mindsql.binder.tree import WRITING, names_in, table, unused_name
from mindsql.errors import StatementError
from mindsql.planner.operators import Kept


class Once:
    """Finds and replaces them while a query is planned.

    Attributes:
        kept: What is to be kept, in the order in which it is to be made.
    """

    def __init__(self, tree: exp.Expr, scopes: Sequence[exp.Select]) -> None:
        self.tree = tree
        self.kept: list[Kept] = []
        self._taken = names_in(tree)
        writing = [cte for with_ in tree.find_all(exp.With) for cte in with_.expressions if writes(cte)]
        if writing and scopes and not isinstance(tree, exp.Query):
            raise StatementError(
                "a statement with a model in it writes once, and this one writes in a WITH, too",
                hint="write two statements, in a transaction",
            )
        for cte in writing if scopes else ():
            if any(scope.find_ancestor(exp.CTE) is cte for scope in scopes):
                raise StatementError(
                    f'a model cannot be asked in "{cte.alias}", a WITH that writes',
                    hint="write it as a statement of its own: INSERT INTO … SELECT … JOIN model",
                )
            self._keep(cte)

    def share(self, scan: exp.Select, place: exp.Expr) -> None:
        """Keep what a scan names and something else reads, too.

        Args:
            scan: A SELECT over relations that are visible at `place`.
            place: The SELECT it was taken from.
        """
        read = self._references()
        pending: list[exp.Expr] = [scan]
        seen: set[int] = set()
        while pending:
            for node in pending.pop().find_all(exp.Table):
                cte = _meant(node, place)
                if cte is None or id(cte) in seen:
                    continue
                seen.add(id(cte))
                if read[id(cte)] and _stands_alone(cte):
                    self._keep(cte)
                else:
                    pending.append(cte.this)

    def _references(self) -> Counter[int]:
        """How often each expression is read by what will be run: one that nobody reads reads nothing."""
        found: Counter[int] = Counter()

        def visit(node: exp.Expr) -> None:
            for part in node.walk(prune=lambda inner: isinstance(inner, exp.With)):
                cte = _meant(part, part) if isinstance(part, exp.Table) else None
                if cte is not None and part.find_ancestor(exp.CTE) is not cte:
                    found[id(cte)] += 1
                    if found[id(cte)] == 1:
                        visit(cte.this)

        visit(self.tree)
        return found

    def _keep(self, cte: exp.CTE) -> None:
        name = unused_name("__c", self._taken)
        every = exp.Select(expressions=[exp.Star()], from_=exp.From(this=table(cte.alias)))
        returned = cte.this if writes(cte) else None
        # It is made of itself and of what stands before it.
        query = with_visible_ctes(every, _after(cte))
        self.kept.append(Kept(name, query, returned.copy() if returned is not None else None))
        cte.set("this", exp.Select(expressions=[exp.Star()], from_=exp.From(this=table(name))))
        cte.args["alias"].set("columns", None)
        cte.set("materialized", None)


def writes(cte: exp.CTE) -> bool:
    """Whether a common table expression is an INSERT, UPDATE, DELETE or MERGE."""
    return isinstance(cte.this, WRITING)


def _meant(node: exp.Table, place: exp.Expr) -> exp.CTE | None:
    """The common table expression that an unqualified name means at a place."""
    if node.db:
        return None
    named = [cte for cte in visible_ctes(place) if cte.alias.casefold() == node.name.casefold()]
    return named[-1] if named else None


def _stands_alone(cte: exp.CTE) -> bool:
    """Whether it may be evaluated by itself: below an expression it could read a row of the outer query."""
    node: exp.Expr = cte
    while node.parent is not None:
        if isinstance(node.parent, exp.Select) and node.arg_key not in ("from_", "joins", "with_"):
            return False
        node = node.parent
    return True


def _after(cte: exp.CTE) -> exp.Expr:
    """A place where an expression and those before it are visible, and no later one."""
    parent = cte.parent
    assert isinstance(parent, exp.With)
    upto = parent.expressions[: parent.expressions.index(cte) + 1]
    owner = parent.parent
    assert owner is not None
    # The owner's own WITH is the innermost; a stand-in sees it cut short.
    place = exp.Select(expressions=[exp.Star()])
    place.set("with_", exp.With(expressions=[each.copy() for each in upto], recursive=parent.args.get("recursive")))
    outer = [each for each in visible_ctes(owner) if each.parent is not parent]
    holder = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=place)))
    if outer:
        holder.set("with_", exp.With(expressions=[each.copy() for each in outer], recursive=True))
    return place


