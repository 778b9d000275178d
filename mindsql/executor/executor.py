"""Owns the running of a plan: which connection each query runs on, what streams and what is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

from mindsql import database, duckdb_errors
from mindsql.batches import Batches
from mindsql.binder.tree import RELATION, column, generate, parameters_in, printed, returned, table
from mindsql.bound import BoundModel
from mindsql.database import DuckDBConnection
from mindsql.errors import MindSQLError
from mindsql.execution import ExecutionContext, shielded
from mindsql.executor.cells import cell
from mindsql.executor.elsewhere import Elsewhere
from mindsql.executor.engines import LoadedModel
from mindsql.executor.pipeline import BATCH_ROWS, OperatorMetrics, counted, predict
from mindsql.executor.prediction_cache import PredictionCache
from mindsql.planner.operators import (
    Aggregate,
    Kept,
    Operator,
    Output,
    Plan,
    Predict,
    Project,
    Scan,
    Values,
    operators,
    walk,
)

if TYPE_CHECKING:
    import pyarrow as pa


_RETURNED, _ANSWER = "__mindsql_returned", "__mindsql_answer"


@dataclass
class PlanOutput:
    """What a plan gives: the open result of a DuckDB connection, or batches with their column names."""

    raw: DuckDBConnection | None = None
    batches: Batches | None = None
    names: list[str] = field(default_factory=list)
    streams: list[Batches] = field(default_factory=list)


@dataclass
class Executor:
    """Runs plans for one connection.

    Attributes:
        raw: The user's own DuckDB connection.
        cursor: Makes another one, with the same session settings.
        in_transaction: Whether the user has an open transaction, whose rows only `raw` sees.
        load: Loads a model version.
        read_native: Opens a source's native query.
        stream: Whether to stream at all; off, every frame is kept as a table first.
        store: Where a model's answers are kept, if they are.
        inspect: Is asked before DuckDB runs a part of the user's statement; raises to refuse it.
        elsewhere: Answers parts of the plan on other machines.
    """

    raw: DuckDBConnection
    cursor: Callable[[], DuckDBConnection]
    in_transaction: bool
    load: Callable[[BoundModel], LoadedModel]
    read_native: Callable[[str, str], Batches]
    stream: bool = True
    store: Callable[[BoundModel], PredictionCache | None] | None = None
    inspect: Callable[[DuckDBConnection, str, Any], None] | None = None
    elsewhere: Elsewhere | None = None

    def run(
        self,
        plan: Plan,
        parameters: Mapping[str, Any],
        execution: ExecutionContext,
        measure: bool = False,
    ) -> PlanExecution:
        """Start a plan. Its answer streams; `work.close()` releases what it holds."""
        run = PlanExecution(self, plan, parameters, execution, measure)
        run.start()
        return run


class PlanExecution:
    """One run of one plan."""

    def __init__(
        self, executor: Executor, plan: Plan, parameters: Mapping[str, Any], execution: ExecutionContext, measure: bool
    ) -> None:
        self.executor = executor
        self.plan = plan
        self.parameters = parameters
        self.execution = execution
        self.figures: dict[int, OperatorMetrics] | None = {} if measure else None
        self.streams: list[Batches] = []
        self.models: dict[str, LoadedModel] = {}
        self.answer = PlanOutput()
        self.built: dict[int, pa.Table] = {}

    def start(self) -> None:
        plan, executor = self.plan, self.executor
        for operator in operators(plan):
            here = executor.elsewhere is None or not executor.elsewhere.inside(operator)
            if isinstance(operator, Predict) and operator.outputs and here:
                # Before any scan is open: artifacts are read on the user's connection.
                self.models[operator.model.version.id] = executor.load(operator.model)
        if executor.in_transaction or all(kept.writes is None for kept in plan.kept):
            self.begin(commit=False)
            return
        try:
            database.run(executor.raw, "BEGIN TRANSACTION")
            self.begin(commit=True)
        except BaseException:
            shielded(lambda: _rollback(executor.raw))
            raise

    def begin(self, commit: bool) -> None:
        """Start the statement; with `commit`, its transaction is ended, too."""
        plan, executor = self.plan, self.executor
        self.streaming = False
        if executor.elsewhere is not None and not plan.kept:
            count = executor.elsewhere.copied(self.figure)
            if count is not None:
                database.open_result(executor.raw, f'SELECT {count}::BIGINT AS "Count"')
                self.answer.raw = executor.raw
                return
        for kept in plan.kept:
            self.keep(kept)
        scan_raw, finish_raw, streams = self.placement()
        self.scan_raw = scan_raw
        self.streaming = streams and executor.stream
        if commit:
            self.settle()
            return
        if plan.direct is not None:
            (frame,) = plan.root.inputs.values()
            batches = self.batches(frame)
            self.answer.names = [name for name, _ in plan.direct]
            self.answer.batches = _picked(batches, [source for _, source in plan.direct])
            return
        raw = finish_raw()
        if self.execution.arrow and isinstance(plan.root.tree, exp.Query) and self.figures is None:
            frames = self.register(raw, plan.root.inputs, plan.root.tree)
            self.answer.batches = self.scan_on(raw, plan.root.tree, frames)
            return
        self.finish(plan.root, raw)
        self.answer.raw = raw
        self.answer.streams = self.streams

    # What is evaluated once ---------------------------------------------------------------------------------------

    def keep(self, kept: Kept) -> None:
        """Make the temporary table of an expression that is evaluated once."""
        raw = self.executor.raw
        self.scan_raw = lambda: raw
        name = f"temp.main.{database.quote(kept.name)}"
        self.execution.on_close(lambda: _drop(raw, name))
        self.register(raw, kept.inputs, kept.tree)
        sql, wanted = generate(kept.tree), self.wanted(kept.tree)
        self.inspect(raw, sql, wanted)
        if kept.writes is None:
            database.run(raw, f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}", wanted)
            return
        database.open_result(raw, sql, wanted)
        with duckdb_errors.translated():
            rows = database.result_reader(raw, BATCH_ROWS).read_all()
        shape = generate(returned(kept.writes))
        database.run(raw, f"CREATE OR REPLACE TEMP TABLE {name} AS FROM ({shape}) LIMIT 0", self.wanted(kept.writes))
        with duckdb_errors.translated():
            raw.register(_RETURNED, rows)
        try:
            database.run(raw, f"INSERT INTO {name} FROM {database.quote(_RETURNED)}")
        finally:
            _unregister(raw, _RETURNED)

    def settle(self) -> None:
        """Keep the answer, and commit what was written for it: its rows may be read much later."""
        raw, name = self.executor.raw, f"temp.main.{database.quote(_ANSWER)}"
        columns = [f"c{number}" for number in range(len(self.plan.schema))]
        query = f"FROM ({printed(self.plan.root.tree)}) AS q({', '.join(columns)})"
        wanted = self.wanted(self.plan.root.tree)
        self.register(raw, self.plan.root.inputs, self.plan.root.tree)
        self.inspect(raw, query, wanted)
        database.run(raw, f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", wanted)
        self.execution.on_close(lambda: _drop(raw, name))
        database.run(raw, "COMMIT")
        named = zip(columns, self.plan.schema.names, strict=True)
        database.open_result(raw, f"SELECT {', '.join(f'{c} AS {database.quote(n)}' for c, n in named)} FROM {name}")
        self.answer.raw = raw

    # Which connection ---------------------------------------------------------------------------------------------

    def placement(self) -> tuple[Callable[[], DuckDBConnection], Callable[[], DuckDBConnection], bool]:
        """The connections for scans and for the finish, and whether frames may stream.

        An open result owns its connection, and what is temporary, registered or uncommitted is visible on the
        user's own only. So the one scan that needs it gets it, and the finish goes to a cursor; when both need it,
        the frames are kept as tables first.
        """
        own = lambda: self.executor.raw  # noqa: E731 - two names for two little functions
        other = self.other
        root = self.plan.root
        if self.plan.kept:
            return own, own, False
        scans = [op for op in walk(root) if isinstance(op, Scan) and _needs_tables(op.tree, op.inputs)]
        reads_only = isinstance(root.tree, exp.Query)
        finish_needs = not reads_only or _needs_tables(root.tree, root.inputs) or bool(self.plan.natives)
        if len(scans) <= 1 and (not finish_needs or self.plan.direct is not None):
            return own, other, True
        if not self.executor.in_transaction and not self.sees_temporary(root):
            return other, own, True
        return own, own, False

    def other(self) -> DuckDBConnection:
        """A cursor of this statement's own."""
        raw = self.executor.cursor()
        self.execution.raws.append(raw)
        self.execution.on_close(raw.close)
        return raw

    def sees_temporary(self, root: Output) -> bool:
        """Whether the plan names something that only the user's connection sees."""
        temporary = database.temporary_names(self.executor.raw)
        if not temporary:
            return False
        trees = [op.tree for op in walk(root) if isinstance(op, (Scan, Output))]
        names = {node.name.casefold() for tree in trees for node in tree.find_all(exp.Table)}
        return bool(names & temporary)

    # Operators ----------------------------------------------------------------------------------------------------

    def batches(self, operator: Operator) -> Batches:
        """The output of an operator as a stream."""
        if self.executor.elsewhere is not None and self.executor.elsewhere.takes(operator):
            result = self.executor.elsewhere.batches(operator, self.figure)
        elif isinstance(operator, Scan):
            result = self.scan(operator)
        elif isinstance(operator, Values):
            result = self.values(operator)
        elif isinstance(operator, Predict):
            source = self.batches(operator.source)
            if not operator.outputs:
                return source
            model = self.models[operator.model.version.id]
            store = self.executor.store(operator.model) if self.executor.store is not None else None
            result = predict(operator, source, model, self.execution, self.figure(operator), store)
        elif isinstance(operator, Project):
            result = self.compute(operator)
        elif isinstance(operator, Aggregate):
            raw, source = self.other(), self.batches(operator.source)
            self.register_one(raw, operator.name, source)
            result = self.scan_on(raw, operator.tree, [source])
        else:
            raise AssertionError(operator)
        if self.figures is not None:
            result = Batches(
                result.schema, counted(iter(result), self.figures.setdefault(id(operator), OperatorMetrics()))
            )
        return result

    def figure(self, operator: Operator) -> OperatorMetrics | None:
        return self.figures.setdefault(id(operator), OperatorMetrics()) if self.figures is not None else None

    def scan(self, operator: Scan) -> Batches:
        raw = self.scan_raw() if _needs_tables(operator.tree, operator.inputs) else self.other()
        streams = self.register(raw, operator.inputs, operator.tree)
        sql = printed(operator.tree)
        self.execution.raws.append(raw)
        wanted = self.wanted(operator.tree)
        self.inspect(raw, sql, wanted)
        return self.read(raw, sql, wanted, streams)

    def read(self, raw: DuckDBConnection, sql: str, wanted: Mapping[str, Any], streams: list[Batches]) -> Batches:
        """The rows of a query over streams."""
        reader = database.reader(raw, sql, wanted, BATCH_ROWS)
        batches = self.execution.batches(reader, lambda error: self.cause(streams, error))
        return Batches(reader.schema, (batch for batch in batches if batch.num_rows))

    def inspect(self, raw: DuckDBConnection, sql: str, wanted: Mapping[str, Any]) -> None:
        if self.executor.inspect is not None:
            self.executor.inspect(raw, sql, wanted)

    def cause(self, streams: list[Batches], error: BaseException) -> BaseException:
        """What really happened below a query that DuckDB says failed."""
        self.execution.check()
        return next((s.error for s in streams if s.error is not None), None) or duckdb_errors.translate_any(error)

    def values(self, operator: Values) -> Batches:
        import pyarrow as pa

        none = any(self.parameters[name] is None for name in operator.required)
        arrays = []
        for item in operator.cells:
            value = self.parameters[item.parameter] if item.parameter is not None else item.value
            scalar = cell(value, item.type, self.other, item.parameter is not None)
            arrays.append(pa.array([scalar], scalar.type))
        batch = pa.RecordBatch.from_arrays(arrays, names=operator.names)
        return Batches(batch.schema, iter([] if none else [batch]))

    def compute(self, operator: Project) -> Batches:
        raw = self.other()
        source = self.batches(operator.source)
        self.register_one(raw, operator.name, source)
        select = exp.Select(
            expressions=[
                *(exp.alias_(column(name, operator.name), name, quoted=True) for name in source.schema.names),
                *(exp.alias_(value.copy(), name, quoted=True) for name, value in operator.columns.items()),
            ],
            from_=exp.From(this=table(operator.name)),
        )
        return self.scan_on(raw, select, [source])

    def scan_on(self, raw: DuckDBConnection, tree: exp.Query, streams: list[Batches]) -> Batches:
        sql, wanted = generate(tree), self.wanted(tree)
        self.inspect(raw, sql, wanted)
        return self.read(raw, sql, wanted, streams)

    def finish(self, operator: Output, raw: DuckDBConnection) -> None:
        """Start the user's own statement over the frames."""
        streams = self.register(raw, operator.inputs, operator.tree)
        if raw not in self.execution.raws:
            self.execution.raws.append(raw)
        begin = time.perf_counter()
        sql, wanted = printed(operator.tree), self.wanted(operator.tree)
        self.inspect(raw, sql, wanted)
        try:
            database.open_result(raw, sql, wanted)
        except MindSQLError as error:
            cause = next((stream.error for stream in streams if stream.error is not None), None)
            if cause is not None:
                raise cause from None
            raise error
        if self.figures is not None:
            self.figures[id(operator)] = OperatorMetrics(seconds=time.perf_counter() - begin)

    # Registration -------------------------------------------------------------------------------------------------

    def register(self, raw: DuckDBConnection, inputs: Mapping[str, Operator], tree: exp.Expr) -> list[Batches]:
        """Make frames and native queries readable as tables. Returns the streams, to ask them what went wrong."""
        streams = []
        for name, operator in inputs.items():
            streams.append(self.register_frame(raw, name, operator, _reads(tree, name)))
        for node in tree.find_all(exp.Table):
            name = node.meta.get(RELATION, "")
            if name in self.plan.natives and name not in inputs:
                native = self.executor.read_native(*self.plan.natives[name])
                if not self.streaming or _reads(tree, name) > 1:
                    self.register_one(raw, name, _kept(native))
                    continue
                self.execution.on_close(native.close)
                self.streams.append(native)
                streams.append(native)
                self.register_one(raw, name, native)
        return streams

    def register_frame(self, raw: DuckDBConnection, name: str, operator: Operator, reads: int) -> Batches:
        if id(operator) not in self.built:
            batches = self.batches(operator)
            if self.streaming and reads <= 1 and self.shared(operator) <= 1:
                self.streams.append(batches)
                self.register_one(raw, name, batches)
                return batches
            self.built[id(operator)] = _kept(batches)
        self.register_one(raw, name, self.built[id(operator)])
        return Batches(self.built[id(operator)].schema, iter(()))

    def shared(self, operator: Operator) -> int:
        """How many operators read a frame."""
        return sum(
            1
            for other in operators(self.plan)
            if isinstance(other, (Scan, Output, Kept)) and any(child is operator for child in other.inputs.values())
        )

    def register_one(self, raw: DuckDBConnection, name: str, data: Any) -> None:
        with duckdb_errors.translated():
            raw.register(name, data)
        if raw is self.executor.raw:
            self.execution.on_close(lambda: _unregister(raw, name))

    def wanted(self, tree: exp.Expr) -> dict[str, Any]:
        """The parameters that a piece of the statement names."""
        return {name: self.parameters[name] for name in parameters_in(tree) if name in self.parameters}


def _rollback(raw: DuckDBConnection) -> None:
    database.abandon(raw)
    with duckdb_errors.ignored():
        raw.execute("ROLLBACK")


def _drop(raw: DuckDBConnection, name: str) -> None:
    database.abandon(raw)
    with duckdb_errors.ignored():
        raw.execute(f"DROP TABLE IF EXISTS {name}")


def _unregister(raw: DuckDBConnection, name: str) -> None:
    with duckdb_errors.ignored():
        raw.unregister(name)


def _kept(batches: Batches) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches(list(batches), batches.schema)


def _picked(batches: Batches, columns: list[str]) -> Batches:
    """Columns of a frame, in the order of the answer. Names may repeat, so they stay with the answer."""
    import pyarrow as pa

    indices = [batches.schema.get_field_index(name) for name in columns]
    schema = pa.schema([batches.schema.field(index) for index in indices])
    return Batches(
        schema,
        (pa.RecordBatch.from_arrays([batch.column(i) for i in indices], schema=schema) for batch in batches),
    )


def _needs_tables(tree: exp.Expr, inputs: Mapping[str, Operator]) -> bool:
    """Whether a query reads anything but frames."""
    ctes = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    for node in tree.find_all(exp.Table):
        if not isinstance(node.this, exp.Identifier):
            continue  # a table function reads no table
        if node.name not in inputs and (node.db or node.name.casefold() not in ctes):
            return True
    return False


def _reads(tree: exp.Expr, name: str) -> int:
    """How often DuckDB may read a table: more than once below a CTE, a recursion or in a correlated subquery."""
    count = 0
    for node in tree.find_all(exp.Table):
        if node.name != name:
            continue
        count += 1
        ancestor = node.parent
        while ancestor is not None:
            if isinstance(ancestor, (exp.CTE, exp.Pivot)):
                # PIVOT reads first which columns there are.
                count += 1
            if isinstance(ancestor, (exp.Exists, exp.In)):
                count += 1
            if isinstance(ancestor, exp.Subquery) and not isinstance(ancestor.parent, (exp.From, exp.Join)):
                count += 1
            ancestor = ancestor.parent
    return count
