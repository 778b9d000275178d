"""Owns `/tokens`: an admin makes, lists and revokes tokens while the server has the database open."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from mindsql.errors import AccessError, MindSQLError
from mindsql.server.http.answers import Json
from mindsql.server.http.sql import Caller, JsonRoute, Serving
from mindsql.server.principal import Principal, Role
from mindsql.server.service import Service

router = APIRouter(prefix="/tokens", tags=["tokens"], route_class=JsonRoute)


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=32)
    role: Literal["read", "predict", "write", "admin"] = "read"
    days: float | None = Field(default=None, description="how long it is good for")
    requests_per_minute: int | None = Field(default=None, description="how many requests it may send")
    body_bytes: int | None = Field(default=None, description="the largest body it may send")


@router.get("")
async def tokens(service: Serving, caller: Caller) -> Response:
    """The tokens there are, without their secrets."""
    _check(caller)
    found = await service.run(lambda: list(service.tokens))
    return Json(
        [
            {
                "name": token.name,
                "role": token.role,
                "created_at": token.created_at,
                "expires_at": token.expires_at,
                "requests_per_minute": token.requests_per_minute,
                "body_bytes": token.body_bytes,
            }
            for token in found
        ]
    )


@router.post("", status_code=201)
async def create(new: NewToken, service: Serving, caller: Caller) -> Response:
    """Make a token. Its secret is in this answer alone. The first one ends the time in which nobody needs any."""

    def execution() -> str:
        return service.tokens.create(
            new.name,
            new.role,
            days=new.days,
            requests_per_minute=new.requests_per_minute,
            body_bytes=new.body_bytes,
        )

    secret = await _audited(service, caller, f"create the {new.role} token {new.name}", execution)
    return Json({"name": new.name, "role": new.role, "secret": secret}, 201)


@router.delete("/{name}", status_code=204)
async def revoke(name: str, service: Serving, caller: Caller) -> Response:
    """Revoke a token. Whoever came with it gets no further."""
    await _audited(service, caller, f"revoke the token {name}", lambda: _revoke(service, name))
    return Response(status_code=204)


def _revoke(service: Service, name: str) -> None:
    service.tokens.revoke(name)
    service.revoked()


def _check(caller: Principal) -> None:
    if caller.role < Role.ADMIN:
        raise AccessError("tokens are for the role admin")


async def _audited(service: Service, caller: Principal, what: str, call: Any) -> Any:
    error: MindSQLError | None = None
    try:
        _check(caller)
        return await service.run(call)
    except MindSQLError as raised:
        error = raised
        raise
    finally:
        service.audit.write(caller, "http", what, error)
