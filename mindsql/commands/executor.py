"""Owns SET executor: where queries over files are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql.cluster.ray import LOCAL, connected
from mindsql.commands.answers import done
from mindsql.errors import AccessError
from mindsql.execution import ExecutionContext
from mindsql.result import Result

if TYPE_CHECKING:
    from mindsql.session import Session


def set_executor(
    session: Session, statement: grammar.SetExecutor, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """SET executor: connect to the cluster, or start it; then queries go there."""
    if not session.settings.trusted:
        raise AccessError(
            "SET executor is for the owner of a local connection", hint="mindsql serve --executor sets it"
        )
    wanted = statement.executor if statement.executor is not None else LOCAL
    executor = execution.wait(execution.submit(lambda: connected(wanted)))
    session.settings = replace(session.settings, executor=executor)
    session.plans.clear()
    return done(f'queries over files are answered {"here" if executor == LOCAL else f"by {executor}"}')
