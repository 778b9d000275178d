"""Owns the types of values on their way: which a frame carries as text, and how a value becomes its input's type."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import expressions as exp

from mindsql.binder.tree import data_type, generate
from mindsql.bound import SCOPE, Scope
from mindsql.errors import MindSQLError
from mindsql.schema import Column, Schema, family, is_integer

Describe = Callable[[exp.Expr], Schema]

_QUOTED = r"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'"
_ALTERED = re.compile(
    rf"{_QUOTED}|\b(?:ENUM\(|UUID\b|U?HUGEINT\b|JSON\b|BIT\b|BIGNUM\b|UNION\(|TUPLE\(|TIME WITH TIME ZONE\b)"
)
_LOST = re.compile(rf"{_QUOTED}|\b(?:UHUGEINT\b|BIT\b|(?<!TIMESTAMP )TIME WITH TIME ZONE\b)")
_BITS = {
    "TINYINT": (-(2**7), 2**7), "SMALLINT": (-(2**15), 2**15), "INTEGER": (-(2**31), 2**31),
    "BIGINT": (-(2**63), 2**63), "HUGEINT": (-(2**127), 2**127), "UTINYINT": (0, 2**8), "USMALLINT": (0, 2**16),
    "UINTEGER": (0, 2**32), "UBIGINT": (0, 2**64), "UHUGEINT": (0, 2**128),
}  # fmt: skip
_EXACT_AS_DOUBLE = frozenset(["TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT"])


def arrow_roundtrips(type_name: str) -> bool:
    """Whether a type comes back from Arrow as it went in: an ENUM would come back as text, and sort as text."""
    return not any(not match[0].startswith(("'", '"')) for match in _ALTERED.finditer(type_name))


def carried(type_name: str) -> str:
    """The type that stands for a type in a frame: text where Arrow, or DuckDB's way to it, loses a part of a value."""
    return _LOST.sub(lambda match: match[0] if match[0].startswith(("'", '"')) else "VARCHAR", type_name)


def fits(value: int, type_name: str) -> bool:
    """Whether a whole number is one of an integer type."""
    low, high = _BITS[type_name.strip().upper()]
    return low <= value < high


def fitted(value: exp.Expr, item: Column, scope: Scope, describe: Describe) -> exp.Expr:
    """A value that sets an input, in the input's type.

    A number stays as it is when the type could not hold it: a model of whole numbers may be asked about 2.5.
    """
    if item.family in ("nested", "binary", "other"):
        return value
    target = "VARCHAR" if item.type.upper().startswith("ENUM") else item.type
    literal = value.this if isinstance(value, exp.Neg) else value
    if isinstance(literal, exp.Literal) and not literal.is_string and literal.this.isdigit():
        number = -int(literal.this) if literal is not value else int(literal.this)
        if is_integer(target):
            return _cast(value, target) if fits(number, target) else value
        return _cast(value, target) if item.family != "number" or target in ("DOUBLE", "FLOAT") else value
    kind = type_of(value, scope, describe)
    if kind is None or not _becomes(kind, target):
        return value
    # The next value of a parameter may be another number, which its type could not hold.
    keeps = isinstance(value, exp.Placeholder) and family(kind) == family(target) == "number"
    return value if keeps else _cast(value, target)


def _becomes(kind: str, target: str) -> bool:
    """Whether a value of a type is to be cast to an input's: always to another family, else where nothing is lost."""
    if kind == target or kind == '"NULL"':
        return False
    if family(kind) != family(target):
        return family(kind) not in ("nested", "binary", "other")
    if family(kind) == "number":
        if is_integer(kind) and is_integer(target):
            (low, high), (least, most) = _BITS[kind], _BITS[target]
            return least <= low and high <= most
        return target == "DOUBLE" and (kind in _EXACT_AS_DOUBLE or kind.startswith("DECIMAL"))
    return family(kind) == "time" and kind == "DATE" and target.startswith("TIMESTAMP")


def _cast(value: exp.Expr, type_name: str) -> exp.Expr:
    return exp.Cast(this=value, to=data_type(type_name))


def type_of(value: exp.Expr, scope: Scope, describe: Describe) -> str | None:
    """The DuckDB type of an expression over a scope's relations; None when it cannot be told."""
    if isinstance(value, exp.Literal) and value.is_string:
        return "VARCHAR"
    if isinstance(value, exp.Boolean):
        return "BOOLEAN"
    if isinstance(value, exp.Cast) and not isinstance(value, exp.TryCast):
        return _named(value.args["to"])
    owners = {relation.alias: relation for relation in scope.relations}
    if isinstance(value, exp.Column) and value.meta.get(SCOPE) == scope.key and value.table in owners:
        found = owners[value.table].find(value.name)
        return found.type if found is not None else None
    read = {part.table for part in value.find_all(exp.Column) if part.meta.get(SCOPE) == scope.key}
    items = [
        exp.Subquery(
            this=exp.Select(
                expressions=[
                    exp.alias_(_cast(exp.Null(), item.type), item.name, quoted=True)
                    for item in (*owners[alias].columns, *owners[alias].hidden)
                ]
            ),
            alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)),
        )
        for alias in sorted(read)
        if alias in owners
    ]
    probe = exp.Select(expressions=[exp.alias_(value.copy(), "v", quoted=True)])
    if items:
        probe.set("from_", exp.From(this=items[0]))
        probe.set("joins", [exp.Join(this=item, kind="CROSS") for item in items[1:]])
    try:
        found_types = describe(probe)
    except MindSQLError:  # it reads what only the whole statement has
        return None
    return found_types[0].type if len(found_types) == 1 else None


def _named(kind: exp.Expr) -> str | None:
    name = generate(kind)
    name = name if "'" in name or '"' in name else name.upper()
    name = {"TEXT": "VARCHAR", "INT": "INTEGER", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(name, name)
    return name if family(name) != "other" else None

