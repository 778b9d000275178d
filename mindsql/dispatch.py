"""Owns what each kind of statement does: a query goes through the stages, a command to its function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.commands import (
    databases,
    describe,
    evaluate,
    executor,
    explain,
    models,
    prepared,
    show,
    views,
    writing,
)
from mindsql.execution import ExecutionContext
from mindsql.result import Result

if TYPE_CHECKING:
    from mindsql.session import Session

Command: TypeAlias = "Callable[[Session, Any, Mapping[str, Any], ExecutionContext], Result | None]"

COMMANDS: dict[type[grammar.Statement], Command] = {
    grammar.CreateEngine: databases.create_engine,
    grammar.CreateProject: databases.create_project,
    grammar.CreateDatabase: databases.create_database,
    grammar.Use: databases.use,
    grammar.CreateModel: models.create,
    grammar.Retrain: models.retrain,
    grammar.Finetune: models.finetune,
    grammar.SetActive: models.set_active,
    grammar.SetExecutor: executor.set_executor,
    grammar.Drop: databases.drop,
    grammar.CreateView: views.create,
    grammar.Prepare: prepared.prepare,
    grammar.Execute: prepared.execute,
    grammar.Deallocate: prepared.deallocate,
    grammar.Show: show.show,
    grammar.Describe: describe.describe,
    grammar.DuckDB: describe.describe_query,
    grammar.Evaluate: evaluate.evaluate,
    grammar.Explain: explain.explain,
}
"""Statement → the command that runs it. A command returns None to leave the statement to DuckDB as it was written."""


def run(
    session: Session, statement: Any, text: str, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """Run a statement. None means that it is DuckDB's alone."""
    written = writing.write(session, statement, text, parameters, execution)
    if written is not None:
        execution.close()
        return written
    if isinstance(statement, grammar.Query):
        plan = queries.prepare(session, statement, text, parameters)
        return None if plan is None else queries.answer(session, plan, parameters, execution)
    command = COMMANDS.get(type(statement))
    if command is None:
        return None
    result = command(session, statement, parameters, execution)
    if result is not None and result.kind != "rows":
        execution.close()
    return result


def run_kept(session: Session, text: str, parameters: Mapping[str, Any], execution: ExecutionContext) -> Result | None:
    """Run a text whose plan was kept; None when there is none."""
    plan = queries.kept_plan(session, text, parameters)
    if plan is None and not parameters:
        found = queries.auto_parameterized_plan(session, text)
        if found is not None:
            plan, parameters = found
    return None if plan is None else queries.answer(session, plan, parameters, execution)
