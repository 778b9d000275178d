"""Owns how a model version is made of its files, ready to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindsql import database
from mindsql.database import DuckDBConnection
from mindsql.engine import Engine, EngineStorage, Storage
from mindsql.executor.engines import LoadedModel, engine_boundary
from mindsql.planner.typing import carried
from mindsql.secrets import decrypted
from mindsql.snapshot import Version


def loaded(
    raw: DuckDBConnection,
    cls: type[Engine],
    version: Version,
    files: Mapping[str, bytes],
    engine_storage: EngineStorage,
    trusted: bool = False,
) -> LoadedModel:
    """A model version made of its files.

    Args:
        raw: Tells DuckDB's types.
        cls: The class of its engine.
        version: The version.
        files: Its artifacts.
        engine_storage: What its engine keeps.
        trusted: Whether a pickle among them may be loaded: it runs code.

    Raises:
        EngineError: The engine cannot be made.
    """
    storage = Storage(info={"name": version.model, "version": version.number, "target": version.target})
    storage.files.update(files)
    with engine_boundary(version.engine, version.model):
        engine = cls(model_storage=storage, engine_storage=engine_storage)
    types = {c.name: database.arrow_type(raw, carried(c.type)) for c in version.answers}
    args = engine_args(version.target, decrypted(version.options), version.settings)
    if trusted:
        args["trusted"] = True
    return LoadedModel(version, engine, types, args, sum(map(len, files.values())))


def engine_args(target: str, using: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What an engine is told beside the rows."""
    return {
        "target": target,
        "using": dict(using),
        "anomaly": bool(settings.get("anomaly")),
        "timeseries_settings": {
            "is_timeseries": bool(settings.get("order_by")),
            "order_by": settings.get("order_by") or [],
            "group_by": settings.get("group_by") or [],
            "window": settings.get("window"),
            "horizon": settings.get("horizon"),
        },
    }
