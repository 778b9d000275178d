"""Owns a statement's way to a cluster: what of its plan goes there, in which parts, and what comes back."""

from __future__ import annotations

import os
import pickle
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

from mindsql import database
from mindsql.batches import Batches
from mindsql.binder.tree import table
from mindsql.cluster.files import PartedFiles, parts_of, read_part, unaliased
from mindsql.cluster.job import Copy, Job, ShippedModel, libraries
from mindsql.cluster.ray import Cluster
from mindsql.database import DuckDBConnection
from mindsql.errors import DataError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.executor.elsewhere import Measured
from mindsql.planner.division import Divided, Division, chain, relations, row_wise_copy
from mindsql.planner.operators import Aggregate, Operator, Plan, Predict, Project, Scan
from mindsql.sandbox import Sandbox

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE_ROWS = 1_000_000
"""A table of more is not sent to every worker."""
_ALONE_ROWS = 20_000_000
"""Fewer rows DuckDB groups here before a cluster has begun, where no engine is asked."""
_SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "json": ".json"}


@dataclass
class Distribution:
    """What of one run of a plan a cluster answers.

    Attributes:
        division: Which operators.
        cluster: Connects to it.
        ship: A model version as workers need it.
        cursor: A DuckDB connection of the session's, to look at files with.
        parameters, settings, sandbox: Those of the session.
        temporary: The names of tables that only the session's own connection sees.
        in_two_steps: The plan with its groups made in the parts first; None when they cannot be.
        alone: The plan, and its division, where a mere scan of files is part of DuckDB's own query.
        plan: The plan.
        execution: The statement.
    """

    division: Division
    cluster: Callable[[], Cluster]
    ship: Callable[[Predict, Cluster], ShippedModel]
    cursor: Callable[[], DuckDBConnection]
    parameters: Mapping[str, Any]
    settings: tuple[str, ...]
    sandbox: Sandbox | None
    temporary: frozenset[str]
    in_two_steps: Callable[[Plan, Divided], Plan | None]
    alone: tuple[Plan, Division]
    plan: Plan
    execution: ExecutionContext
    files: dict[int, PartedFiles] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, divided in list(self.division.parts.items()):
            found = self._parts(divided)
            if isinstance(found, str):
                del self.division.parts[key]
                self.division.reasons[key] = found
            else:
                self.files[key] = found
                self._group(divided)
        if not self.files:
            self.plan, self.division = self.alone

    def _group(self, divided: Divided) -> None:
        """Have the parts group their rows, if the plan does nothing else with these."""
        alone = self.plan is not self.alone[0]
        pays = not alone or self._pays(self.files[id(divided.top)])
        grouped = self.in_two_steps(self.plan, divided) if pays else None
        if grouped is None:
            if alone:
                del self.files[id(divided.top)]
            return
        (top,) = grouped.root.inputs.values()
        assert isinstance(top, Aggregate)
        names = tuple(item.alias for item in top.tree.expressions)
        del self.division.parts[id(divided.top)]
        self.division.parts[id(top)] = Divided(top, divided.files, names)
        self.files[id(top)] = self.files.pop(id(divided.top))
        self.plan = grouped

    def _pays(self, files: PartedFiles) -> bool:
        """Whether the cluster groups sooner what DuckDB can answer alone: not few rows, nor on few processors."""
        return files.rows >= _ALONE_ROWS and self.cluster().width() > (os.cpu_count() or 1)

    def place(self, operator: Operator) -> str:
        """Where an operator is answered, as EXPLAIN shows it; empty where there is nothing to say."""
        if id(operator) in self.files:
            return f"on the cluster, in {len(self.files[id(operator)].parts)} parts"
        reason = self.division.reasons.get(id(operator))
        if operator is self.plan.root and isinstance(self.plan.root.tree, exp.Copy) and self.files:
            target = folder_of(self.plan) if row_wise_copy(self.plan, self.division) is not None else None
            return "written by the workers" if target is not None else "written here"
        return f"here: {reason}" if reason else ""

    def takes(self, operator: Operator) -> bool:
        """Whether the cluster answers this operator and all below it."""
        return id(operator) in self.division.parts

    def inside(self, operator: Operator) -> bool:
        """Whether the cluster has the model of this operator, and this process need not load it."""
        return self.division.inside(operator)

    def batches(self, operator: Operator, measured: Measured) -> Batches:
        """The rows of an operator, in the order of the files."""
        answers = self._run(self.division.parts[id(operator)], None, measured)
        begin = time.perf_counter()
        first = next(answers)
        figures = measured(operator)
        if figures is not None:
            figures.seconds += time.perf_counter() - begin
        execution = self.execution

        def read() -> Iterator[pa.RecordBatch]:
            yield from first.to_batches()
            for rows in answers:
                execution.check()
                yield from rows.to_batches()

        return Batches(first.schema, read())

    def _run(self, divided: Divided, copy: Copy | None, measured: Measured) -> Iterator[Any]:
        cluster, parts = self.cluster(), self.files[id(divided.top)].parts
        job = self._job(divided, cluster, copy)
        begin, done, total = time.monotonic(), 0, sum(part.size for part in parts)
        top = measured(divided.top)
        if top is not None:
            top.counts = {"parts": len(parts)}
        self.execution.report("predicting", 0, total, parts[0].unit, begin)
        for part, answer in cluster.run(job, parts, self.execution):
            done += part.size
            for operator, there in zip(chain(divided.top), answer.figures, strict=True):
                here = measured(operator)
                if here is not None:
                    here.add(there, operator is divided.top and copy is None)
            self.execution.report("predicting", done, total, part.unit, begin)
            yield answer.rows if copy is None else answer

    def _job(self, divided: Divided, cluster: Cluster, copy: Copy | None) -> Job:
        # A plan is kept, and its trees are changed below.
        top: Aggregate | Predict | Project | Scan = pickle.loads(pickle.dumps(divided.top))
        files, joined = relations(_scan(top).tree)
        tables = {}
        for number, node in enumerate(joined):
            name = f"__mindsql_table{number}"
            alias = node.alias_or_name
            tables[name] = self._table(node)
            stand_in = table(name)
            stand_in.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
            node.replace(stand_in)
        read_part(files, self.files[id(divided.top)].told)
        models = {
            operator.model.version.id: self.ship(operator, cluster)
            for operator in chain(top)
            if isinstance(operator, Predict) and operator.outputs
        }
        return Job(
            top,
            divided.columns,
            self.parameters,
            models,
            tables,
            self.settings,
            self.sandbox,
            self.execution.network,
            copy,
            libraries(),
        )

    def _table(self, node: exp.Table) -> pa.Table:
        """The rows of a table that every part needs."""
        raw = self.cursor()
        try:
            return database.table(raw, f"FROM {unaliased(node)}")
        finally:
            raw.close()

    def _parts(self, divided: Divided) -> PartedFiles | str:
        """The parts of the files that a scan reads, in their order, or why they must be read as a whole."""
        raw = self.cursor()
        try:
            for node in relations(_scan(divided.top).tree)[1]:
                if node.name.casefold() in self.temporary:
                    return f"only this connection sees {node.alias_or_name}"
                ((count,),) = database.rows(raw, f"SELECT system.main.count(*) FROM {unaliased(node)}")
                if count > _TABLE_ROWS:
                    return f"each worker would need all {count} rows of {node.name}"
            return parts_of(raw, divided.files, self.parameters, lambda: self.cluster().width())
        finally:
            raw.close()

    # Writing ----------------------------------------------------------------------------------------------------------

    def copied(self, measured: Measured) -> int | None:
        """Have the workers write the rows of a COPY into a folder. None when the statement is no such COPY.

        The parts go to a folder beside the target, which is renamed at the end: there is all or nothing.
        """
        divided = row_wise_copy(self.plan, self.division)
        target = folder_of(self.plan) if divided is not None else None
        if divided is None or target is None:
            return None
        place, suffix, replaces = target
        if place.exists() and not (place.is_dir() and not any(place.iterdir())) and not replaces:
            raise StatementError(
                f'"{place}" is there already', hint="COPY … TO … (OVERWRITE true) replaces it when all rows are written"
            )
        temporary = place.with_name(f".{place.name}.tmp-{uuid.uuid4().hex[:12]}")
        temporary.mkdir(parents=True)
        ((frame, _),) = self.plan.root.inputs.items()
        tree = self.plan.root.tree.copy()
        assert isinstance(tree, exp.Copy)
        tree.set("params", [param for param in tree.args.get("params") or [] if param.name.upper() not in _OF_FOLDERS])
        try:
            count, files = 0, 0
            copy = Copy(tree, frame, str(temporary), suffix)
            for answer in self._run(divided, copy, measured):
                count, files = count + answer.count, files + 1
            if len(list(temporary.iterdir())) != files:
                raise DataError(
                    f"the workers wrote {files} files, and this process does not see all of them in {place.parent}",
                    hint="COPY to a folder that every node of the cluster has",
                )
            (temporary / "_SUCCESS").touch()
            if place.exists():
                old = place.with_name(f".{place.name}.old-{uuid.uuid4().hex[:12]}")
                os.rename(place, old)
                os.rename(temporary, place)
                shutil.rmtree(old)
            else:
                os.rename(temporary, place)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return count


_OF_FOLDERS = frozenset({"PER_THREAD_OUTPUT", "OVERWRITE", "OVERWRITE_OR_IGNORE"})


def folder_of(plan: Plan) -> tuple[Path, str, bool] | None:
    """The folder that a COPY writes to, how the names of its files end, and whether it may be there already; None when
    it writes one file, or not to this machine."""
    tree = plan.root.tree
    if not isinstance(tree, exp.Copy):
        return None
    params = {param.name.upper(): param.args.get("expression") for param in tree.args.get("params") or []}
    files = tree.args.get("files") or []
    if len(files) != 1 or not (isinstance(files[0], exp.Literal) and files[0].is_string) or "://" in files[0].name:
        return None
    if {"PARTITION_BY", "FILE_SIZE_BYTES", "FILENAME_PATTERN", "APPEND"} & params.keys():
        return None
    place = Path(files[0].name)
    kind = params["FORMAT"].name.casefold() if params.get("FORMAT") is not None else "csv"
    if kind not in _SUFFIXES or (place.suffix and not _true(params, "PER_THREAD_OUTPUT")):
        return None
    return place, _SUFFIXES[kind], _true(params, "OVERWRITE") or _true(params, "OVERWRITE_OR_IGNORE")


def _true(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name)
    return name in params and (value is None or str(value.name or value.this).casefold() in ("true", "1"))


def _scan(top: Operator) -> Scan:
    (scan,) = (operator for operator in chain(top) if isinstance(operator, Scan))
    return scan
