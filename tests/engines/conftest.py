"""Owns the servers that tests of remote engines share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import processes


@pytest.fixture(scope="session")
def byom_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bring-your-own-model application under uvicorn."""
    log = tmp_path_factory.mktemp("byom") / "log"
    with processes.uvicorn("byom_app:app", "/openapi.json", log) as url:
        yield url
