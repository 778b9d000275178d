"""Owns the options that every remote engine takes, and how those of the engine, the model and the query are merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from mindsql.engine import Option

CONNECTION: tuple[Option, ...] = (
    Option(
        "api_key",
        "string",
        secret=True,
        description="sent as a bearer token, to the origin of the model alone",
    ),
    Option("headers", "object", secret=True, description="further headers, sent to the same origin alone"),
    Option("timeout", "float", minimum=0.05, description="seconds for one whole answer (30)"),
    Option("connect_timeout", "float", minimum=0.05, description="seconds to connect (10)"),
    Option(
        "retries", "integer", minimum=0, maximum=100, description="how often a request is tried again (4)"
    ),
    Option(
        "max_wait", "float", minimum=0, description="the most seconds to wait when a server says wait (120)"
    ),
    Option(
        "time_limit", "float", minimum=0, description="seconds for all requests of a statement (no limit)"
    ),
    Option("concurrency", "integer", minimum=1, maximum=256, description="requests at once"),
    Option("batch_rows", "integer", minimum=1, description="rows of one request"),
    Option("verify_ssl", "boolean", description="whether the server's certificate is checked (true)"),
)
"""For CREATE ML_ENGINE and CREATE MODEL alike. None has a default here: the model's would hide the engine's."""

ON_ERROR = Option(
    "on_error", "string", choices=("fail", "null"), description="what a row that fails does: fail, or be NULL"
)

PREDICT: tuple[Option, ...] = (
    ON_ERROR,
    *(option for option in CONNECTION if option.name in ("timeout", "max_wait", "time_limit", "concurrency")),
)
"""For SELECT … USING."""


@dataclass(frozen=True)
class Settings:
    """How a server is talked to; the attributes are the options of the same names."""

    api_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    connect_timeout: float = 10.0
    retries: int = 4
    max_wait: float = 120.0
    time_limit: float | None = None
    concurrency: int = 4
    batch_rows: int = 1000
    verify_ssl: bool = True
    on_error: Literal["fail", "null"] = "fail"

    @classmethod
    def of(cls, *given: Mapping[str, Any] | None, **defaults: Any) -> Settings:
        """Merge options, later ones over earlier ones, over `defaults`."""
        names = {item.name for item in fields(cls)}
        merged = dict(defaults)
        for options in given:
            merged.update(
                {key: value for key, value in (options or {}).items() if key in names and value is not None}
            )
        return cls(**merged)
