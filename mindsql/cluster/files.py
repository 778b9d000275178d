"""Owns which parts the files of a relation have, and how a worker reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import expressions as exp

from mindsql import database
from mindsql.binder.tree import generate, parameters_in
from mindsql.cluster.job import FILE, Part
from mindsql.database import DuckDBConnection
from mindsql.planner.file_relations import arguments, is_csv

_PART_ROWS = 1_000_000
_LEAST_ROWS = 32_768
_HIVE = r"[/\\][^/\\]+=[^/\\]*[/\\]"
_SHAPES = f"""SELECT system.main.count(DISTINCT shape), system.main.bool_or(hive), system.main.bool_or(numbered) FROM (
SELECT system.main.string_agg(system.main.concat_ws(':', name, type, type_length, num_children, converted_type, scale,
precision, logical_type), ',') AS shape, system.main.regexp_matches(file_name, '{_HIVE}') AS hive,
system.main.bool_or(name = 'file_row_number') AS numbered FROM system.main.parquet_schema({{}}) GROUP BY file_name)"""
_GROUPS = "SELECT file_name, row_group_id, row_group_num_rows FROM system.main.parquet_metadata({}) WHERE column_id = 0"
_SIZES = f"SELECT filename, size, system.main.regexp_matches(filename, '{_HIVE}') FROM system.main.read_blob({{}})"
_TYPED = frozenset({"columns", "types", "dtypes", "column_types", "all_varchar"})
"""Arguments of `read_csv` that say types."""
_ROW_BYTES = 50
"""About what a row of CSV takes."""
_MARKS = ("delim", "quote", "escape")


@dataclass(frozen=True)
class PartedFiles:
    """Files in parts.

    Attributes:
        parts: In the order of the files.
        told: Arguments of the function that reads a part, which the whole finds out by itself.
    """

    parts: list[Part]
    told: tuple[exp.Expr, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are, of CSV about."""
        return sum(part.size if part.unit == "rows" else part.size // _ROW_BYTES for part in self.parts)


def parts_of(
    raw: DuckDBConnection, node: exp.Table, parameters: Mapping[str, Any], width: Callable[[], int]
) -> PartedFiles | str:
    """The parts of a relation of files, in their order, or why they must be read as a whole.

    Args:
        raw: A connection to look at the files with.
        node: The relation.
        parameters: Those of the statement.
        width: How many parts are answered at once.
    """
    given = {name: parameters[name] for name in parameters_in(node) if name in parameters}
    return _csv(raw, node, given) if is_csv(node) else _parquet(raw, node, given, width)


def read_part(node: exp.Table, told: Sequence[exp.Expr]) -> None:
    """Have a relation of files read the one file that stands for a part's."""
    call = node.this
    name = "read_csv" if is_csv(node) else "read_parquet"
    own = [] if isinstance(call, exp.Identifier) else arguments(call)[1:]
    said = {_name(argument) for argument in told}
    said |= {"sep"} if "delim" in said else set()
    said |= _TYPED if "types" in said else set()
    kept = [argument for argument in own if _name(argument) not in said]
    node.set("this", exp.Anonymous(this=name, expressions=[exp.Literal.string(FILE), *kept, *told]))


def _parquet(
    raw: DuckDBConnection, node: exp.Table, given: Mapping[str, Any], width: Callable[[], int]
) -> PartedFiles | str:
    """Some row groups of a file each."""
    argument = _paths(node)
    ((shapes, hive, numbered),) = database.rows(raw, _SHAPES.format(argument), given)
    if shapes > 1:
        return "its files have different columns"
    if hive and not _says_no_hive(node):
        return "its folders are columns"
    if numbered:
        return "a column of its files is called file_row_number"
    found = database.rows(raw, _GROUPS.format(argument), given)
    order = {name: number for number, name in reversed(list(enumerate(name for name, _, _ in found)))}
    groups = sorted(found, key=lambda group: (order[group[0]], group[1]))
    if len({(name, number) for name, number, _ in groups}) < len(groups):
        return "a file is named twice"
    total = sum(rows for _, _, rows in groups)
    most = max(_LEAST_ROWS, min(_PART_ROWS, -(-total // (4 * width()))))
    parts: list[Part] = []
    file, first, count, position = None, 0, 0, 0

    def end() -> None:
        if file is not None:
            parts.append(Part(len(parts), file, first, first + count - 1, count))

    for name, _, rows in groups:
        if name != file or count >= most:
            end()
            position = 0 if name != file else position
            file, first, count = name, position, 0
        count += rows
        position += rows
    end()
    return PartedFiles(parts) if parts else "its files have no rows"


def _csv(raw: DuckDBConnection, node: exp.Table, given: Mapping[str, Any]) -> PartedFiles | str:
    """A file each: where its rows begin is known when all before were read. All are told the types of the whole."""
    found = database.rows(raw, _SIZES.format(_paths(node)), given)
    if len({name for name, _, _ in found}) < len(found):
        return "a file is named twice"
    if len(found) < 2:
        return "one file of CSV is read by one reader"
    if any(hive for _, _, hive in found) and not _says_no_hive(node):
        return "its folders are columns"
    if not all(size for _, size, _ in found):
        return "a file is empty"
    own = [] if isinstance(node.this, exp.Identifier) else arguments(node.this)[1:]
    asked = [argument for argument in own if _name(argument) != "columns"]
    call = exp.Anonymous(this="system.main.sniff_csv", expressions=[exp.Literal.string(found[0][0]), *asked])
    sniffed = f"SELECT HasHeader, Delimiter, Quote, Escape FROM {generate(call)}"
    mine = {name: given[name] for argument in asked for name in parameters_in(argument)}
    ((header, *dialect),) = database.rows(raw, sniffed, mine)
    told: dict[str, exp.Expr] = {"header": exp.Boolean(this=header)}
    if "columns" in map(_name, own):  # then the first file tells how all are written, and else each file for itself
        marks = ["" if mark == "(empty)" else mark for mark in dialect]
        told |= {name: exp.Literal.string(mark) for name, mark in zip(_MARKS, marks, strict=True)}
    else:
        schema = database.describe(raw, f"FROM {unaliased(node)}", given)
        types = [
            exp.PropertyEQ(this=exp.Literal.string(column.name), expression=exp.Literal.string(column.type))
            for column in schema
        ]
        told["types"] = exp.Struct(expressions=types)
    parts = [Part(at, name, None, None, size) for at, (name, size, _) in enumerate(found)]
    return PartedFiles(parts, tuple(exp.EQ(this=exp.column(name), expression=told[name]) for name in told))


def _name(argument: exp.Expr) -> str:
    return str(argument.this.name).casefold()


def unaliased(node: exp.Table) -> str:
    """A relation without its alias, as SQL."""
    plain = node.copy()
    plain.set("alias", None)
    return generate(plain)


def _paths(node: exp.Table) -> str:
    """The paths of a relation of files, as SQL."""
    call = node.this
    return database.literal(call.name) if isinstance(call, exp.Identifier) else generate(arguments(call)[0])


def _says_no_hive(node: exp.Table) -> bool:
    given = [] if isinstance(node.this, exp.Identifier) else arguments(node.this)[1:]
    return any(
        _name(argument) == "hive_partitioning" and str(argument.expression).casefold() == "false" for argument in given
    )
