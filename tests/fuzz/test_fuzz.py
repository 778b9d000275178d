"""Bytes that nobody thought of: no failure, no hang. `python tests/fuzz` goes on for minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS
from tests.server.conftest import serving

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = """
[[operations]]
include-path-regex = "^/models/"
include-method = ["GET", "POST", "PUT"]
parameters = { "path.name" = "rent" }
"""


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_bytes_put_into_good_input(target: str, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS[target])))
    for place, piece in data.draw(st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=4)), max_size=4)):
        at = place % (len(seed) + 1)
        seed[at : at + place % 3] = piece
    TARGETS[target](bytes(seed))


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_led_by_coverage(target: str, root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "tests/fuzz"), target, "--runs", "400", "--artifacts", f"{tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done 400 runs" in done.stderr


def test_requests_made_from_the_openapi_document(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-mysql", file=":memory:") as served:
        served.rows("CREATE TABLE flats AS SELECT i % 50 AS sqft, i % 50 * 2.0::DOUBLE AS rent FROM range(200) r(i)")
        served.rows("CREATE MODEL rent FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'LinearRegression'")
        # The first token that is made closes the server to all others.
        token = served.request("POST", "/tokens", json={"name": "fuzz", "role": "admin"}).json()["secret"]
        served.token = token
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
        command = [
            *(str(SCHEMATHESIS), "run", f"{served.url}/openapi.json", "--checks", "all", "--seed", "1"),
            *("-H", f"Authorization: Bearer {token}"),
            # Not every text is SQL, and not every name is a model's.
            *("--exclude-checks", "positive_data_acceptance", "--max-examples", "3", "--generation-deterministic"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-8000:]
        assert served.rows("SELECT 1") == [(1,)]
