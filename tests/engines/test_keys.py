"""A key goes to the address that it was stored for: whoever may make models may not send it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import mindsql
from mindsql.errors import AccessError
from mindsql.settings import Settings

MODEL = "CREATE MODEL k PREDICT y USING engine = 'kept', task = 'text-classification', input_column = 'txt'"
ELSEWHERE = "base_url = 'http://127.0.0.1:9', api_format = 'hf'"


@pytest.fixture
def remote() -> Iterator[mindsql.Connection]:
    """A connection as the server's are: its user is not the owner of the keys."""
    with mindsql.connect(settings=Settings(trusted=False)) as connection:
        connection.execute("CREATE ML_ENGINE kept FROM hf_api USING api_key = 'hf_secret'")
        yield connection


@pytest.mark.parametrize("address", [ELSEWHERE, ELSEWHERE.replace("base_url", "BASE_URL")])
def test_an_engines_key_is_not_sent_to_another_address(remote: mindsql.Connection, address: str) -> None:
    with pytest.raises(AccessError, match="api_key was stored for another address"):
        remote.execute(f"{MODEL}, {address}")
    assert remote.execute("SELECT name FROM mindsql.models").fetchall() == []


def test_ones_own_key_is(remote: mindsql.Connection) -> None:
    remote.execute(f"{MODEL}, {ELSEWHERE}, api_key = 'mine'")
    # … and stays with that address.
    with pytest.raises(AccessError, match="api_key was stored for another address"):
        remote.execute("RETRAIN k USING base_url = 'http://127.0.0.2:9'")
    remote.execute("RETRAIN k USING base_url = 'http://127.0.0.1:9/other'")


def test_headers_are_keys_too(remote: mindsql.Connection) -> None:
    remote.execute(
        "CREATE ML_ENGINE served FROM ray_serve"
        """ USING url.predict = 'http://127.0.0.1:9/ask', headers = {"Authorization": "Bearer s3cret"}"""
    )
    with pytest.raises(AccessError, match="headers was stored for another address"):
        remote.execute(
            "CREATE MODEL r FROM (SELECT 1 AS a, 2 AS y) PREDICT y USING engine = 'served',"
            " url.predict = 'http://127.0.0.1:10/ask', url.train = 'http://127.0.0.1:9/train'"
        )


def test_the_owner_may_move_a_model() -> None:
    with mindsql.connect() as connection:
        connection.execute("CREATE ML_ENGINE kept FROM hf_api USING api_key = 'hf_secret'")
        connection.execute(f"{MODEL}, {ELSEWHERE}")
