"""Owns `/jobs`: the trainings that nobody waits for."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from mindsql.errors import AccessError
from mindsql.server.http import describing
from mindsql.server.http.answers import Json
from mindsql.server.http.sql import Caller, Serving
from mindsql.server.principal import Role

router = APIRouter(prefix="/jobs", tags=["models"])


@router.get("")
async def list_jobs(service: Serving, caller: Caller) -> Response:
    """The trainings since the server started, the oldest first."""
    return Json([describing.job(job, service) for job in service.root.jobs.list()])


@router.get("/{id}")
async def get_job(id: str, service: Serving, caller: Caller) -> Response:
    """How far a training is; its score when it is complete, its error when it failed."""
    return Json(describing.job(service.root.jobs.get(id), service))


@router.delete("/{id}", status_code=202)
async def cancel_job(id: str, service: Serving, caller: Caller) -> Response:
    """Stop a training. The model stays as it was."""
    if caller.role < Role.WRITE:
        raise AccessError("this needs the role write", hint="ask with another token")
    return Json(describing.job(service.root.jobs.cancel(id), service), 202)
