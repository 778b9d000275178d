"""Owns what a media cell is: bytes, base64, a `data:` URI, an http(s) URL, or a path below one allowed folder."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from mindsql.errors import AccessError, DataError, StatementError
from mindsql_engines.remote.client import Client, Reply
from mindsql_engines.remote.failures import RequestError

_SNIFFED = (
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"BM", "image/bmp"),
    (rb"II\*\x00|MM\x00\*", "image/tiff"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"fLaC", "audio/flac"),
    (rb"OggS", "audio/ogg"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", "audio/mpeg"),
    (rb"....ftypM4A", "audio/mp4"),
    (rb"\x1aE\xdf\xa3", "audio/webm"),
)
_REDIRECTS = 3


def content_type(data: bytes) -> str:
    """The type of some media, by their first bytes."""
    return next(
        (kind for start, kind in _SNIFFED if re.match(start, data, re.DOTALL)), "application/octet-stream"
    )


def read(cell: Any, fetch: Callable[[str], bytes], root: str | None, most: int) -> bytes:
    """The bytes that a cell stands for.

    Args:
        cell: The cell, not NULL.
        fetch: Gets a URL.
        root: The folder that paths must lie in; None when none may be read.
        most: The most bytes there may be.

    Raises:
        DataError: It is none of what a media cell may be.
    """
    data = _read(cell, fetch, root, most)
    if len(data) > most:
        raise DataError(f"a media cell has {len(data)} bytes", hint=f"max_media_bytes is {most}")
    if not data:
        raise DataError("a media cell is empty")
    return data


def _read(cell: Any, fetch: Callable[[str], bytes], root: str | None, most: int) -> bytes:
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return bytes(cell)
    text = str(cell).strip()
    if text[:5].casefold() == "data:":
        head, comma, body = text[5:].partition(",")
        if not comma:
            raise DataError(f"a media cell is no data: URI: {text[:60]}")
        return _base64(body) if head.casefold().endswith(";base64") else unquote_to_bytes(body)
    if re.match(r"https?://", text, re.IGNORECASE):
        return fetch(text)
    if root is not None:
        base = Path(root).resolve()
        path = (base / text.removeprefix("file://")).resolve()
        if path.is_relative_to(base) and path.is_file():
            if path.stat().st_size > most:
                raise DataError(
                    f'"{text}" has {path.stat().st_size} bytes', hint=f"max_media_bytes is {most}"
                )
            return path.read_bytes()
    try:
        return _base64(text)
    except DataError:
        hint = (
            f"a path must lie in media_root, {root}"
            if root is not None
            else "it may be a BLOB, base64, a data: URI, an http(s) URL, or with media_root a path below that folder"
        )
        raise DataError(f"a media cell is none that can be read: {text[:60]!r}", hint=hint) from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"a media cell is no base64: {text[:60]!r}") from error


def fetcher(client: Client, most: int) -> Callable[[str], bytes]:
    """A function that gets a URL under the host rules of the connection, redirects included."""

    def fetch(url: str) -> bytes:
        try:
            for _ in range(_REDIRECTS + 1):
                reply: Reply = client.request(
                    "GET",
                    url,
                    headers={"Accept": "*/*"},
                    most=most,
                    accept=lambda status: 200 <= status < 400,
                )
                location = reply.headers.get("Location")
                if reply.status < 300 or not location:
                    return reply.content
                url = urljoin(url, location)
        except RequestError as error:
            # What a status hints at is said of models.
            hint = None if error.status else error.hint
            raise RequestError(f"a media cell: {error.message}", status=error.status, hint=hint) from error
        except (StatementError, AccessError) as error:  # it is no URL, or the host is refused
            raise DataError(f"a media cell: {error.message}", hint=error.hint) from error
        raise DataError(f"a media cell leads from one URL to another more than {_REDIRECTS} times")

    return fetch
