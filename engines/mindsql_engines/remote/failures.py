"""Owns what a failed request means: whether to try again and when, whose fault it is, and how it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from mindsql.errors import EngineError

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
_LONGEST = 400
_HINTS = {
    400: "the server does not understand the request: look at the inputs and at the protocol that it speaks",
    401: "give a valid api_key",
    402: "the credits of this key are used up: see the billing page of the service",
    403: "this key may not use the model: a gated model wants its licence accepted on its page",
    404: "look at the URL and the name of the model",
    405: "look at the URL: it takes no POST",
    410: "the service is gone from this URL: give today's base_url",
    413: "raise the size that the server or its proxy takes (nginx: client_max_body_size), or lower batch_rows",
    415: "the server speaks another protocol",
    424: "the server has a model of another kind, or its backend failed",
    429: "the server wants fewer requests: lower concurrency, or raise max_wait",
    503: "the model is not ready: raise max_wait",
}


class RequestError(EngineError):
    """A request failed for good.

    Args:
        message: What the server said.
        status: The HTTP status; None when there was no answer.
        rows: Whether the rows sent may be the reason, so that it is worth splitting them.
    """

    def __init__(
        self, message: str, *, status: int | None = None, rows: bool = False, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.rows = rows


def of_status(url: str, status: int, reason: str, body: bytes, location: str | None = None) -> RequestError:
    """The error that an HTTP status stands for, with the server's own words."""
    words = spoken(body)
    message = f"{shown(url)} answered {status} {reason}".rstrip() + (f": {words}" if words else "")
    hint = _HINTS.get(status)
    if 300 <= status < 400:
        hint = f"it points to {shown(location or 'nowhere')}: give that URL, keys are not sent along"
    return RequestError(message, status=status, rows=status in (400, 413, 422, 500), hint=hint)


def spoken(body: bytes) -> str:
    """What a server says went wrong: the known fields of JSON, else its text without markup."""
    text = body[:20_000].decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        found = re.sub(r"<(style|script|head).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"\s+", " ", _words(found)).strip()[:_LONGEST]


def _words(found: Any) -> str:
    if isinstance(found, Mapping):
        for key in ("error", "message", "detail", "errors", "error_message", "msg", "status"):
            if found.get(key):
                return _words(found[key])
        return json.dumps(found)
    if isinstance(found, list):
        return "; ".join(map(_words, found))
    return str(found)


def told_wait(headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Seconds that the server asks to wait, by `Retry-After`, `RateLimit`, `X-RateLimit-Reset` or `estimated_time`."""
    after = headers.get("Retry-After")
    if after is not None:
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", after):
            return float(after)
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - now)
        except (TypeError, ValueError):
            pass
    limit = re.search(r"\bt\s*=\s*(\d+)", headers.get("RateLimit", ""))
    if limit is None:
        limit = re.search(r"\breset\s*=\s*(\d+)", headers.get("RateLimit", ""))
    if limit is not None:
        return float(limit[1])
    for name in ("RateLimit-Reset", "X-RateLimit-Reset"):
        reset = headers.get(name, "")
        if re.fullmatch(r"\d+(\.\d+)?", reset):
            seconds = float(reset)
            return max(0.0, seconds - now) if seconds > 1e9 else seconds
    try:
        estimated = json.loads(body)["estimated_time"]
        return float(estimated)
    except (ValueError, KeyError, TypeError):
        return None


def shown(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    return re.sub(r"//[^/@]*@", "//", url.split("?", 1)[0])
