"""Owns which relations of FROM are files that can be read in parts: functions, their arguments, and names of files."""

from __future__ import annotations

from sqlglot import expressions as exp

_PARQUET = frozenset({"binary_as_string", "file_row_number", "compression", "hive_partitioning"})
_CSV = frozenset({
    "sep", "delim", "quote", "escape", "new_line", "comment", "header", "skip", "columns", "types", "dtypes",
    "column_types", "names", "column_names", "all_varchar", "nullstr", "null", "dateformat", "date_format",
    "timestampformat", "timestamp_format", "decimal_separator", "thousands", "compression", "auto_detect",
    "force_not_null", "normalize_names", "allow_quoted_nulls", "null_padding", "strict_mode", "encoding",
    "max_line_size", "maximum_line_size", "parallel", "buffer_size", "hive_partitioning",
})  # fmt: skip
_READERS = {
    **dict.fromkeys(("read_parquet", "parquet_scan"), _PARQUET),
    **dict.fromkeys(("read_csv", "read_csv_auto"), _CSV),
}
"""Functions that read files, with their arguments that mean the same for one file as for all."""
_CSV_NAMES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst")


class Whole(Exception):
    """Why something must be answered as a whole."""


def reads_files(tree: exp.Expr) -> bool:
    """Whether a statement reads files that can be divided."""
    for relation in tree.find_all(exp.Table):
        try:
            if is_of_files(relation):
                return True
        except Whole:
            continue
    return False


def is_of_files(relation: exp.Table) -> bool:
    """Whether a relation reads files in a way that is the same for one as for all. Raises Whole."""
    call = relation.this
    if isinstance(call, exp.Identifier):
        return not relation.db and call.name.endswith((".parquet", *_CSV_NAMES))
    function = function_name(call) if isinstance(call, exp.Func) else ""
    if function not in _READERS:
        return False
    for argument in arguments(call)[1:]:
        name = argument.this.name.casefold() if isinstance(argument, (exp.EQ, exp.PropertyEQ)) else "?"
        if name not in _READERS[function]:
            raise Whole(f"{function} with {name} looks at all files together")
    return True


def is_csv(relation: exp.Table) -> bool:
    """Whether a relation of files is of CSV files; else they are Parquet files."""
    call = relation.this
    if isinstance(call, exp.Identifier):
        return call.name.endswith(_CSV_NAMES)
    return _READERS[function_name(call)] is _CSV


def arguments(call: exp.Func) -> list[exp.Expr]:
    """The arguments of a function that reads files, the paths first."""
    first = [call.this] if isinstance(call.this, exp.Expr) else []
    return [*first, *call.expressions]


def function_name(call: exp.Func) -> str:
    """The name of a function, as DuckDB has it, in lower case."""
    return (call.name if isinstance(call, exp.Anonymous) else call.sql_name()).casefold()

