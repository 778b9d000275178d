"""Owns what a model's name means to a command: its project, the model, the version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mindsql.errors import StatementError, UnknownNameError
from mindsql.snapshot import DEFAULT_PROJECT, Model

if TYPE_CHECKING:
    from mindsql.session import Session


def split(session: Session, name: tuple[str, ...]) -> tuple[str, str]:
    """`[project.]name` as (project, name). Raises UnknownNameError, StatementError."""
    if len(name) == 1:
        return session.project, name[0]
    if len(name) > 2:
        raise StatementError(f'"{".".join(name)}" has too many parts', hint="write project.name")
    project = session.snapshot().project(name[0])
    if project is None:
        raise UnknownNameError.of(
            "project", name[0], session.snapshot().projects, hint=f"CREATE PROJECT {name[0]}"
        )
    return project, name[1]


def model(session: Session, name: tuple[str, ...]) -> Model:
    """The model of that name. Raises UnknownNameError."""
    snapshot = session.snapshot()
    if len(name) > 1 and name[-1].isdigit() and snapshot.project(name[0]) is None:
        raise StatementError(
            f'"{".".join(name)}" is a version, and the statement is about the whole model',
            hint=f"write {'.'.join(name[:-1])}",
        )
    project, short = split(session, name)
    found = snapshot.model(project, short)
    if found is None and len(name) == 1:
        found = snapshot.model(DEFAULT_PROJECT, short)
    if found is None:
        known = [m.name for m in snapshot.models]
        raise UnknownNameError.of(
            "model", ".".join(name), known, hint=None if known else "there are no models yet"
        )
    return found
