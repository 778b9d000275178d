"""Owns how batches pass through a model: cut to size, answered in order by several threads, counted."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mindsql.batches import Batches
from mindsql.execution import ExecutionContext
from mindsql.executor.engines import LoadedModel
from mindsql.executor.prediction_cache import BatchPredictor, PredictionCache
from mindsql.planner.operators import Predict

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 32768
_JSON = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
_SPLIT_ROWS = 16384
"""Batches shorter than this are not worth a second thread."""


@dataclass
class OperatorMetrics:
    """What EXPLAIN ANALYZE shows of an operator."""

    rows: int = 0
    batches: int = 0
    seconds: float = 0.0
    calls: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    def add(self, part: OperatorMetrics, counted: bool) -> None:
        """Add what was measured of a part of it elsewhere; its rows, unless they are `counted` here."""
        if not counted:
            self.rows += part.rows
            self.batches += part.batches
            self.seconds += part.seconds
        if part.calls is not None:
            self.calls = (self.calls or 0) + part.calls

    def __str__(self) -> str:
        text = f"{self.rows} rows, {self.batches} batches, {self.seconds:.3f} s"
        if self.calls is not None:
            text += f", {self.calls} engine calls"
        return text + "".join(f", {count} {name}" for name, count in self.counts.items())


def counted(batches: Iterator[pa.RecordBatch], figures: OperatorMetrics) -> Iterator[pa.RecordBatch]:
    """Count what passes; seconds are those spent below, so inputs are included."""
    while True:
        begin = time.perf_counter()
        batch = next(batches, None)
        figures.seconds += time.perf_counter() - begin
        if batch is None:
            return
        figures.rows += batch.num_rows
        figures.batches += 1
        yield batch


def predict(
    operator: Predict,
    source: Batches,
    model: LoadedModel,
    execution: ExecutionContext,
    figures: OperatorMetrics | None,
    store: PredictionCache | None = None,
) -> Batches:
    """Append a model's columns to each batch; `store` keeps its answers from statement to statement."""
    import pyarrow as pa

    schema = source.schema
    for output, name in operator.outputs.items():
        found = model.version.outputs.find(output)
        # Arrow has no JSON of its own: the mark makes it JSON again in DuckDB.
        mark = _JSON if found is not None and found.type == "JSON" else None
        schema = schema.append(pa.field(name, model.arrow_type(output), metadata=mark))
    outputs = list(operator.outputs)
    begin, done, phase = time.monotonic(), 0, "predicting"
    counting = threading.Lock()

    def tell(rows: int = 0, text: str = "") -> None:
        """The engine tells of the rows within its call; what else it says stays until it says something new."""
        nonlocal phase
        phase = f"predicting ({text})" if text else phase
        execution.report(phase, done + rows, None, "rows", begin)

    # What was promised in training need not be what the engine promises now.
    once = operator.once and model.capabilities.deterministic and model.capabilities.row_wise
    predictor = BatchPredictor(model, outputs, operator.model.params, execution.context(tell), store, once)
    execution.on_close(predictor.close)
    if figures is not None:
        figures.counts = predictor.context.counts
    picks: list[tuple[str, int | None]] = [
        (name, source.schema.get_field_index(column) if column is not None else None)
        for name, column in operator.inputs.items()
    ]

    def answer(batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        arrays = [
            batch.column(index) if index is not None else pa.nulls(batch.num_rows) for _, index in picks
        ]
        if not outputs:
            return batch
        inputs = pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in picks])
        if not arrays:
            inputs = batch
        if figures is not None:
            figures.calls = (figures.calls or 0) + 1
        answers = (
            predictor.answer(inputs, first)
            if batch.num_rows
            else [pa.array([], model.arrow_type(output)) for output in outputs]
        )
        nonlocal done
        with counting:
            done += batch.num_rows
        tell()
        return pa.RecordBatch.from_arrays([*batch.columns, *answers], schema=schema)

    return Batches(schema, _ordered(_sized(source, model), answer, model, execution))


def _sized(source: Batches, model: LoadedModel) -> Iterator[pa.RecordBatch]:
    """Batches as large as the engine wants them; all rows at once when its answers depend on each other."""
    import pyarrow as pa

    capabilities = model.capabilities
    if not capabilities.row_wise:
        table = pa.Table.from_batches(list(source), source.schema).combine_chunks()
        yield from table.to_batches() or [pa.RecordBatch.from_pylist([], source.schema)]
        return
    most = min(BATCH_ROWS, capabilities.batch_rows or BATCH_ROWS)
    workers = _workers(model)
    for batch in source:
        size = most
        if workers > 1 and batch.num_rows >= 2 * _SPLIT_ROWS:
            size = min(most, -(-batch.num_rows // workers))
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size) if batch.num_rows > size else batch


def _workers(model: LoadedModel) -> int:
    capabilities = model.capabilities
    if not (capabilities.thread_safe and capabilities.row_wise):
        return 1
    return max(1, min(os.cpu_count() or 1, capabilities.max_concurrency or os.cpu_count() or 1))


def _ordered(
    batches: Iterator[pa.RecordBatch],
    answer: Callable[[pa.RecordBatch, int], pa.RecordBatch],
    model: LoadedModel,
    execution: ExecutionContext,
) -> Iterator[pa.RecordBatch]:
    """Answer batches in several threads, in order, at most a few ahead of the reader."""
    workers = _workers(model)
    pending: deque[Future[pa.RecordBatch]] = deque()
    rows = 0

    def call(batch: pa.RecordBatch, first: int) -> Future[pa.RecordBatch]:
        if workers == 1:
            return execution.submit(lambda: answer(batch, first))
        return execution.submit(lambda: _single_threaded(model, lambda: answer(batch, first)))

    try:
        # One batch is scanned ahead of the predicting threads.
        for batch in batches:
            pending.append(call(batch, rows))
            rows += batch.num_rows
            if len(pending) <= workers:
                continue
            result = execution.wait(pending[0])
            pending.popleft()
            yield result
        while pending:
            result = execution.wait(pending[0])
            pending.popleft()
            yield result
    finally:
        if execution.stopped and any(not future.done() for future in pending):
            model.abandoned = True


def _single_threaded(model: LoadedModel, call: Callable[[], pa.RecordBatch]) -> pa.RecordBatch:
    """Parallelism is across batches: OpenMP inside each thread would only spin on barriers."""
    with _openmp(model.version.id).limit(limits=1):
        return call()


@lru_cache(maxsize=64)
def _openmp(version: str) -> Any:
    """The OpenMP libraries in memory once a version was loaded; looking for them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")
