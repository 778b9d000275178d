"""Owns what follows an unknown name: it is a variable of the caller, or misspelt, and the right one is proposed."""

from __future__ import annotations

import re
from types import FrameType
from typing import TYPE_CHECKING, Any

from mindsql.errors import CatalogError, StatementError, UnknownNameError, suggest
from mindsql.statements import MODEL_LISTS, translate

if TYPE_CHECKING:
    from mindsql.session import Session
    from mindsql.snapshot import Snapshot

_NO_TABLE = re.compile(r"^table with name (.+?) does not exist")
_MODEL_ACTIVE = re.compile(r"\s*SET\s+(model_active\b|active(?=\s*=))\s*=?\s*([^\s;]*)", re.I)


def adopt(session: Session, error: UnknownNameError, frame: FrameType | None) -> bool:
    """Register an unknown table that is a variable of the caller, as DuckDB does. Whether it was found."""
    found = _NO_TABLE.match(error.message)
    if found is None or not session.settings.replacements:
        return False
    name = found[1].strip('"')
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "mindsql":
        frame = frame.f_back
    while frame is not None:
        for variables in (frame.f_locals, frame.f_globals):
            value = variables.get(name)
            if _is_frame(value):
                session.adopt(name, value)
                return True
        frame = frame.f_back
    return False


def _is_frame(value: Any) -> bool:
    """Whether DuckDB reads a value as a table: frames of any library, numpy arrays, and collections of those."""
    if value is None or isinstance(value, type):
        return False
    if isinstance(value, dict):
        return bool(value) and all(type(each).__module__ == "numpy" for each in value.values())
    if isinstance(value, list):
        return bool(value) and all(type(each).__module__ == "numpy" for each in value)
    module = type(value).__module__.split(".")[0]
    if module == "numpy":
        return getattr(value, "ndim", 0) > 0
    if module == "polars":
        return type(value).__name__ in ("DataFrame", "LazyFrame")
    if module == "pyarrow" and type(value).__name__.endswith(("Scanner", "Dataset")):
        return True
    return hasattr(value, "__arrow_c_stream__") or module == "pandas"


def _frames(frame: FrameType | None) -> list[str]:
    """The names of the caller's variables that could stand for tables."""
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "mindsql":
        frame = frame.f_back
    if frame is None:
        return []
    return [name for name, value in {**frame.f_globals, **frame.f_locals}.items() if _is_frame(value)]


def suggest_relation(session: Session, error: UnknownNameError, frame: FrameType | None = None) -> None:
    """DuckDB knows no models, and proposes its own internal tables: propose what the user has."""
    found = _NO_TABLE.match(error.message)
    if found is None:
        return
    try:
        snapshot = session.snapshot()
    except CatalogError:
        return  # the error has ended the transaction, in which nothing can be looked up any more
    models = {
        (m.name if m.project == session.project else f"{m.project}.{m.name}"): m.name for m in snapshot.models
    }
    name = found[1].strip('"')
    elsewhere = [shown for shown, short in models.items() if short.casefold() == name.casefold()]
    if elsewhere and elsewhere[0].casefold() == name.casefold():
        error.hint = f'"{name}" is a model: it stands in the FROM of a SELECT that is read by itself'
    elif "." in name and snapshot.source(name.split(".")[0]) is not None:
        error.hint = (
            "a table of another database is read, and takes INSERT INTO … SELECT, CREATE TABLE … AS and DROP TABLE; "
            f"SELECT * FROM {name.split('.')[0]} (…) runs any other statement in its own words"
        )
    elif _is_list(snapshot, name):
        error.hint = "this list can only be read; CREATE MODEL, RETRAIN m, SET active m.1 and DROP MODEL m.1 change it"
    elif elsewhere:
        error.hint = f"there is a model {elsewhere[0]}"
    else:
        frames = _frames(frame) if session.settings.replacements else []
        error.hint = suggest(name, [*session.tables(), *models, *frames])


def _is_list(snapshot: Snapshot, name: str) -> bool:
    """Whether a dotted name is that of a list of models, which is no table of DuckDB's."""
    *schema, last = name.replace('"', "").split(".")
    known = not schema or schema == ["information_schema"] or snapshot.project(schema[-1]) is not None
    return known and last.casefold() in MODEL_LISTS


def misspelt(session: Session, text: str) -> StatementError | None:
    """The error for a misspelt verb or model of ours: DuckDB only says that it does not know it."""
    import mindsql_grammar as grammar

    active = _MODEL_ACTIVE.match(text)
    if active is not None:
        hint = f"write SET active {active[2] or 'm.1'}"
        return StatementError(f"there is no setting {active[1]}", hint=hint, span=active.span(1), text=text)
    found = grammar.suggest_verb(text)
    if found is not None:
        return translate(found)
    return _misspelt_model(session, text) if " join " in text.casefold() else None


def _misspelt_model(session: Session, text: str) -> StatementError | None:
    """A JOIN without a condition is for models: DuckDB calls one with an unknown name a syntax error."""
    from mindsql.binder.joins import bare_names

    for name, span in bare_names(text):
        if not session.is_table(name):
            models = [m.name for m in session.snapshot().models if m.project == session.project]
            return UnknownNameError.of("model or table", name, [*models, *session.tables()], span=span)
    return None
