"""Owns the way of a query through the stages: bind, plan (or the plan kept from last time), run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql import database
from mindsql.batches import Batches
from mindsql.binder import Binder
from mindsql.binder.binder import name_parameters, shown_parameter, used_parameters
from mindsql.binder.relations import Given
from mindsql.binder.tree import generate
from mindsql.bound import BoundModel
from mindsql.cluster.ray import LOCAL
from mindsql.cluster.shipping import distribution
from mindsql.engine import Engine, EngineStorage, working_for
from mindsql.errors import AccessError, CatalogError, EngineError, MindSQLError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.executor.engines import LoadedModel, ModelCache
from mindsql.executor.executor import Executor, PlanExecution
from mindsql.executor.loading import loaded
from mindsql.executor.pipeline import predict
from mindsql.executor.prediction_cache import PredictionCache
from mindsql.frames import compact
from mindsql.isolation.options import ISOLATION_NAMES
from mindsql.libraries import installed_libraries
from mindsql.literals import auto_parameterize
from mindsql.options import check
from mindsql.planner import RULES, Plan, Values, plan
from mindsql.planner.file_relations import reads_files
from mindsql.planner.operators import Predict, walk
from mindsql.result import Kind, Result
from mindsql.schema import Schema
from mindsql.secrets import decrypted
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session

_PLANS = 256
_STEADY = frozenset({"range", "generate_series", "unnest", "explode", "generateseries", "values"})
"""Table functions whose columns are those of their arguments."""
_NUMBERS = {
    **{"int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"},
    **{"uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT"},
    **{"float": "FLOAT", "double": "DOUBLE"},
}
"""Arrow's name of a type to DuckDB's."""


def prepare(
    session: Session, query: grammar.Query, text: str | None, parameters: Mapping[str, Any]
) -> Plan | None:
    """The plan of a query; None when it is DuckDB's alone.

    A plan is kept by its text until a model, a table or a setting changes. In a transaction none is kept: what it
    names may be rolled back.
    """
    bound = binder(session, parameters).bind(query)
    if bound is None:
        return None
    asked = [relation.alias for scope in bound.scopes for relation in scope.models]
    if asked and not session.settings.models:
        raise AccessError(f'"{asked[0]}" is a model, and this connection may only query tables')
    surplus = [name for name in parameters if name not in used_parameters(query)] if text is not None else []
    if surplus:
        raise StatementError(
            f"the statement has no parameter ${shown_parameter(surplus[0])}, and a value is given"
        )
    without = session.settings.without_rules
    if session.database.shadowed():
        without |= {"models_as_sql"}  # its functions and operators would not be DuckDB's own
    if session.settings.executor != LOCAL and isinstance(query.tree, exp.Copy) and reads_files(query.tree):
        without |= {"inline_scans"}  # what is part of the user's statement is computed here
    rules = [rule for rule in RULES if rule.name not in without]
    lasting = not session.in_transaction and not bound.passing and _lasts(session, query.tree)
    made = plan(bound, rules)
    # What USING says is part of the plan; what a parameter in it says is known for this run only.
    varies = any(isinstance(option.value, grammar.Parameter) for option in query.options)
    if text is not None and lasting and not varies:
        session.plans[_key(session, text, parameters)] = made
        while len(session.plans) > _PLANS:
            session.plans.popitem(last=False)
    return made


def _lasts(session: Session, tree: exp.Expr) -> bool:
    """Whether the columns that a statement reads can only change by a statement: those of a data frame, a file or
    another database change by themselves."""
    elsewhere = {source.name.casefold() for source in session.snapshot().sources}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            name = table.name if isinstance(table.this, exp.Anonymous) else table.this.sql_name()
            if name.casefold() not in _STEADY:
                return False
            continue
        plain = isinstance(table.this, exp.Identifier) and "." not in table.name
        if not plain or table.name in session.adopted or {table.db.casefold(), table.catalog.casefold()} & elsewhere:
            return False
    return True


def kept_plan(session: Session, text: str, parameters: Mapping[str, Any]) -> Plan | None:
    """The plan kept for a text, before it is even parsed; None when there is none."""
    return None if session.in_transaction else session.plans.get(_key(session, text, parameters))


def auto_parameterized_plan(session: Session, text: str) -> tuple[Plan, Mapping[str, Any]] | None:
    """The plan that a statement shares with those that differ in constants only, and its constants.

    None when it has no such plan. Only rows asked of a model by constants qualify: there, planning takes longer than
    the answer, and every constant is a cell of the one input row.
    """
    if session.in_transaction or not session.settings.lift_constants:
        return None
    lifted = auto_parameterize(text)
    if lifted is None:
        return None
    template, values = lifted
    key = _key(session, template, values)
    if key not in session.plans:
        session.plans[key] = _point_plan(session, template, values)
        while len(session.plans) > _PLANS:
            session.plans.popitem(last=False)
    plan: Plan | None = session.plans[key]
    return None if plan is None else (plan, values)


def _point_plan(session: Session, template: str, values: Mapping[str, Any]) -> Plan | None:
    try:
        statement = grammar.parse_one(template)
    except grammar.ParseError:
        return None  # a constant stood where no parameter may: the statement is read as it is
    if not isinstance(statement, grammar.Query) or statement.options:
        return None
    try:
        plan = prepare(session, statement, None, values)
    except MindSQLError:
        return None  # it will fail again as it was written, with its own words
    if plan is None or plan.direct is None or not any(isinstance(op, Values) for op in walk(plan.root)):
        return None
    return plan


def _key(session: Session, text: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    types = tuple((name, type(value)) for name, value in parameters.items())
    settings = session.settings
    state = session.database.catalog_version, session.database.schema_version, settings.models, settings.executor
    return text, session.project, state, types


def binder(session: Session, parameters: Mapping[str, Any]) -> Binder:
    """A binder over the session's picture of the catalog."""
    snapshot = session.snapshot()
    return Binder(
        snapshot=snapshot,
        project=session.project,
        is_table=session.is_table,
        located=session.located,
        describe=session.describe(parameters),
        native_schema=lambda source, text: session.source(source).describe(text),
        source_relation=lambda source, parts, top: session.source(source).relation(
            parts, top if top is not None and _pushes(session) else None
        ),
        system=session.system_table,
        check_params=lambda model, given: _predict_params(session, model, given),
        parameters=parameters,
        collations=lambda sql: database.collations(session.raw, sql),
    )


def _pushes(session: Session) -> bool:
    """Whether a source may give the first rows alone: the rule `push_to_source`, where ORDER BY means ascending."""
    if "push_to_source" in session.settings.without_rules:
        return False
    ((order,),) = database.rows(session.raw, "SELECT system.main.current_setting('default_order')")
    return str(order).upper().startswith("ASC")


def start(
    session: Session, plan: Plan, parameters: Mapping[str, Any], execution: ExecutionContext, measure: bool = False
) -> PlanExecution:
    """Run a plan."""
    if any(name not in parameters for name in plan.parameters):
        missing = next(name for name in plan.parameters if name not in parameters)
        shown = missing[1:] if missing[1:].isdigit() else missing
        raise StatementError(
            f"the parameter ${shown} has no value", hint="give it: execute(sql, [value, …]) or {name: value}"
        )
    elsewhere = distribution(session, plan, parameters, execution)
    executor = Executor(
        raw=session.raw,
        cursor=session.cursor,
        in_transaction=session.in_transaction,
        load=lambda model: load(session, model, execution),
        read_native=lambda source, text: _native(session, source, text),
        stream=session.settings.stream,
        store=lambda model: _store(session, model),
        inspect=session.settings.inspect,
        elsewhere=elsewhere,
    )
    return executor.run(elsewhere.plan if elsewhere is not None else plan, parameters, execution, measure)


def _store(session: Session, model: BoundModel) -> PredictionCache | None:
    return PredictionCache(session.database, model.version) if model.version.settings.get("cache") else None


def answer(session: Session, plan: Plan, parameters: Mapping[str, Any], execution: ExecutionContext) -> Result:
    """The result of a plan."""
    run = start(session, plan, parameters, execution)
    given = run.answer
    if given.raw is None:
        assert given.batches is not None
        schema = _as_answered(plan.schema, given.batches.schema)
        return Result.of(batches=given.batches, schema=schema, notes=plan.missing, close=execution.close)
    kind: Kind = "rows"
    if not plan.schema:
        names = [item[0] for item in given.raw.description or []]
        counts = names == ["Count"]
        kind = "rows" if names and not counts else "count" if counts and not plan.creates else "done"
        session.database.schema_version += plan.creates
    return Result.of(raw=given.raw, kind=kind, notes=plan.missing, streams=given.streams, close=execution.close)


def _as_answered(schema: Schema, answered: pa.Schema) -> Schema:
    """The columns of an answer with the types that their numbers have: an input may be set to a number that its type
    cannot hold."""
    pairs = []
    for column, kind in zip(schema, answered.types, strict=True):
        number = _NUMBERS.get(str(kind)) if column.family == "number" else None
        pairs.append((column.name, number or column.type))
    return Schema.of(pairs)


def ask(session: Session, version: Version, rows: pa.RecordBatch, execution: ExecutionContext) -> pa.Array:
    """What a version answers to rows that are at hand: the target, as `SELECT … FROM version WHERE …` gives it.

    Args:
        rows: The inputs, named and ordered as in `version.inputs`.
    """
    import pyarrow as pa

    model = BoundModel(version)
    loaded = load(session, model, execution)
    target = version.outputs.names[0]
    inputs: dict[str, str | None] = {name: name for name in version.inputs.names}
    operator = Predict(Values(version.inputs.names, []), model, inputs, {target: target})
    source = Batches(rows.schema, iter([rows]))
    answered = list(predict(operator, source, loaded, execution, None, _store(session, model)))
    return pa.concat_arrays([batch.column(batch.num_columns - 1) for batch in answered])


def rows(
    session: Session,
    query: grammar.Query,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
    small: bool = False,
) -> tuple[pa.Table, Schema]:
    """All rows of a query, ours or DuckDB's, with DuckDB's types; `small` makes the table `compact`."""
    made = prepare(session, query, None, parameters)
    if made is None:
        sql, wanted = _plain(query, parameters)
        if session.settings.inspect is not None:
            session.settings.inspect(session.raw, sql, wanted)
        if small:
            schema, table = database.gathered(session.raw, sql, wanted, compact)
            return table, schema
        return database.table(session.raw, sql, wanted), database.describe(session.raw, sql, wanted)
    result = answer(session, made, parameters, execution)
    schema = made.schema
    try:
        table = result.arrow()
        return compact(table.to_batches(), table.schema) if small else table, schema
    finally:
        result.close()


def stream(
    session: Session, query: grammar.Query, parameters: Mapping[str, Any], execution: ExecutionContext
) -> pa.RecordBatchReader:
    """The rows of a query, ours or DuckDB's, as they come; the session's connection is busy until they are read."""
    import pyarrow as pa

    made = prepare(session, query, None, parameters)
    if made is not None:
        return answer(session, made, parameters, execution).reader()
    sql, wanted = _plain(query, parameters)
    if session.settings.inspect is not None:
        session.settings.inspect(session.raw, sql, wanted)
    reader = database.reader(session.raw, sql, wanted)
    return pa.RecordBatchReader.from_batches(reader.schema, execution.batches(reader))


def columns(session: Session, query: grammar.Query, parameters: Mapping[str, Any]) -> Schema:
    """The columns that `rows` would give, without reading any."""
    made = prepare(session, query, None, parameters)
    return made.schema if made is not None else database.describe(session.raw, *_plain(query, parameters))


def _plain(query: grammar.Query, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A query of DuckDB's own, with the parameters that it names."""
    tree = query.tree.copy()
    name_parameters(tree)
    sql = generate(tree)
    return sql, {name: value for name, value in parameters.items() if f"${name}" in sql}


def load(session: Session, model: BoundModel, execution: ExecutionContext | None = None) -> LoadedModel:
    """A model version ready to answer, from the cache or from the file. Raises EngineError, CatalogError, Cancelled."""
    shared = session.shared
    if shared.models is None:
        shared.models = ModelCache()
    version = model.version
    statement = execution or ExecutionContext(network=session.settings.network)
    cache: ModelCache = shared.models
    return cache.get(version.id, lambda: _load(session, version, statement), statement.check)


def _load(session: Session, version: Version, execution: ExecutionContext) -> LoadedModel:
    files = {}
    for name in session.catalog.artifact_names(version):
        content = session.catalog.artifact(version, name)
        if content is not None:
            files[name] = content
    if not files and version.digest and version.summary.get("files"):
        raise CatalogError(
            f"the stored files of {version.model}.{version.number} are missing",
            hint=f"RETRAIN {version.model}, or restore the database file from a copy",
        )
    # A file may come from elsewhere: only what this process was told to trust is unpickled again.
    model = loaded_from(session, version, files, trusted=version.id in session.shared.trusted)
    model.observe = session.settings.observe
    asked = execution.context()

    def prepare() -> None:
        with working_for(asked):
            _prepare(model)

    execution.wait(execution.submit(prepare))
    return model


def loaded_from(
    session: Session, version: Version, files: Mapping[str, bytes], trusted: bool = False
) -> LoadedModel:
    """A model version made of its files; see `executor.loading`. Raises EngineError."""
    cls = session.engine_class(version.engine, version.handler)
    return loaded(session.raw, cls, version, files, engine_storage(session, version.engine), trusted)


def _prepare(loaded: LoadedModel) -> None:
    """Let the engine read its files now. When it cannot, other libraries than those of the training may be why."""
    version = loaded.version
    try:
        loaded.prepare()
    except EngineError as error:
        now = installed_libraries()
        changed = [
            f"{name} {trained} ({now.get(name, 'none')} is installed)"
            for name, trained in version.libraries.items()
            if now.get(name) != trained
        ]
        if not changed:
            raise
        raise EngineError(
            f"{version.model}.{version.number} cannot be loaded: {error.message}",
            hint=f"it was trained with {', '.join(changed)}; install these, or RETRAIN {version.model}",
        ) from error


def engine_storage(session: Session, name: str) -> EngineStorage:
    """The storage of an engine; an empty one for a handler used without CREATE ML_ENGINE."""
    entry = session.snapshot().engine(name)
    if entry is None:
        return EngineStorage()
    own = {key: value for key, value in entry.options.items() if key not in ISOLATION_NAMES}
    return EngineStorage(
        decrypted(own), load=lambda file: session.catalog.engine_file(entry.name, file)
    )


def _predict_params(session: Session, model: BoundModel, given: Mapping[str, Given]) -> Mapping[str, Any]:
    if not given:
        return {}
    cls: type[Engine] = session.engine_class(model.version.engine, model.version.handler)
    triples = [(name, value, span) for name, (value, span) in given.items()]
    params = check(triples, cls.predict_options, f'SELECT … USING for the model "{model.name}"')
    if params.get("trusted") and not session.settings.trusted:
        raise AccessError("trusted = true is for the owner of a local connection")
    return decrypted(params)


def _native(session: Session, source: str, text: str) -> Batches:
    rows = session.source(source).read(text)
    return Batches(rows.schema, rows.batches)
