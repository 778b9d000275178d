"""Owns where a model's inputs come from: ON and WHERE that set them, and columns of their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import expressions as exp

from mindsql.binder.tree import and_terms, column, data_type, shown, span_of
from mindsql.bound import SCOPE, Relation, Scope
from mindsql.errors import StatementError
from mindsql.schema import Column

_TRIVIAL = ("TRUE", "1 = 1", "0 = 0")


@dataclass
class Mappings:
    """What is set explicitly: `(model alias, input)` → expression over the scope's columns."""

    values: dict[tuple[str, str], exp.Expr] = field(default_factory=dict)
    terms: dict[tuple[str, str], exp.Expr] = field(default_factory=dict)

    def add(self, relation: Relation, name: str, value: exp.Expr, term: exp.Expr) -> bool:
        """Note one. Returns False when the input is set already."""
        key = (relation.alias, name)
        if key in self.values:
            return False
        self.values[key] = value
        self.terms[key] = term
        return True

    def read_by(self, model: Relation, scope: Scope) -> set[str]:
        """The aliases of the relations that a model's inputs are set from."""
        values = (value for (alias, _), value in self.values.items() if alias == model.alias)
        return {part.table for value in values for part in scope_columns(value, scope)}


def scope_columns(node: exp.Expr, scope: Scope) -> Iterator[exp.Column]:
    """The columns below a node that belong to the scope's relations."""
    return (part for part in node.find_all(exp.Column) if part.meta.get(SCOPE) == scope.key)


def input_of(node: exp.Expr, scope: Scope) -> tuple[Relation, Column] | None:
    """The model's input that a node is, or None."""
    if not isinstance(node, exp.Column) or node.meta.get(SCOPE) != scope.key:
        return None
    for relation in scope.models:
        if relation.alias == node.table and relation.model is not None:
            version = relation.model.version
            found = version.inputs.find(node.name) if version.outputs.find(node.name) is None else None
            return (relation, found) if found is not None else None
    return None


def typed_null(value: exp.Expr, item: Column) -> exp.Expr:
    """A value for an input: a bare NULL gets the input's type, which nothing else would tell."""
    return exp.Cast(this=exp.Null(), to=data_type(item.type)) if isinstance(value, exp.Null) else value


def assignment(term: exp.Expr, scope: Scope) -> tuple[Relation, Column, exp.Expr] | None:
    """`m.input = value` (either way round), the value not reading `m` itself; or `m.input IS NULL`."""
    if isinstance(term, exp.Is) and isinstance(term.expression, exp.Null):
        owner = input_of(term.this, scope)
        return (*owner, typed_null(exp.Null(), owner[1])) if owner is not None else None
    if not isinstance(term, (exp.EQ, exp.NullSafeEQ)):
        return None
    for side, value in ((term.this, term.expression), (term.expression, term.this)):
        found = input_of(side, scope)
        if found is not None and all(c.table != found[0].alias for c in scope_columns(value, scope)):
            return found[0], found[1], typed_null(value, found[1])
    return None


def map_joins(scope: Scope) -> Mappings:
    """Read the ON and USING of the joins that bring models in.

    Raises:
        StatementError: An ON or USING that does not set an input.
    """
    mappings = Mappings()
    first_is_model = scope.relations[0].model is not None
    for index, relation in enumerate(scope.relations):
        join = relation.join
        if join is None:
            continue
        if relation.model is None and not (first_is_model and index == 1):
            continue
        for term in and_terms(join.args.get("on")):
            if term.sql().upper() in _TRIVIAL:
                continue
            found = assignment(term, scope)
            if found is None:
                raise _not_a_mapping(scope, relation, term)
            if not mappings.add(found[0], found[1].name, found[2], term):
                raise StatementError(
                    f'ON sets the input "{found[1].name}" of "{found[0].alias}" twice', span=span_of(term)
                )
        for node in join.args.get("using") or []:
            model = relation if relation.model is not None else scope.relations[0]
            assert model.model is not None
            if model.model.version.inputs.find(node.name) is None:
                raise StatementError(
                    f'"{node.name}" is no input of the model "{model.alias}"',
                    hint="inputs: " + ", ".join(model.model.version.inputs.names),
                    span=span_of(node),
                )
        join.set("on", None)
        join.set("using", None)
    return mappings


def _not_a_mapping(scope: Scope, relation: Relation, term: exp.Expr) -> StatementError:
    model = relation if relation.model is not None else scope.relations[0]
    assert model.model is not None
    inputs = model.model.version.inputs.names
    example = f"{model.alias}.{inputs[0]} = …" if inputs else "…"
    return StatementError(
        f"ON of a model can only set its inputs, and {shown(term)} does not",
        hint=f"write ON {example}, and put conditions in WHERE; inputs: {', '.join(inputs)}",
        span=span_of(term),
    )


def map_where(scope: Scope, terms: list[exp.Expr], mappings: Mappings) -> list[exp.Expr]:
    """Read the terms of WHERE that set inputs. Returns those terms; they stay filters too."""
    found_terms = []
    for term in terms:
        found = assignment(term, scope)
        if found is not None and mappings.add(found[0], found[1].name, found[2], term):
            found_terms.append(term)
    return found_terms


def once(term: exp.Expr, key: tuple[str, str], value: exp.Expr | list[exp.Expr], scope: Scope) -> exp.Expr:
    """What is left to ask of a term that made an input.

    Computed anew, a value could be another (`random()`), and a subquery would run twice: so only `= NULL`, which is
    never true, is asked for.

    Args:
        term: The term of WHERE.
        key: The model's alias and the input.
        value: What the input was made of.
        scope: The scope.
    """
    parts = (part for item in (value if isinstance(value, list) else [value]) for part in item.walk())
    if not any(isinstance(part, (exp.Func, exp.Query)) and not isinstance(part, exp.Cast) for part in parts):
        return term
    if isinstance(term, exp.NullSafeEQ):
        return exp.Boolean(this=True)
    alias, name = key
    made = column(name, alias)
    made.meta[SCOPE] = scope.key
    return exp.Not(this=exp.Is(this=made, expression=exp.Null()))


def missing_input(relation: Relation, name: str, available: list[str]) -> StatementError:
    """An input that nothing gives."""
    return StatementError(
        f'the model "{relation.alias}" needs the input "{name}", and no relation in FROM has such a column',
        hint=f"map it: ON {relation.alias}.{name} = <expression>; columns there are: {', '.join(available)}",
        span=span_of(relation.item),
    )


def ambiguous_input(relation: Relation, name: str, owners: list[str]) -> StatementError:
    """An input that several relations could give."""
    return StatementError(
        f'the input "{name}" of the model "{relation.alias}" could come from '
        + " or ".join(f"{owner}.{name}" for owner in owners),
        hint=f"say which: ON {relation.alias}.{name} = {owners[0]}.{name}",
        span=span_of(relation.item),
    )
