"""Owns `OpenAIEngine`: any server that speaks as OpenAI's does, asked by a template of the row for text, for columns
of given types, or for embeddings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Option, Summary, context
from mindsql.errors import StatementError, UnknownNameError
from mindsql.schema import Column, Schema, family, is_integer
from mindsql_engines.remote import dtypes, fanout, settings, tables
from mindsql_engines.remote.base import RemoteEngine
from mindsql_engines.remote.client import Client
from mindsql_engines.remote.failures import RequestError
from mindsql_engines.remote.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import requests

HOSTED = "https://api.openai.com/v1"
MODELS = {"default": "gpt-4o", "embedding": "text-embedding-3-small"}
"""Asked of OpenAI itself when no model is named, by mode."""
_PLACE = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_JSON_TYPES = {
    "string": "VARCHAR", "number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN", "array": "JSON",
    "object": "JSON",
}  # fmt: skip
_SERVER = (
    Option("base_url", "string", aliases=("api_base",), description="the server, up to /v1 (https://api.openai.com/v1)"),
    *(replace(one, aliases=("openai_api_key",)) if one.name == "api_key" else one for one in settings.CONNECTION),
)
_SAMPLING = (
    Option("temperature", "float", minimum=0, maximum=2, description="how much chance there is in the answer"),
    Option("max_tokens", "integer", minimum=1, description="the most tokens of an answer"),
    Option("parameters", "object", description="further parameters of the request, sent as they are"),
)


class OpenAIEngine(RemoteEngine):
    """Asks a server of chat completions and embeddings: OpenAI, Azure, vLLM, Ollama, llama.cpp, LiteLLM and others."""

    title: ClassVar[str] = "OpenAI and its like"
    description: ClassVar[str] = "chat completions and embeddings of any server that speaks as OpenAI's does"
    options: ClassVar[tuple[Option, ...]] = (
        Option("model_name", "string", aliases=("model",), description="the model of the server"),
        Option("mode", "string", choices=("default", "embedding"), description="answers, or embeddings"),
        Option("prompt_template", "string", description="the question, with {{column}} for what the row has"),
        Option("question_column", "string", aliases=("input_column",), description="the column with the question"),
        Option("context_column", "string", description="the column with what the question is about"),
        Option("system", "string", aliases=("prompt",), description="what the conversation begins with"),
        Option(
            "json_schema",
            "object",
            description="columns of the answer: name → type (VARCHAR, DOUBLE, …) or list of values; or a JSON schema",
        ),
        Option("json_struct", "object", description="columns of the answer: name → what it shall hold, as text"),
        *_SAMPLING,
        settings.ON_ERROR,
        *_SERVER,
    )
    engine_options: ClassVar[tuple[Option, ...]] = _SERVER
    predict_options: ClassVar[tuple[Option, ...]] = (*_SAMPLING, *settings.PREDICT)
    urls: ClassVar[tuple[str, ...]] = ("base_url",)

    def create(self, target: str, df: pd.DataFrame | None = None, args: Args | None = None) -> None:
        """See `Engine.create`. Nothing is sent: a model can be made without a network."""
        using = self.using(args)
        self.check_urls(using)
        mode = str(using.get("mode") or "default")
        embeds = mode == "embedding"
        model = using.get("model_name") or (None if using.get("base_url") else MODELS[mode])
        if model is None:
            raise StatementError("the statement names no model of the server", hint="USING model_name = '…'")
        template = _template(using, embeds)
        names = list(dict.fromkeys(_PLACE.findall(template)))
        if not names:
            raise StatementError("prompt_template names no column", hint="prompt_template = 'Is this good? {{review}}'")
        if target.casefold() in {name.casefold() for name in names}:
            raise StatementError(f'"{target}" is both the target and an input column')
        schema = _json_schema(using)
        if embeds and schema:
            raise StatementError("an embedding has no json_schema", hint="leave one of them out")
        properties = {name: _duckdb_type(name, how) for name, how in schema.get("properties", {}).items()}
        own = next((name for name in properties if name.casefold() == target.casefold()), None)
        kind = "DOUBLE[]" if embeds else properties[own] if own is not None else "JSON" if schema else "VARCHAR"
        outputs = [(target, kind), *((name, each) for name, each in properties.items() if name != own)]
        outputs += [(f"{target}_explain", "JSON"), (f"{target}_error", "VARCHAR")]
        self.model_storage.json_set(
            "model",
            {
                "target": target,
                "model": model,
                "embeds": embeds,
                "template": template,
                "schema": schema,
                "own": own,
                "inputs": [(name, "VARCHAR") for name in names],
                "outputs": outputs,
                "notes": [f"asked of {model}"]
                + (["the rows of FROM are not needed: nothing is trained"] if df is not None else []),
            },
        )

    def summary(self) -> Summary:
        """See `Engine.summary`."""
        meta = tables.stored(self.model_storage)
        columns = Schema(Column(name, kind) for name, kind in meta["inputs"])
        return Summary(columns, Schema.of(meta["outputs"]), notes=tuple(meta["notes"]), estimator=meta["model"])

    def predictor(self, args: Args | None = None) -> OpenAIPredictor:
        """See `Engine.predictor`."""
        using = self.using(args)
        params = (args or {}).get("predict_params") or {}
        sent: dict[str, Any] = {}
        for given in (using, params):
            sent |= {key: given[key] for key in ("temperature", "max_tokens") if given.get(key) is not None}
            sent |= given.get("parameters") or {}
        return OpenAIPredictor(
            tables.stored(self.model_storage),
            str(using.get("base_url") or HOSTED).rstrip("/"),
            using.get("system"),
            sent,
            Settings.of(using, params, batch_rows=64, concurrency=8, timeout=120.0),
            self.session,
        )

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `model`, what is asked and how."""
        import pandas as pd

        if key is None:
            return pd.DataFrame({"tables": ["model"]})
        if key != "model":
            raise UnknownNameError.of("key", key, ["model"])
        meta = tables.stored(self.model_storage)
        rows = [("model_name", meta["model"]), ("prompt_template", meta["template"])]
        rows += [("json_schema", json.dumps(meta["schema"]))] if meta["schema"] else []
        return pd.DataFrame(rows, columns=["property", "value"])


def _template(using: Mapping[str, Any], embeds: bool) -> str:
    """The template that the options say, in words or by naming columns. Raises StatementError."""
    given = [name for name in ("prompt_template", "question_column") if using.get(name)]
    if len(given) != 1:
        what = "both prompt_template and question_column" if given else "neither prompt_template nor question_column"
        raise StatementError(
            f"the statement has {what}", hint="USING prompt_template = 'Is this a good review? {{review}}'"
        )
    if using.get("prompt_template"):
        if using.get("context_column"):
            raise StatementError(
                "context_column goes with question_column", hint="put it into prompt_template: {{context}}"
            )
        return str(using["prompt_template"])
    question = f"{{{{{using['question_column']}}}}}"
    if not using.get("context_column"):
        return question
    if embeds:
        raise StatementError("an embedding has no context_column", hint="leave it out")
    return f"Context: {{{{{using['context_column']}}}}}\nQuestion: {question}\nAnswer:"


def _json_schema(using: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that the answer must have, as JSON Schema; empty when it is plain text. Raises StatementError."""
    given, told = using.get("json_schema"), using.get("json_struct")
    if given and told:
        raise StatementError("json_schema and json_struct say the same", hint="leave one of them out")
    if told:
        properties = {str(name): {"type": "string", "description": str(about)} for name, about in told.items()}
    elif not given:
        return {}
    elif isinstance(given.get("properties"), Mapping):
        properties = {str(name): dict(how) for name, how in given["properties"].items()}
    else:
        properties = {str(name): _property(str(name), how) for name, how in given.items()}
    if not properties:
        raise StatementError("json_schema names no column", hint='json_schema = {"sentiment": "VARCHAR"}')
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _property(name: str, how: Any) -> dict[str, Any]:
    if isinstance(how, Mapping):
        return dict(how)
    if isinstance(how, list) and how:
        return {"type": "string", "enum": [str(one) for one in how]}
    if isinstance(how, str):
        if how in _JSON_TYPES:
            return {"type": how}
        if is_integer(how):
            return {"type": "integer"}
        known = {"number": "number", "boolean": "boolean", "text": "string", "time": "string"}.get(family(how))
        if known is not None:
            further = {"DATE": "date", "TIMESTAMP": "date-time"}.get(how.upper())
            return {"type": known, **({"format": further} if further else {})}
    raise StatementError(
        f'json_schema: {how!r} is no type of "{name}"',
        hint="VARCHAR, DOUBLE, BIGINT, BOOLEAN, DATE, or a list of values",
    )


def _duckdb_type(name: str, how: Mapping[str, Any]) -> str:
    found = _JSON_TYPES.get(str(how.get("type", "string")))
    if found is None:
        raise StatementError(f'json_schema: "{name}" has the type {how.get("type")!r}', hint=", ".join(_JSON_TYPES))
    return {"date": "DATE", "date-time": "TIMESTAMP"}.get(str(how.get("format")), found)


class OpenAIPredictor:
    """Answers batches by asking a server; threads may share it.

    Args:
        meta: What CREATE stored.
        url: The server, up to `/v1`.
        system: What each conversation begins with.
        sent: Further parameters of a request.
        settings: How to ask.
        session: Pooled connections.
    """

    def __init__(
        self,
        meta: Mapping[str, Any],
        url: str,
        system: str | None,
        sent: Mapping[str, Any],
        settings: Settings,
        session: requests.Session,
    ) -> None:
        self._meta = meta
        self._url = url
        self._system = system
        self._sent = dict(sent)
        self._settings = settings
        self._session = session
        self._types: dict[str, str] = dict(meta["outputs"])

    def predict(self, batch: pa.RecordBatch, columns: Sequence[str]) -> dict[str, Any]:
        """See `Predictor.predict`; a row with a NULL is not asked, and answered with NULL."""
        client = Client(self._settings, self._url, context(), self._session)
        target = self._meta["target"]
        wanted = [name for name in self._types if name != f"{target}_error"]
        cells = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        live = [at for at, row in enumerate(cells) if all(cell is not None for cell in row)]
        texts = [self._text(batch.schema.names, cells[at]) for at in live]
        embeds = self._meta["embeds"]
        ask: Callable[[Client, list[str], bool], list[dict[str, Any]]] = self._embed if embeds else self._chat

        def send(rows: range, again: bool) -> list[tuple[Any, ...]]:
            found = ask(client, texts[rows.start : rows.stop], again)
            fitted = [tables.fitted([one.get(name) for one in found], self._types[name], name) for name in wanted]
            return list(zip(*fitted, strict=True))

        answers = fanout.ask_all(client, len(texts), self._settings.batch_rows if embeds else 1, send) if texts else []
        nothing = (None,) * len(wanted)
        by_row = dict(zip(live, answers, strict=True))
        every = [by_row.get(at, nothing) for at in range(batch.num_rows)]
        return tables.collected(every, wanted, columns, f"{target}_error", self._types)

    def _text(self, names: Sequence[str], row: Sequence[Any]) -> str:
        values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        return _PLACE.sub(lambda place: values[place[1]], self._meta["template"])

    def _chat(self, client: Client, texts: list[str], again: bool) -> list[dict[str, Any]]:
        (text,) = texts
        schema, target = self._meta["schema"], self._meta["target"]
        messages = [{"role": "system", "content": self._system}] if self._system else []
        payload = {
            "model": self._meta["model"],
            "messages": [*messages, {"role": "user", "content": text}],
            **self._sent,
            "stream": False,
        }
        if schema:
            answer = {"name": "answer", "schema": schema, "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": answer}
        reply = client.post(f"{self._url}/chat/completions", payload, retry_rows=again).json()
        choice = (reply.get("choices") or [{}])[0] if isinstance(reply, Mapping) else {}
        message = choice.get("message") or {}
        content = message.get("content")
        if message.get("refusal"):
            raise RequestError(f"the model refuses: {message['refusal']:.200}", status=200)
        if not isinstance(content, str):
            raise RequestError(f"the answer holds no text: {reply!r:.200}", status=200)
        kept = {key: reply[key] for key in ("model", "usage") if key in reply}
        explain = {"text": content, "finish_reason": choice.get("finish_reason"), **kept}
        if not schema:
            return [{target: content, f"{target}_explain": explain}]
        found = _object(content, choice.get("finish_reason"))
        own = self._meta["own"]
        return [{**found, target: found if own is None else found.get(own), f"{target}_explain": explain}]

    def _embed(self, client: Client, texts: list[str], again: bool) -> list[dict[str, Any]]:
        target = self._meta["target"]
        payload = {"model": self._meta["model"], "input": texts, **self._sent}
        reply = client.post(f"{self._url}/embeddings", payload, retry_rows=again).json()
        data = reply.get("data") if isinstance(reply, Mapping) else None
        if not isinstance(data, list) or len(data) != len(texts):
            raise RequestError(f"the answer does not hold {len(texts)} embeddings: {reply!r:.200}", status=200)
        ordered = sorted(enumerate(data), key=lambda item: item[1].get("index", item[0]))
        found = [one.get("embedding") for _, one in ordered]
        return [{target: one, f"{target}_explain": {"dimensions": len(one or ())}} for one in found]


def _plain(value: Any) -> str:
    plain = dtypes.plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _object(content: str, reason: Any) -> dict[str, Any]:
    """The object in an answer, which a model may have fenced. Raises RequestError."""
    text = content.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        hint = "raise max_tokens: the answer was cut off" if reason == "length" else "the server must know json_schema"
        raise RequestError(f"the answer is no JSON object: {content!r:.200}", status=200, hint=hint)
    return found
