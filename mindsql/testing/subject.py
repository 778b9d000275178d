"""Owns how an engine under test is trained, stored, loaded and asked: at the executor's own border."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from mindsql.database import Database, arrow_type
from mindsql.engine import Engine, EngineStorage, Storage, Summary
from mindsql.engine_call import call_create
from mindsql.executor.engines import LoadedModel, engine_boundary, trial_outputs
from mindsql.executor.loading import engine_args
from mindsql.frames import to_pandas
from mindsql.options import check as check_options
from mindsql.schema import Schema
from mindsql.snapshot import Version
from mindsql.testing.data import TrainingData, training_data

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class CheckFailed(AssertionError):
    """An engine does not keep a promise of the contract; the text names the check."""


def expect(condition: object, message: str) -> None:
    """Raise CheckFailed unless the condition holds."""
    if not condition:
        raise CheckFailed(message)


@dataclass(frozen=True)
class Case:
    """An engine class with what it is to be checked with.

    Attributes:
        cls: The engine.
        options: As in `CREATE MODEL … USING`; needed when the engine requires some.
        data: The rows to train on and to ask for; small flats and their rents when not given.
        engine_options: As in `CREATE ML_ENGINE … USING`.
        known_failures: Check name → reason. Such a check must fail: when it passes, the entry is out of date.
        name: In reports and test ids; the class's name when not given.
    """

    cls: type[Engine]
    options: Mapping[str, Any] = field(default_factory=dict)
    data: TrainingData | None = None
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    known_failures: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def label(self) -> str:
        """The name to show."""
        return self.name or self.cls.__name__


Answers = dict[str, list[Any]]


class Subject:
    """An engine under test: trained once, then loaded as often as a check likes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.cls = case.cls
        self.data = case.data if case.data is not None else training_data()
        self.label = (case.label, "checked")

    @property
    def target(self) -> str:
        """The column to predict."""
        return self.data.target

    @cached_property
    def using(self) -> dict[str, Any]:
        """The options, checked, with defaults."""
        return check_options(self.case.options, self.cls.options_for(self.case.options), self.case.label)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The training rows as the engine gets them; copy before a change."""
        return to_pandas(self.data.table)

    def engine_storage(self) -> EngineStorage:
        """The storage of the engine, with checked options."""
        storage = EngineStorage(
            check_options(self.case.engine_options, self.cls.engine_options, self.case.label)
        )
        storage.files.update(self._engine_files)
        return storage

    @cached_property
    def _engine_files(self) -> dict[str, bytes]:
        given = check_options(self.case.engine_options, self.cls.engine_options, self.case.label)
        storage = EngineStorage(given)
        if self.cls.create_engine is not Engine.create_engine:
            self.cls(engine_storage=storage).create_engine(dict(given))
        return dict(storage.files)

    # Training ----------------------------------------------------------------------------------------------

    def args(self, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """What `create` is told, and with `columns` what `predict` is."""
        anomaly = self.data.schema.find(self.target) is None
        args = engine_args(self.target, self.using, {"anomaly": anomaly})
        if columns is None:
            return {**args, "schema": self.data.schema, "trusted": True}
        # The model is this process's own, as one is that was trained in the same session.
        trusted = {"trusted": True} if self.using.get("trusted") else {}
        return {**args, **trusted, "predict_params": {}, "columns": list(columns)}

    def train(self, rows: Any = None, args: dict[str, Any] | None = None) -> Engine:
        """A freshly trained engine; `rows` are a data frame, or Arrow for an engine that takes it."""
        engine = self.cls(model_storage=Storage(info=self._info), engine_storage=self.engine_storage())
        call_create(engine, self.target, self.frame.copy() if rows is None else rows, args or self.args())
        return engine

    @property
    def _info(self) -> dict[str, Any]:
        return {"name": "checked", "project": "mindsql", "target": self.target, "using": dict(self.using)}

    @cached_property
    def _trained(self) -> tuple[dict[str, bytes], Summary, bool]:
        engine = self.train()
        summary = engine.summary()
        declared = summary is not None
        if summary is None:
            target = self.data.schema.find(self.target)
            inputs = self.data.schema.without(self.target)
            trial = to_pandas(self.data.table.select(inputs.names).slice(0, 3))
            with engine_boundary(*self.label):
                outputs = trial_outputs(engine, self.target, target, trial, self.args([self.target]))
            summary = Summary(inputs, outputs)
        return dict(engine.model_storage.files), summary, declared

    @property
    def files(self) -> dict[str, bytes]:
        """What the training stored: a copy."""
        return dict(self._trained[0])

    @property
    def summary(self) -> Summary:
        """What the engine says of its model, or what is told from a trial."""
        return self._trained[1]

    @property
    def declares_outputs(self) -> bool:
        """Whether the engine itself says which columns it answers."""
        return self._trained[2]

    # Asking ------------------------------------------------------------------------------------------------

    def engine(self, files: Mapping[str, bytes] | None = None) -> Engine:
        """A fresh instance that has nothing but stored files."""
        stored = self.files if files is None else dict(files)
        storage = Storage(load=stored.get, names=lambda: list(stored), info=self._info)
        return self.cls(model_storage=storage, engine_storage=self.engine_storage())

    def loaded(self, files: Mapping[str, bytes] | None = None, summary: Summary | None = None) -> LoadedModel:
        """A fresh model version as the executor holds it."""
        summary = summary or self.summary
        described = {"inputs": list(summary.inputs.pairs()), "outputs": list(summary.outputs.pairs())}
        version = Version(
            "0", "mindsql", "checked", 1, "complete", self.case.label, "", self.target, summary=described
        )
        types = _arrow_types(summary.outputs)
        return LoadedModel(version, self.engine(files), types, self.args([]), 0)

    @property
    def outputs(self) -> list[str]:
        """The names of all outputs, the target first."""
        return self.summary.outputs.names

    @cached_property
    def batch(self) -> pa.RecordBatch:
        """The rows to ask for: the model's inputs, in its order."""
        return self.batch_of(self.data.table)

    def batch_of(self, table: pa.Table) -> pa.RecordBatch:
        """The inputs in a table, as one batch."""
        import pyarrow as pa

        folded = {name.casefold(): name for name in table.column_names}
        names = self.summary.inputs.names
        arrays = [table.column(folded[name.casefold()]).combine_chunks() for name in names]
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def answer(
        self, batch: pa.RecordBatch, columns: Sequence[str] | None = None, model: LoadedModel | None = None
    ) -> Answers:
        """Ask as the executor does: the predictor if there is one, of a fresh model unless one is given."""
        names = list(columns or self.outputs)
        arrays = (model or self.loaded()).answer(batch, names, {})
        return {name: array.to_pylist() for name, array in zip(names, arrays, strict=True)}

    def predict(self, frame: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Ask the method `predict` of a fresh instance itself."""
        return self.engine().predict(frame, self.args(columns or [self.target]))


@cache
def _arrow_types(schema: Schema) -> dict[str, pa.DataType]:
    """The Arrow types in which DuckDB hands out the columns."""
    memory = Database(":memory:", read_only=False)
    raw = memory.cursor()
    try:
        return {column.name: arrow_type(raw, column.type) for column in schema}
    finally:
        raw.close()
        memory.close()


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for the last bits of floats; JSON is compared by what it says."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, (float, int)):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-7, abs_tol=1e-9)
    if (
        isinstance(one, str)
        and isinstance(other, str)
        and one != other
        and one[:1] + other[:1] in ("{{", "[[")
    ):
        return same(json.loads(one), json.loads(other))
    return bool(one == other)


def difference(one: Answers, other: Answers) -> str:
    """The first answer that differs, in words; empty when none does."""
    for name in one:
        if len(one[name]) != len(other[name]):
            return f"{name}: {len(one[name])} answers and {len(other[name])}"
        for row, (first, second) in enumerate(zip(one[name], other[name], strict=True)):
            if not same(first, second):
                return f"{name}, row {row}: {first!r} and {second!r}"
    return ""
