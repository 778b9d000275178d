"""What one statement remembers: every answer, whether it is in memory or in the file."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from mindsql.executor import spilling_memo
from mindsql.executor.spilling_memo import KEY_BYTES, SpillingMemo, key_array


def keys(numbers: list[int]) -> pa.Array:
    return key_array(b"".join(hashlib.blake2b(b"%d" % n, digest_size=KEY_BYTES).digest() for n in numbers))


@pytest.mark.parametrize("limit", [0, 3000, 1 << 20])
def test_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(spilling_memo, "_IN_MEMORY", limit)
    known = SpillingMemo()
    assert len(known.get(keys([1, 2]))[0]) == 0
    for start in range(0, 400, 40):
        numbers = list(range(start, start + 40))
        texts = [None if n % 7 == 0 else f"text {n}" for n in numbers]
        # A slice, as of a larger array.
        known.put(keys([-1, *numbers]).slice(1), [pa.array(texts), pa.array([[float(n)] for n in numbers])])
    asked = [399, 1000, 0, 41, 40, 203, 5000, 77]
    places, (texts, vectors) = known.get(keys(asked))
    answers = zip(texts.to_pylist(), vectors.to_pylist(), strict=True)
    found = dict(zip((asked[place] for place in places), answers, strict=True))
    known.close()
    assert len(known.get(keys([1]))[0]) == 0
    assert found == {n: (None if n % 7 == 0 else f"text {n}", [float(n)]) for n in asked if n < 400}


def test_without_room_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(spilling_memo, "_IN_MEMORY", 0)
    monkeypatch.setattr(spilling_memo.tempfile, "TemporaryFile", full)
    known = SpillingMemo()
    for number in range(3):
        known.put(keys([number]), [pa.array([number])])
    places, answers = known.get(keys([0, 1, 2]))
    assert places.tolist() == [2] and answers[0].to_pylist() == [2]
