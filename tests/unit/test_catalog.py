"""The catalog lies in the user's file, is read as a picture, and is part of the user's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mindsql.catalog import Catalog
from mindsql.database import Database, run
from mindsql.errors import CatalogError, UnknownNameError
from mindsql.session import Session, Shared
from mindsql.settings import Settings
from mindsql.snapshot import EngineEntry, Snapshot, SourceEntry, Version, View


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database(":memory:", read_only=False)
    yield opened
    opened.close()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database, database.cursor())


def version(number: int = 1, status: str = "complete") -> Version:
    summary = {"inputs": [["rooms", "BIGINT"]], "outputs": [["rent", "DOUBLE"]]}
    return Version(f"id{number}", "mindsql", "Rents", number, status, "toy", "toy", "rent", summary=summary)


def test_nothing_is_made_before_it_is_needed(catalog: Catalog) -> None:
    assert not catalog.installed()
    assert catalog.snapshot() == Snapshot()
    catalog.install()
    catalog.install()
    assert catalog.snapshot() == Snapshot(installed=True)


def test_what_is_added_is_in_the_picture(catalog: Catalog) -> None:
    catalog.install()
    stored = catalog.add_artifacts(version(), {"model": b"\x00\x01", "names": b"[]"})
    catalog.add_version(stored)
    catalog.set_active("mindsql", "Rents", 1)
    catalog.add_view(View("mindsql", "cheap", "SELECT 1"))
    catalog.add_engine(EngineEntry("mine", "toy", {"a": {"b": 1}}), {"file": b"x"})
    catalog.add_source(SourceEntry("shop", "duckdb", {"path": "shop.duckdb"}))
    before = catalog.snapshot()
    model = before.model("MINDSQL", "rents")
    assert model is not None and model.version() == model.versions[0] == stored
    assert (model.version().inputs.names, model.version().outputs.names) == (["rooms"], ["rent"])
    assert catalog.artifact(stored, "model") == b"\x00\x01"
    assert catalog.engine_file("mine", "file") == b"x"
    assert sorted(before.names()) == ["Rents", "cheap", "shop"]
    assert before.project("mindsdb") == "mindsql"
    catalog.drop_model(model)
    catalog.drop_view(before.views[0])
    catalog.drop_engine("MINE")
    catalog.drop_source("Shop")
    assert catalog.snapshot() == Snapshot(installed=True)
    assert catalog.artifact(stored, "model") is None and catalog.engine_file("mine", "file") is None
    assert before.model("mindsql", "rents") is model, "a picture does not change"


def test_rollback_takes_it_back(database: Database, catalog: Catalog) -> None:
    catalog.install()
    raw = catalog.raw
    run(raw, "BEGIN")
    catalog.add_version(version())
    assert catalog.snapshot().models
    assert not Catalog(database, database.cursor()).snapshot().models, "others do not see it yet"
    run(raw, "ROLLBACK")
    assert not catalog.snapshot().models


def test_which_version_answers(catalog: Catalog) -> None:
    catalog.install()
    catalog.add_version(version(1, "error"))
    (model,) = catalog.snapshot().models
    with pytest.raises(CatalogError, match="could not be trained"):
        model.version()
    catalog.add_version(version(2))
    catalog.set_active("mindsql", "Rents", 2)
    (model,) = catalog.snapshot().models
    assert (model.version().number, model.next_number()) == (2, 3)
    with pytest.raises(CatalogError, match=r"version 1 .* has the status error"):
        model.version(1)
    with pytest.raises(UnknownNameError, match="has no version 9"):
        model.version(9)


def test_a_training_that_was_cut_off_is_marked(catalog: Catalog) -> None:
    catalog.install()
    catalog.add_version(version(1, "training"))
    assert catalog.mark_interrupted("another process") == 1
    (model,) = catalog.snapshot().models
    assert (model.versions[0].status, model.versions[0].error) == (
        "error",
        "the training was interrupted: the process that ran it ended",
    )


def test_a_damaged_artifact_is_noticed(catalog: Catalog) -> None:
    catalog.install()
    stored = catalog.add_artifacts(version(), {"model": b"good"})
    run(catalog.raw, f"UPDATE {catalog.table('_artifacts')} SET content = 'evil'::BLOB")
    with pytest.raises(CatalogError, match="is damaged: its digest does not match"):
        catalog.artifact(stored, "model")


def test_a_snapshot_is_of_one_moment(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session commits a version while the catalog's tables are read one after the other."""
    session = Session(Shared(database), Settings())
    with session.writing() as catalog:
        catalog.add_version(version())
        catalog.set_active("mindsql", "Rents", 1)
    other, read, said = database.cursor(), Catalog._read, []

    def slow(self: Catalog, name: str, *rest: Any) -> Any:
        found = read(self, name, *rest)
        if name == "_versions" and not said:
            said.append("committed")
            second = "SELECT * REPLACE ('id2' AS id, 2 AS number) FROM mindsql._versions"
            run(other, f"INSERT INTO mindsql._versions {second}")
            run(other, "UPDATE mindsql._models SET active = 2")
        return found

    session.catalog_touched()
    monkeypatch.setattr(Catalog, "_read", slow)
    model = session.snapshot().models[0]
    assert said and model.active == 1 and [each.number for each in model.versions] == [1]
