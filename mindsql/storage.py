"""Owns what an engine keeps of a model or of itself: named bytes, JSON values and folders."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mindsql.errors import EngineError
from mindsql.schema import Column


def _as_json(value: Any) -> Any:
    """What JSON has no form for: a column of a schema is a pair, a numpy number a number, anything else text."""
    if isinstance(value, Column):
        return [value.name, value.type]
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


class Storage:
    """Named bytes, JSON values and folders of one model version or one engine.

    What `create` puts in is written to the database in the same transaction as the model.

    Args:
        load: Fetches a stored file by name, None when there is none.
        info: What `get_info` answers.
        progress: Is told `(current, total, phase)` while training.
    """

    def __init__(
        self,
        load: Callable[[str], bytes | None] | None = None,
        names: Callable[[], Iterable[str]] | None = None,
        info: Mapping[str, Any] | None = None,
        progress: Callable[[float, float, str], None] | None = None,
    ) -> None:
        self._load = load
        self._names = names
        self._info = dict(info or {})
        self._progress = progress
        self._folders: dict[str, str] = {}
        self.files: dict[str, bytes] = {}

    def file_set(self, name: str, content: bytes) -> None:
        """Keep bytes under a name."""
        self.files[name] = bytes(content)

    def file_get(self, name: str) -> bytes:
        """The bytes kept under a name. Raises EngineError when there are none."""
        if name not in self.files:
            content = self._load(name) if self._load is not None else None
            if content is None:
                raise EngineError(f'the model has no stored file "{name}"', hint="RETRAIN it")
            self.files[name] = content
        return self.files[name]

    def _has(self, name: str) -> bool:
        try:
            self.file_get(name)
        except EngineError:
            return False
        return True

    def file_list(self) -> list[str]:
        """The names of all files."""
        stored = set(self._names()) if self._names is not None else set()
        return sorted(stored | set(self.files))

    def file_del(self, name: str) -> None:
        """Forget a file."""
        self.files.pop(name, None)

    def json_set(self, name: str, data: Any) -> None:
        """Keep a JSON value under a name."""
        self.file_set(f"{name}.json", json.dumps(data, default=_as_json).encode())

    def json_get(self, name: str) -> Any:
        """The JSON value kept under a name, None when there is none."""
        if not self._has(f"{name}.json"):
            return None
        return json.loads(self.file_get(f"{name}.json"))

    def folder_get(self, name: str, update: bool = True) -> str:
        """A local folder with the content kept under a name, empty at first. Call `folder_sync` to keep it.

        It is removed with this storage. `update` is for handlers that name it: the folder is always up to date.
        """
        import io
        import shutil
        import tarfile
        import tempfile

        if name not in self._folders:
            path = tempfile.mkdtemp(prefix="mindsql-")
            self._folders[name] = path
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
            if self._has(f"{name}.tar"):
                with tarfile.open(fileobj=io.BytesIO(self.file_get(f"{name}.tar"))) as tar:
                    tar.extractall(path, filter="data")
        return self._folders[name]

    def folder_sync(self, name: str) -> None:
        """Keep what the local folder holds now."""
        import io
        import tarfile
        from pathlib import Path

        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path in sorted(Path(self.folder_get(name)).iterdir()):
                tar.add(path, arcname=path.name)
        self.file_set(f"{name}.tar", buffer.getvalue())

    def get_info(self) -> dict[str, Any]:
        """Name, project, version, target and options of the model."""
        return dict(self._info)

    def columns_set(self, columns: Mapping[str, str]) -> None:
        """Keep the model's columns, name → type."""
        self.json_set("columns", dict(columns))

    def columns_get(self) -> dict[str, str]:
        """The columns kept by `columns_set`."""
        return dict(self.json_get("columns") or {})

    def training_state_set(
        self,
        current_state_num: float | None = None,
        total_states: float | None = None,
        state_name: str | None = None,
    ) -> None:
        """Report progress: phase `current_state_num` of `total_states`, called `state_name`."""
        if self._progress is not None:
            self._progress(current_state_num or 0, total_states or 0, state_name or "")

    def close(self) -> None:
        """Remove local folders."""
        import shutil

        for path in self._folders.values():
            shutil.rmtree(path, ignore_errors=True)
        self._folders.clear()


class EngineStorage(Storage):
    """The storage of an engine: `Storage` and the options of CREATE ML_ENGINE."""

    def __init__(self, connection_args: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connection_args = dict(connection_args or {})

    def get_connection_args(self) -> dict[str, Any]:
        """The options given to CREATE ML_ENGINE, secrets in the clear."""
        return dict(self._connection_args)

    def update_connection_args(self, connection_args: Mapping[str, Any]) -> None:
        """Change them for the life of this engine object."""
        self._connection_args.update(connection_args)
