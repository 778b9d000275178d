"""Owns the canonical text of statements: `parse(to_sql(statement))` gives the same statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

from sqlglot import expressions as exp
from sqlglot.dialects.duckdb import DuckDB as DuckDBDialect

from mindsql_grammar import statements as st
from mindsql_grammar.query import NATIVE_PREFIX
from mindsql_grammar.words import quote, quote_command_name

_DUCKDB = DuckDBDialect()


@singledispatch
def to_sql(statement: st.Statement) -> str:
    """The canonical text of `statement`, without `;`."""
    raise TypeError(f"{type(statement).__name__} is no statement")


@to_sql.register
def _query(statement: st.Query) -> str:
    return query_sql(statement.tree, statement.natives, statement.options, comments=False)


def query_sql(
    tree: exp.Expr, natives: Sequence[st.Native] = (), options: Sequence[st.Option] = (), **settings: Any
) -> str:
    """A query in MindSQL: native queries and version parts as they are written.

    Args:
        tree: As in `Query`.
        natives: As in `Query`.
        options: As in `Query`.
        settings: For sqlglot's generator: `pretty`, `identify` and others.
    """
    return _restore(tree, natives).sql(dialect=_DUCKDB, **settings) + _using(options)


def _restore(tree: exp.Expr, natives: Sequence[st.Native]) -> exp.Expr:
    """The tree with `source (text)` for `__native_N` and `m.3` for `m."3"`; itself when it has neither."""
    if not any(_is_ours(node, natives) for node in tree.find_all(exp.Table, exp.Column, exp.Join)):
        return tree
    tree = tree.copy()
    for node in list(tree.find_all(exp.Table, exp.Column, exp.Join)):
        if isinstance(node, exp.Join):
            if _is_sided(node):
                # DuckDB's generator would write a comma and lose the side; a method is written as it is.
                node.set("method", f"{node.side} {node.kind}".strip())
                node.set("side", None)
                node.set("kind", None)
        elif _is_version(node):
            key = "this" if isinstance(node, exp.Table) else "table"
            node.set(key, exp.Var(this=node.args[key].name))
        elif isinstance(node, exp.Table):
            native = _native_of(node, natives)
            if native is not None:
                node.set("this", exp.Var(this=_native(native)))
    return tree


def _is_ours(node: exp.Expr, natives: Sequence[st.Native]) -> bool:
    if isinstance(node, exp.Join):
        return _is_sided(node)
    if isinstance(node, exp.Table) and natives and _native_of(node, natives) is not None:
        return True
    return _is_version(node)


def _is_sided(join: exp.Join) -> bool:
    """Whether a join has a side or kind but no condition: `t LEFT JOIN m`, which only a model allows."""
    return bool(join.side or join.kind == "INNER") and not (
        join.method or join.args.get("on") or join.args.get("using")
    )


def _is_version(node: exp.Expr) -> bool:
    part = node.args.get("this" if isinstance(node, exp.Table) else "table")
    return node.args.get("db") is not None and isinstance(part, exp.Identifier) and _is_digits(part.name)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _native_of(table: exp.Table, natives: Sequence[st.Native]) -> st.Native | None:
    number = table.name.removeprefix(NATIVE_PREFIX)
    if number == table.name or not _is_digits(number) or table.args.get("db") is not None:
        return None
    return natives[int(number)] if int(number) < len(natives) else None


def _native(native: st.Native) -> str:
    return f"{quote_command_name(native.source)} ({native.text})"


@to_sql.register
def _duckdb(statement: st.DuckDB) -> str:
    return statement.text


@to_sql.register
def _create_engine(statement: st.CreateEngine) -> str:
    replace = "OR REPLACE " if statement.or_replace else ""
    exists = "IF NOT EXISTS " if statement.if_not_exists else ""
    name, handler = quote_command_name([statement.name]), quote_command_name([statement.handler])
    return f"CREATE {replace}ML_ENGINE {exists}{name} FROM {handler}{_using(statement.options)}"


@to_sql.register
def _create_model(statement: st.CreateModel) -> str:
    words = ["CREATE"]
    words += ["OR REPLACE"] if statement.or_replace else []
    words += ["ANOMALY DETECTION MODEL" if statement.anomaly else "MODEL"]
    words += ["IF NOT EXISTS"] if statement.if_not_exists else []
    words += [_name(statement.name)]
    words += [f"FROM {_rows(statement.rows)}"] if statement.rows else []
    words += [f"PREDICT {quote_command_name([statement.target])}"] if statement.target is not None else []
    words += [f"AS {quote_command_name([statement.alias])}"] if statement.alias is not None else []
    words += [f"ORDER BY {', '.join(statement.order_by)}"] if statement.order_by else []
    words += [f"GROUP BY {', '.join(statement.group_by)}"] if statement.group_by else []
    words += [f"WINDOW {statement.window}"] if statement.window is not None else []
    words += [f"HORIZON {statement.horizon}"] if statement.horizon is not None else []
    return " ".join(words) + _using(statement.options)


@to_sql.register
def _retrain(statement: st.Retrain) -> str:
    target = f" PREDICT {quote_command_name([statement.target])}" if statement.target is not None else ""
    begin = _model_command("RETRAIN", statement.name, statement.rows, ())
    return begin + target + _using(statement.options)


@to_sql.register
def _finetune(statement: st.Finetune) -> str:
    return _model_command("FINETUNE", statement.name, statement.rows, statement.options)


@to_sql.register
def _evaluate(statement: st.Evaluate) -> str:
    verb = "EVALUATE MODEL" if statement.is_model else "EVALUATE"
    return _model_command(verb, statement.name, statement.rows, statement.options, statement.version)


def _model_command(
    verb: str,
    name: st.Name,
    rows: st.Rows | None,
    options: tuple[st.Option, ...],
    version: int | None = None,
) -> str:
    tail = f" FROM {_rows(rows)}" if rows else ""
    return f"{verb} {_name(name, version)}{tail}{_using(options)}"


@to_sql.register
def _describe(statement: st.Describe) -> str:
    kind = f"{statement.kind.upper()} " if statement.kind else ""
    return f"DESCRIBE {kind}{_name(statement.name)}"


@to_sql.register
def _drop(statement: st.Drop) -> str:
    exists = "IF EXISTS " if statement.if_exists else ""
    return f"DROP {statement.kind.upper()} {exists}{_name(statement.name, statement.version)}"


@to_sql.register
def _set_active(statement: st.SetActive) -> str:
    return f"SET active {_name(statement.name, statement.version)}"


@to_sql.register
def _set_executor(statement: st.SetExecutor) -> str:
    return "RESET executor" if statement.executor is None else f"SET executor = {_string(statement.executor)}"


@to_sql.register
def _show(statement: st.Show) -> str:
    text = f"SHOW {statement.what.upper()}"
    text += f" FOR {quote(statement.task)}" if statement.task else ""
    text += f" FROM {_name(statement.source)}" if statement.source else ""
    text += f" LIKE {_string(statement.like)}" if statement.like is not None else ""
    text += (
        f" WHERE {statement.where.sql(dialect=_DUCKDB, comments=False)}"
        if statement.where is not None
        else ""
    )
    return text


@to_sql.register
def _create_project(statement: st.CreateProject) -> str:
    exists = "IF NOT EXISTS " if statement.if_not_exists else ""
    return f"CREATE PROJECT {exists}{quote_command_name([statement.name])}"


@to_sql.register
def _create_database(statement: st.CreateDatabase) -> str:
    replace = "OR REPLACE " if statement.or_replace else ""
    exists = "IF NOT EXISTS " if statement.if_not_exists else ""
    text = f"CREATE {replace}DATABASE {exists}{quote_command_name([statement.name])}"
    text += f" WITH ENGINE = {_string(statement.engine)}"
    return text + (f", PARAMETERS = {_json(statement.parameters)}" if statement.parameters else "")


@to_sql.register
def _create_view(statement: st.CreateView) -> str:
    replace = "OR REPLACE " if statement.or_replace else ""
    exists = "IF NOT EXISTS " if statement.if_not_exists else ""
    return f"CREATE {replace}VIEW {exists}{_name(statement.name)} AS {to_sql(statement.query)}"


@to_sql.register
def _prepare(statement: st.Prepare) -> str:
    return f"PREPARE {quote_command_name([statement.name])} AS {to_sql(statement.query)}"


@to_sql.register
def _execute(statement: st.Execute) -> str:
    values = [text if name.isdigit() else f"{quote(name)} := {text}" for name, text in statement.arguments]
    return f"EXECUTE {quote_command_name([statement.name])}" + (f"({', '.join(values)})" if values else "")


@to_sql.register
def _deallocate(statement: st.Deallocate) -> str:
    return f"DEALLOCATE {quote_command_name([statement.name])}"


@to_sql.register
def _use(statement: st.Use) -> str:
    return f"USE {_name(statement.name)}"


@to_sql.register
def _explain(statement: st.Explain) -> str:
    return f"EXPLAIN {'ANALYZE ' if statement.analyze else ''}{to_sql(statement.statement)}"


def _name(name: st.Name, version: int | None = None) -> str:
    """A dotted name; a part of digits after the first needs no quotes: `m.3`."""
    parts = [quote_command_name(name[:1])]
    for part in name[1:]:
        bare = _is_digits(part) and not _is_digits(parts[-1])  # 1.2 would be a number
        parts.append(part if bare else quote(part))
    return ".".join(parts if version is None else [*parts, str(version)])


def _rows(rows: st.Rows) -> str:
    if rows.native is not None:
        return _native(rows.native)
    assert rows.query is not None
    return f"({to_sql(rows.query)})"


def _using(options: Sequence[st.Option]) -> str:
    if not options:
        return ""
    return " USING " + ", ".join(f"{_name(option.path)} = {value_sql(option.value)}" for option in options)


def value_sql(value: st.Value) -> str:
    """A value of USING as it is written."""
    if isinstance(value, str):
        return _string(value)
    return _json(value)


def _json(value: st.Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, st.Env):
        return f"env({_string(value.name)})"
    if isinstance(value, st.Parameter):
        return f"${value.name}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_json(key)}: {_json(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(_json(item) for item in value) + "]"


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
