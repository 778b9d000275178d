"""Owns what can be wrong with a request before any statement is run: its body, its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql.errors import StatementError


class RequestError(StatementError):
    """The request cannot be read."""

    code = "BAD_REQUEST"
    sqlstate = "08P01"
    http_status = 400


class MediaTypeError(RequestError):
    """The body is of a kind that is not read."""

    code = "MEDIA_TYPE"
    http_status = 415


class NotFoundError(StatementError):
    """There is no such model, or it has not been trained."""

    code = "NOT_FOUND"
    sqlstate = "42704"
    http_status = 404


class UnprocessableError(StatementError):
    """The request can be read, and what it says does not fit the model.

    Attributes:
        details: What a program wants to know of it.
    """

    code = "UNPROCESSABLE"
    sqlstate = "22000"
    http_status = 422

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.details = dict(details or {})
