"""Owns what can be switched for one connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mindsql.database import DuckDBConnection
from mindsql.engine import Network


@dataclass
class Settings:
    """What can be switched for one connection.

    Attributes:
        without_rules: Names of the optional planner rules to leave out.
        lift_constants: Whether statements that differ in constants only share a plan.
        stream: Whether frames stream; off, each is kept as a table first.
        trusted: Whether `trusted = true` may load pickles: for the owner of a local connection only.
        replacements: Whether a DataFrame in a local variable can be named in FROM.
        allowed_hosts: The hosts that engines may connect to, `*.example.com` for those below one; None for any.
        private_hosts: Whether engines may connect to loopback, private and link-local addresses.
        background: Whether `join_learn_process = false` may leave a training to the background: for who keeps the
            database open. `"always"` leaves every training there that does not say `join_learn_process = true`.
        observe: Is told of each call of an engine: the model as `project.model`, how many rows, and its seconds.
        models: Whether a query may name models in FROM.
        executor: Where queries over files are answered: `local`, `ray` or `ray://host:port`.
        inspect: Is asked before DuckDB runs a user's text on a connection, with its parameters; raises to refuse it.
    """

    without_rules: frozenset[str] = frozenset()
    lift_constants: bool = True
    stream: bool = True
    trusted: bool = True
    replacements: bool = True
    allowed_hosts: tuple[str, ...] | None = None
    private_hosts: bool = True
    background: bool | Literal["always"] = False
    observe: Callable[[str, int, float], None] | None = None
    models: bool = True
    executor: str = "local"
    inspect: Callable[[DuckDBConnection, str, Any], None] | None = None

    @property
    def network(self) -> Network:
        """Where engines may connect to."""
        return Network(self.allowed_hosts, self.private_hosts)
