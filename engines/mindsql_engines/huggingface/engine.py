"""Owns `HuggingFaceEngine`, the handler: its options, what CREATE checks and stores, what DESCRIBE shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Option, Summary
from mindsql.errors import StatementError, UnknownNameError
from mindsql.schema import Column, Schema
from mindsql_engines.huggingface import formats, tasks
from mindsql_engines.huggingface.formats import Target
from mindsql_engines.remote import settings, tables
from mindsql_engines.remote.base import RemoteEngine
from mindsql_engines.remote.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mindsql_engines.huggingface.predicting import HuggingFacePredictor

BASE_VARIABLE = "HF_INFERENCE_BASE_URL"
_MOST_BYTES = 32 << 20
_SERVER = (
    Option(
        "base_url",
        "string",
        aliases=("endpoint",),
        description="a server of one's own, instead of the hosted one",
    ),
    Option(
        "api_format",
        "string",
        choices=("auto", *formats.FORMATS),
        description="what that server speaks; auto asks it",
    ),
    Option("media_root", "string", file=True, description="the only folder that paths in media cells may lead into"),
    Option("max_media_bytes", "integer", minimum=1, description="the most bytes of a media cell (33554432)"),
)
_CHOSEN = ("input_column", "context_column", "input_column2")


class HuggingFaceEngine(RemoteEngine):
    """Asks models by the Hugging Face Inference API, and those of TEI, TGI, vLLM, llama.cpp, Ollama and toolkits."""

    title: ClassVar[str] = "Hugging Face Inference"
    description: ClassVar[str] = "models of the Hugging Face Inference API, and of servers of one's own"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "task", "string", required=True, choices=tuple(tasks.TASKS), description="what the model does"
        ),
        Option("model_name", "string", aliases=("model",), description="the model; each task has a default"),
        Option(
            "input_column",
            "string",
            aliases=("column",),
            description="the column with the text, image or sound",
        ),
        Option("context_column", "string", description="the column with the context or table of a question"),
        Option(
            "input_column2",
            "string",
            description="the column with the other sentence, or the query of a rerank",
        ),
        Option("candidate_labels", "array", description="the labels of a zero-shot task"),
        Option("hypothesis_template", "string", description="how a zero-shot task puts a label"),
        Option("multi_label", "boolean", description="whether several labels may fit (false)"),
        Option("labels", "array", description="names for LABEL_0, LABEL_1, …"),
        Option("lang_input", "string", description="the language of a translation's text"),
        Option("lang_output", "string", description="the language of the translation"),
        Option("system", "string", description="what a chat begins with"),
        Option("parameters", "object", description="parameters of the task, sent as they are"),
        *_SERVER,
        settings.ON_ERROR,
        *settings.CONNECTION,
    )
    engine_options: ClassVar[tuple[Option, ...]] = (*_SERVER, *settings.CONNECTION)
    urls: ClassVar[tuple[str, ...]] = ("base_url",)
    predict_options: ClassVar[tuple[Option, ...]] = (
        Option("parameters", "object", description="further parameters, for this query"),
        *settings.PREDICT,
    )

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. Nothing is sent: a model can be made without a network."""
        using = self.using(args)
        name = str(using["task"])
        how = tasks.TASKS[name]
        for option in _CHOSEN:
            if option in how.inputs and not using.get(option):
                raise StatementError(f"the task {name} needs {option}", hint=f"USING {option} = 'a_column'")
            if option not in how.inputs and using.get(option):
                raise StatementError(
                    f"the task {name} has no {option}", hint=f"it takes {', '.join(how.inputs)}"
                )
        for option in how.needs:
            if not using.get(option):
                raise StatementError(
                    f"the task {name} needs {option}", hint=f"USING {option} = ['one', 'other']"
                )
        for option in ("candidate_labels", "hypothesis_template", "multi_label", "lang_input", "lang_output"):
            if using.get(option) is not None and option not in how.parameters:
                raise StatementError(f"the task {name} has no {option}")
        if bool(using.get("lang_input")) != bool(using.get("lang_output")):
            raise StatementError("lang_input and lang_output belong together")
        base = using.get("base_url")
        self.check_urls(using)
        kind = using.get("api_format", "auto")
        formats.check(kind, name)
        if kind not in ("auto", "hf") and not base:
            raise StatementError(f"api_format = '{kind}' needs a server", hint="USING base_url = 'http://…'")
        columns = [str(using[option]) for option in how.inputs]
        if len({column.casefold() for column in columns}) < len(columns):
            raise StatementError("two of the input columns are the same")
        if target.casefold() in {column.casefold() for column in columns}:
            raise StatementError(f'"{target}" is both the target and an input column')
        model, pinned = self._model(using)
        if model is None and not base:
            raise StatementError(
                f"the task {name} has no default model", hint="USING model_name = 'owner/model'"
            )
        kinds = {"media": ["BLOB"], "table": ["VARCHAR", "JSON"]}.get(how.shape, ["VARCHAR"] * len(columns))
        outputs = [(target, how.type), (f"{target}_explain", "JSON"), (f"{target}_error", "VARCHAR")]
        notes = [f"the task {name}, asked of {model or 'the one model of the server'}"]
        if pinned:
            notes.append(f"{model} is the default model of the task in this version of MindSQL")
        self.model_storage.json_set(
            "model",
            {
                "task": name,
                "model": model,
                "target": target,
                "inputs": list(zip(columns, kinds, strict=True)),
                "outputs": outputs,
                "notes": notes,
            },
        )

    @staticmethod
    def _model(using: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The model, and whether it is the task's default."""
        if using.get("model_name"):
            return str(using["model_name"]), False
        if using.get("base_url"):
            return None, False
        if using.get("lang_input"):
            return f"Helsinki-NLP/opus-mt-{using['lang_input']}-{using['lang_output']}", True
        return tasks.TASKS[str(using["task"])].model, True

    def predictor(self, args: Args | None = None) -> HuggingFacePredictor:
        """See `Engine.predictor`."""
        from mindsql_engines.huggingface.predicting import HuggingFacePredictor

        meta, using = tables.stored(self.model_storage), self.using(args)
        params = (args or {}).get("predict_params") or {}
        how = tasks.TASKS[meta["task"]]
        sent = {key: using[option] for option, key in how.parameters.items() if using.get(option) is not None}
        if "multi_label" in how.parameters:
            sent.setdefault("multi_label", False)
        if str(meta["model"]).startswith("Helsinki-NLP/opus-mt-") and not using.get("model_name"):
            sent = {}  # the languages are in the model's name
        target = Target(
            meta["task"],
            meta["model"],
            using.get("base_url"),
            os.environ.get(BASE_VARIABLE, formats.HOSTED).rstrip("/"),
            {**sent, **(using.get("parameters") or {}), **(params.get("parameters") or {})},
            tuple(str(label) for label in using.get("labels") or ()),
            using.get("system"),
        )
        return HuggingFacePredictor(
            meta,
            target,
            using.get("api_format", "auto") if using.get("base_url") else "hf",
            Settings.of(using, params, batch_rows=32, concurrency=8),
            self.session,
            using.get("media_root"),
            int(using.get("max_media_bytes") or _MOST_BYTES),
        )

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        meta = tables.stored(self.model_storage)
        columns = Schema(Column(name, kind) for name, kind in meta["inputs"])
        return Summary(columns, Schema.of(meta["outputs"]), notes=tuple(meta["notes"]))

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `model`, what is asked; `tasks`, what could be."""
        import pandas as pd

        if key is None:
            return pd.DataFrame({"tables": ["model", "tasks"]})
        if key == "tasks":
            names = ["task", "inputs", "needs", "answer", "default_model"]
            return pd.DataFrame(tasks.table(), columns=names)
        if key != "model":
            raise UnknownNameError.of("key", key, ["model", "tasks"])
        meta = tables.stored(self.model_storage)
        rows = [("task", meta["task"]), ("model_name", meta["model"]), ("note", "; ".join(meta["notes"]))]
        return pd.DataFrame(rows, columns=["property", "value"])
