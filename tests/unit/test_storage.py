"""A storage keeps bytes, JSON and folders; what another process stored is found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindsql.engine import EngineStorage, Storage
from mindsql.errors import EngineError


def test_folders_there_and_back() -> None:
    storage = Storage()
    folder = Path(storage.folder_get("model"))
    assert list(folder.iterdir()) == []
    (folder / "deep").mkdir()
    (folder / "deep" / "weights.bin").write_bytes(b"\x00\xff")
    (folder / "names.txt").write_text("größe")
    storage.folder_sync("model")
    storage.close()
    assert not folder.exists()
    stored = storage.files
    later = Storage(load=stored.get, names=lambda: stored)
    again = Path(later.folder_get("model"))
    assert (again / "deep" / "weights.bin").read_bytes() == b"\x00\xff"
    assert (again / "names.txt").read_text() == "größe"
    later.close()


def test_files_and_json_are_found_where_they_are_stored() -> None:
    stored = {"a.bin": b"old", "b.json": b'{"x": [1, null]}'}
    for storage in (Storage(load=stored.get, names=lambda: stored), EngineStorage(load=stored.get)):
        assert storage.file_get("a.bin") == b"old"
        assert storage.json_get("b") == {"x": [1, None]}
        assert storage.json_get("c") is None
        storage.file_set("a.bin", b"new")
        assert (storage.file_get("a.bin"), stored["a.bin"]) == (b"new", b"old")
        with pytest.raises(EngineError, match='no stored file "c'):
            storage.file_get("c.bin")
    assert Storage(load=stored.get, names=lambda: stored).file_list() == ["a.bin", "b.json"]


def test_progress_and_columns() -> None:
    told: list[tuple[float, float, str]] = []
    storage = Storage(info={"name": "m"}, progress=lambda *state: told.append(state))
    storage.training_state_set(2, 5, "fitting")
    storage.columns_set({"rooms": "BIGINT"})
    assert told == [(2, 5, "fitting")]
    assert (storage.columns_get(), storage.get_info()) == ({"rooms": "BIGINT"}, {"name": "m"})
