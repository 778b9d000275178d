"""Owns the handler `folder`: an engine in a folder or a file of its owner's, as MindsDB's handlers lie.

It always runs in a worker process: its code, and what it imports, is not ours. There, modules by the names of MindsDB's
stand for ours, so that the file need not be changed.
"""

from __future__ import annotations

import enum
import importlib.util
import inspect
import logging
import os
import re
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

from mindsql.engine import ANY_OPTION, BaseMLEngine, Engine, EngineStorage, Option, Storage
from mindsql.errors import EngineError, StatementError

PATH = "path"
_ENGINE_CLASS = re.compile(r"^class \w+\([^)]*\b(?:BaseMLEngine|Engine)\b", re.M)


class FolderEngine(BaseMLEngine):
    """What `CREATE ML_ENGINE … FROM folder USING path = '…'` names; a worker process has the engine itself."""

    title: ClassVar[str] = "A handler in a folder"
    description: ClassVar[str] = "an engine class in a folder or a file, such as a handler written for MindsDB"
    engine_options: ClassVar[tuple[Option, ...]] = (
        Option(PATH, "string", required=True, file=True, description="the folder of the handler, or its file"),
        ANY_OPTION,
    )
    for_owners: ClassVar[bool] = True


def module_of(path: str) -> tuple[str, str]:
    """The module that a path is, and the folder to import it from. Raises StatementError."""
    place = Path(path).expanduser().resolve()
    if place.is_file() and place.suffix == ".py":
        name = place.stem
    elif place.is_dir() and any(place.glob("*.py")):
        name = place.name
    else:
        raise StatementError(f'"{path}" is no folder of a handler, and no file', hint="name a folder with Python files")
    if not name.isidentifier():
        raise StatementError(f'"{name}" is no name of a Python module', hint="rename the folder")
    return name, str(place.parent)


# In the worker -------------------------------------------------------------------------------------------------------


def find_class(module: str, folder: str) -> type[Engine]:
    """The engine class of a handler's folder: what it calls `Handler`, or the one that it defines.

    Raises:
        EngineError: It has none, or several.
        Exception: What its import raises.
    """
    _stand_for_mindsdb(folder)
    package = importlib.import_module(module)
    found = getattr(package, "Handler", None)
    if isinstance(found, type) and issubclass(found, Engine):
        return found
    failed = getattr(package, "import_error", None)
    if isinstance(failed, BaseException):  # as MindsDB's handlers keep what their import raised
        raise failed
    modules = [package]
    for path in sorted(Path(folder, module).glob("*.py")):
        # To import a file runs it: those are that say to have such a class.
        if path.stem != "__init__" and path.stem.isidentifier() and _ENGINE_CLASS.search(path.read_text("utf-8")):
            modules.append(importlib.import_module(f"{module}.{path.stem}"))
    classes = {
        cls
        for one in modules
        for _, cls in inspect.getmembers(one, inspect.isclass)
        if issubclass(cls, Engine) and cls.__module__.partition(".")[0] == module
    }
    if len(classes) != 1:
        names = ", ".join(sorted(cls.__name__ for cls in classes)) or "none"
        raise EngineError(
            f"the handler must be one subclass of BaseMLEngine, and there are: {names}",
            hint="import the one that is meant as Handler in the folder's __init__.py",
        )
    return classes.pop()


def _stand_for_mindsdb(folder: str) -> None:
    """Modules of `mindsdb` that handlers import, unless the environment has MindsDB itself."""
    if importlib.util.find_spec("mindsdb") is not None:
        return

    class HandlerType(enum.Enum):
        ML = "ml"
        DATA = "data"

    def api_key(api_name: str, create_args: dict[str, Any], engine_storage: Any = None, strict: bool = True) -> Any:
        """As MindsDB's: from the model, the engine, the environment."""
        name = f"{api_name.lower()}_api_key"
        engine = engine_storage.get_connection_args() if engine_storage is not None else {}
        for given in (create_args, create_args.get("using") or {}, engine):
            found = given.get(name) or given.get("api_key")
            if found:
                return found
        found = os.environ.get(name.upper())
        if not found and strict:
            raise StatementError(f"there is no {name}", hint=f"CREATE ML_ENGINE … USING {name} = '…'")
        return found

    contents: dict[str, dict[str, Any]] = {
        "mindsdb": {},
        "mindsdb.integrations": {},
        "mindsdb.integrations.handlers": {"__path__": [folder]},
        "mindsdb.integrations.libs": {},
        "mindsdb.integrations.libs.base": {"BaseMLEngine": BaseMLEngine},
        "mindsdb.integrations.libs.const": {"HANDLER_TYPE": HandlerType, "PREDICTOR_STATUS": None},
        "mindsdb.integrations.utilities": {},
        "mindsdb.integrations.utilities.handler_utils": {"get_api_key": api_key},
        "mindsdb.interfaces": {},
        "mindsdb.interfaces.storage": {},
        "mindsdb.interfaces.storage.model_fs": {"ModelStorage": Storage, "HandlerStorage": EngineStorage},
        "mindsdb.utilities": {},
        "mindsdb.utilities.log": {
            "getLogger": logging.getLogger,
            "get_log": logging.getLogger,
            "logger": logging.getLogger("mindsdb"),
        },
    }
    for name, attributes in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update({"__path__": [], **attributes})
        sys.modules[name] = module
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
