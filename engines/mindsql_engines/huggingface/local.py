"""Owns `LocalHuggingFaceEngine`, the handler `huggingface`: models of transformers that run on this machine.

Tasks, inputs and the shape of the answers are those of `huggingface_api`, from the same table.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Capabilities, Engine, Environment, Option, Summary, context, row_number
from mindsql.errors import AccessError, DataError, EngineError, StatementError, UnknownNameError
from mindsql.schema import Column, Schema
from mindsql_engines.huggingface import tasks
from mindsql_engines.huggingface.answers import Found
from mindsql_engines.remote import hosts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

HUB = "https://huggingface.co"
TASKS = {
    name: task for name, task in tasks.TASKS.items() if name != "table-question-answering"
} | {"text2text-generation": replace(tasks.TASKS["summarization"], model="google/flan-t5-small")}
"""The tasks of `huggingface_api`, but for one that needs a library of its own, and the one that the hub has no more."""
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_COLUMNS = ("input_column", "context_column", "input_column2")
_FOLDER = "model"
_STORED_BYTES = 512 << 20
"""Larger models stay where they are: the database keeps their name and revision."""


class LocalHuggingFaceEngine(Engine):
    """Runs models of the Hugging Face hub, or of a folder, with PyTorch."""

    title: ClassVar[str] = "Hugging Face transformers"
    description: ClassVar[str] = "models of the Hugging Face hub or of a folder, run on this machine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("task", "string", required=True, choices=tuple(TASKS), description="what the model does"),
        Option("model_name", "string", aliases=("model",), description="its name on the hub; each task has a default"),
        Option("path", "string", file=True, description="a folder with a model, instead"),
        Option("revision", "string", description="a branch, tag or commit of the hub"),
        Option("input_column", "string", aliases=("column",), description="the column with the text, image or sound"),
        Option("context_column", "string", description="the column with the context of a question"),
        Option("input_column2", "string", description="the column with the other sentence, or the query of a rerank"),
        Option("candidate_labels", "array", description="the labels of a zero-shot task"),
        Option("hypothesis_template", "string", description="how a zero-shot task puts a label"),
        Option("multi_label", "boolean", description="whether several labels may fit (false)"),
        Option("labels", "array", description="names for LABEL_0, LABEL_1, …"),
        Option("lang_input", "string", description="the language of a translation's text"),
        Option("lang_output", "string", description="the language of the translation"),
        Option("max_length", "integer", minimum=1, description="the most tokens that are read"),
        Option("min_output_length", "integer", minimum=1, description="the fewest tokens of a generated text"),
        Option("max_output_length", "integer", minimum=1, description="the most tokens of a generated text (128)"),
        Option("system", "string", description="what a chat begins with"),
        Option("parameters", "object", description="further parameters of the pipeline or of generate()"),
        Option("device", "string", default="auto", description="auto, cpu, cuda, cuda:1, mps"),
        Option("batch_rows", "integer", default=32, minimum=1, description="rows that the model is given at once"),
        Option("store", "boolean", description="keep the model in the database; so by default up to 512 MB"),
        Option("trusted", "boolean", default=False, description="run code that comes with the model"),
        Option("epochs", "integer", default=3, minimum=1, description="FINETUNE: passes over the rows"),
        Option("learning_rate", "float", default=5e-5, minimum=0, description="FINETUNE: the step of the optimizer"),
    )
    predict_options: ClassVar[tuple[Option, ...]] = (
        Option("parameters", "object", description="further parameters, for this query"),
    )
    capabilities: ClassVar[Capabilities] = Capabilities(needs_training_data=False, ask_once=True, casts=True)
    requires: ClassVar[str] = "mindsql engine install huggingface"
    environment: ClassVar[Environment | None] = Environment(
        python=">=3.11",
        requires=("transformers>=5,<6", "torch>=2.2", "pillow", "sentencepiece", "safetensors"),
        variables=("HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY",
                   "SSL_CERT_FILE", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    )  # fmt: skip

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`: the model is fetched, tried, and kept."""
        args = args or {}
        using = {key: value for key, value in (args.get("using") or {}).items() if value is not None}
        name = str(using["task"])
        how = TASKS[name]
        inputs = _inputs(name, how, using, target)
        source = self._source(using, how, bool(args.get("trusted")))
        meta: dict[str, Any] = {
            "task": name,
            "target": target,
            "inputs": inputs,
            "outputs": [(target, how.type), (f"{target}_explain", "JSON")],
            "source": source,
            "notes": [f"the task {name}, by {source['name']}"],
        }
        storage = self.model_storage
        storage.training_state_set(0, 2, f"fetching {source['name']}")
        folder = Path(_fetched(source))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        keeps = using.get("store", size <= _STORED_BYTES)
        storage.training_state_set(1, 2, "loading it")
        _load(str(folder), name, using, bool(source["trusted"]))  # says what is wrong with it
        if keeps:
            _copy(folder, Path(storage.folder_get(_FOLDER)))
            storage.folder_sync(_FOLDER)
        else:
            meta["notes"].append(f"its {size >> 20} MB stay in {source['folder'] or 'the cache of the hub'}")
        storage.json_set("model", {**meta, "stored": keeps})

    @staticmethod
    def _source(using: Mapping[str, Any], how: tasks.Task, trusted: bool) -> dict[str, Any]:
        """Where the model is. Raises StatementError, AccessError."""
        if using.get("path") and using.get("model_name"):
            raise StatementError("the statement has both path and model_name", hint="leave one of them out")
        if using.get("trusted") and not trusted:
            raise AccessError("trusted = true is for the owner of a local connection")
        found = {"trusted": bool(using.get("trusted")), "revision": using.get("revision"), "folder": None}
        if using.get("path"):
            folder = Path(using["path"]).expanduser()
            if not (folder / "config.json").is_file():
                raise StatementError(f'"{folder}" is no folder of a model: it has no config.json')
            return {**found, "folder": str(folder.resolve()), "name": folder.name}
        name = using.get("model_name") or how.model
        if using.get("lang_input") and not using.get("model_name"):
            name = f"Helsinki-NLP/opus-mt-{using['lang_input']}-{using['lang_output']}"
        if not name:
            raise StatementError("the task has no default model", hint="USING model_name = 'owner/model'")
        if not _NAME.fullmatch(str(name)):
            raise StatementError(f'"{name}" is no name of the hub', hint="a folder is given by path = '…'")
        hosts.check_url(os.environ.get("HF_ENDPOINT", HUB), context().network, "the hub")
        return {**found, "name": str(name)}

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        meta = self._meta()
        columns = Schema(Column(name, kind) for name, kind in meta["inputs"])
        classifies = meta["task"].endswith("-classification") and meta["task"] != "token-classification"
        return Summary(
            columns,
            Schema.of(meta["outputs"]),
            task="classification" if classifies else "other",
            rows=int(meta.get("rows", 0)),
            metrics=meta.get("metrics") or {},
            accuracy=(meta.get("metrics") or {}).get("accuracy"),
            notes=tuple(meta["notes"]),
            estimator=meta["source"]["name"],
        )

    def _meta(self) -> dict[str, Any]:
        found: dict[str, Any] | None = self.model_storage.json_get("model")
        if found is None:
            raise EngineError("the model has nothing stored", hint="RETRAIN it")
        return found

    def _folder(self, meta: Mapping[str, Any]) -> str:
        return self.model_storage.folder_get(_FOLDER) if meta["stored"] else _fetched(meta["source"])

    def predictor(self, args: Args | None = None) -> LocalPredictor:
        """See `Engine.predictor`."""
        meta, args = self._meta(), args or {}
        using = args.get("using") or {}
        params = (args.get("predict_params") or {}).get("parameters") or {}
        merged = {**using, "parameters": {**(using.get("parameters") or {}), **params}}
        trusted = bool(meta["source"]["trusted"] and args.get("trusted"))
        return LocalPredictor(meta, merged, _load(self._folder(meta), meta["task"], merged, trusted))

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`; the same answers as the predictor's."""
        import pandas as pd
        import pyarrow as pa

        meta = self._meta()
        folded = {str(name).casefold(): name for name in df.columns}
        arrays, names = [], [name for name, _ in meta["inputs"]]
        for name in names:
            if name.casefold() not in folded:
                raise UnknownNameError.of("column; the model needs", name, map(str, df.columns))
            arrays.append(pa.array(df[folded[name.casefold()]], from_pandas=True))
        wanted = list((args or {}).get("columns") or [meta["target"]])
        answers = self.predictor(args).predict(pa.RecordBatch.from_arrays(arrays, names=names), wanted)
        frame = pd.DataFrame({name: pd.Series(answers[name].to_pylist(), dtype=object) for name in wanted})
        frame.index = df.index
        return frame

    def update(self, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.update`: a text classifier learns from the rows, its labels among them."""
        base = self.base_model_storage
        meta = base.json_get("model") if base is not None else None
        if base is None or meta is None or df is None:
            raise EngineError("FINETUNE needs the version to start from, and rows")
        if meta["task"] != "text-classification":
            raise StatementError(f"FINETUNE trains text classifiers, and this is a model for {meta['task']}")
        from mindsql_engines.huggingface import finetuning

        source = meta["source"]
        folder = base.folder_get(_FOLDER) if meta["stored"] else _fetched(source)
        made = Path(self.model_storage.folder_get(_FOLDER))
        column, target = meta["inputs"][0][0], meta["target"]
        metrics, rows = finetuning.finetune(
            folder, made, df[column], df[target], (args or {}).get("using") or {}, self.model_storage.training_state_set
        )
        self.model_storage.folder_sync(_FOLDER)
        notes = [*meta["notes"][:1], f"finetuned on {rows} rows"]
        self.model_storage.json_set(
            "model", {**meta, "stored": True, "notes": notes, "metrics": metrics, "rows": rows}
        )

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `model`, what runs; `tasks`, what could."""
        import pandas as pd

        if key is None:
            return pd.DataFrame({"tables": ["model", "tasks"]})
        if key == "tasks":
            listed = [(name, ", ".join(how.inputs), how.type, how.model or "") for name, how in TASKS.items()]
            return pd.DataFrame(listed, columns=["task", "inputs", "answer", "default_model"])
        if key != "model":
            raise UnknownNameError.of("key", key, ["model", "tasks"])
        meta = self._meta()
        kept = "the database" if meta["stored"] else meta["source"]["folder"] or "the cache of the hub"
        rows = [("task", meta["task"]), ("model", meta["source"]["name"]), ("kept in", kept)]
        return pd.DataFrame([*rows, ("note", "; ".join(meta["notes"]))], columns=["property", "value"])


def _inputs(name: str, how: tasks.Task, using: Mapping[str, Any], target: str) -> list[tuple[str, str]]:
    """The input columns and their types. Raises StatementError."""
    for option in _COLUMNS:
        if option in how.inputs and not using.get(option):
            raise StatementError(f"the task {name} needs {option}", hint=f"USING {option} = 'a_column'")
        if option not in how.inputs and using.get(option):
            raise StatementError(f"the task {name} has no {option}", hint=f"it takes {', '.join(how.inputs)}")
    for option in how.needs:
        if not using.get(option):
            raise StatementError(f"the task {name} needs {option}", hint=f"USING {option} = ['one', 'other']")
    if bool(using.get("lang_input")) != bool(using.get("lang_output")):
        raise StatementError("lang_input and lang_output belong together")
    columns = [str(using[option]) for option in how.inputs]
    folded = {column.casefold() for column in columns}
    if len(folded) < len(columns):
        raise StatementError("two of the input columns are the same")
    if target.casefold() in folded:
        raise StatementError(f'"{target}" is both the target and an input column')
    kind = "BLOB" if how.shape == "media" else "VARCHAR"
    return [(column, kind) for column in columns]


def _fetched(source: Mapping[str, Any]) -> str:
    """The folder of a model, fetched from the hub if need be; the revision that it then has is kept in `source`."""
    if source["folder"] is not None:
        return str(source["folder"])
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*.py", "*.jinja", "*/config.json"]
    try:
        folder = snapshot_download(source["name"], revision=source["revision"], allow_patterns=patterns)
        if not any(Path(folder).glob("*.safetensors")):
            folder = snapshot_download(source["name"], revision=source["revision"], allow_patterns=[*patterns, "*.bin"])
    except Exception as error:  # the hub's client raises what its own client raises
        raise EngineError(
            f"the model {source['name']} cannot be fetched from the hub: {str(error).splitlines()[0][:200]}",
            hint="a folder is given by path = '…'; a gated model needs HF_TOKEN",
        ) from error
    if isinstance(source, dict):
        source["revision"] = Path(folder).name  # the commit: the same model tomorrow
    return folder


def _copy(folder: Path, to: Path) -> None:
    import shutil

    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".cache" not in path.parts:
            place = to / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


Run = Callable[[Sequence[tuple[Any, ...]]], list[Any]]


def _load(folder: str, task: str, using: Mapping[str, Any], trusted: bool) -> Run:
    from mindsql_engines.huggingface import pipelines

    try:
        return pipelines.load(folder, task, using, trusted)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EngineError(
            f"the model cannot be loaded for the task {task}: {str(error).splitlines()[0][:300]}",
            hint="the folder or the name may be of a model for another task",
        ) from error


class LocalPredictor:
    """Answers batches with a loaded model; a row with a NULL is not asked, and answered with NULL.

    Args:
        meta: What CREATE stored.
        using: The options.
        run: Answers rows, in the forms that hosted models have.
    """

    def __init__(self, meta: Mapping[str, Any], using: Mapping[str, Any], run: Run) -> None:
        self._meta = meta
        self._how = TASKS[meta["task"]]
        self._names = {f"LABEL_{number}": str(label) for number, label in enumerate(using.get("labels") or ())}
        self._batch = int(using.get("batch_rows") or 32)
        self._run = run

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> dict[str, Any]:
        """See `Predictor.predict`."""
        import pyarrow as pa

        cells = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        live = [at for at, row in enumerate(cells) if all(cell is not None for cell in row)]
        found: dict[int, Found] = {}
        for start in range(0, len(live), self._batch):
            part = live[start : start + self._batch]
            rows = [self._prepared(at, cells[at]) for at in part]
            for at, answer in zip(part, self._run(rows), strict=True):
                found[at] = self._named(self._how.read(_python(answer)))
            context().tell(start + len(part), "")
        types = {"DOUBLE": pa.float64(), "DOUBLE[]": pa.list_(pa.float64())}
        result = {}
        for name in columns:
            if name == f"{self._meta['target']}_explain":
                texts = {at: json.dumps(one.explain, ensure_ascii=False) for at, one in found.items()}
                result[name] = pa.array([texts.get(at) for at in range(len(cells))], pa.string())
                continue
            is_json = self._how.type == "JSON"
            values = {at: json.dumps(one.value, ensure_ascii=False) if is_json else one.value
                      for at, one in found.items()}  # fmt: skip
            kind = types.get(self._how.type, pa.string())
            result[name] = pa.array([values.get(at) for at in range(len(cells))], kind)
        return result

    def _prepared(self, at: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._how.shape != "media":
            return tuple(cell if isinstance(cell, str) else json.dumps(_python(cell), default=str) for cell in row)
        if not isinstance(row[0], bytes):
            raise DataError(
                f"the input of row {row_number(at)} is no BLOB", hint="SELECT content FROM read_blob('*.png')"
            )
        return row

    def _named(self, found: Found) -> Found:
        if not self._names or self._meta["task"] not in ("text-classification", "image-classification"):
            return found
        explain = [{**item, "label": self._names.get(item["label"], item["label"])} for item in found.explain]
        return Found(self._names.get(found.value, found.value), explain)


def _python(value: Any) -> Any:
    """Without the number types of numpy and torch."""
    if isinstance(value, Mapping):
        return {str(key): _python(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_python(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
