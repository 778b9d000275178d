"""Owns what can be wrong with a request before any statement is run: its body, its parameters."""

from __future__ import annotations

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


class UnprocessableError(StatementError):
    """The request can be read, and what it says does not fit the model."""

    code = "UNPROCESSABLE"
    sqlstate = "22000"
    http_status = 422
