"""Handlers are listed without importing them; not known, not importable and claimed twice are three errors."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint

import pytest

from mindsql.errors import EngineError, EngineMissingError, StatementError, UnknownNameError
from mindsql.registry import GROUP, Registry
from mindsql.testing import ToyEngine


def found(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    points = [EntryPoint(name, value, GROUP) for name, value in entries]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == GROUP else [])


def test_names_import_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, ("Toy", "mindsql.testing:ToyEngine"), ("far", "no_such_package:Engine"))
    registry = Registry()
    assert registry.names() == ["Toy", "far"]
    assert "TOY" in registry and "near" not in registry
    assert registry.load("toy") is ToyEngine
    with pytest.raises(UnknownNameError) as unknown:
        registry.load("tay")
    assert unknown.value.hint == 'did you mean "Toy"?; there are: Toy, far'


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, ("far", "no_such_package:Engine"))
    with pytest.raises(EngineMissingError) as missing:
        Registry().load("far")
    assert missing.value.message.startswith('the handler "far" could not be imported: ')
    assert missing.value.hint == "pip install no_such_package"
    assert Registry().attempt("far") == (None, missing.value.message)


def test_two_packages_claim_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, ("toy", "a:Engine"), ("TOY", "b:Engine"))
    with pytest.raises(EngineError, match='two packages claim the handler "TOY": a:Engine and b:Engine'):
        Registry()


def test_only_engines_are_registered() -> None:
    registry = Registry()
    registry.register("Mine", ToyEngine)
    assert registry.load("mine") is ToyEngine
    for wrong in (object, ToyEngine()):
        with pytest.raises(StatementError, match="is no engine"):
            registry.register("wrong", wrong)  # type: ignore[arg-type]
