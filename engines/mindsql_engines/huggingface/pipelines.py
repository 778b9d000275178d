"""Owns how each task is run by transformers: by its pipeline where there is one, else by the model's own classes.

Pipelines for summaries, translations, text to text and questions were removed in transformers 5.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mindsql.errors import DataError, StatementError

Rows = Sequence[tuple[Any, ...]]
Run = Callable[[Rows], list[Any]]

_PIPELINES = {
    "text-classification", "zero-shot-classification", "token-classification", "fill-mask", "text-generation",
    "image-classification", "object-detection", "image-to-text", "automatic-speech-recognition",
    "audio-classification", "zero-shot-image-classification",
}  # fmt: skip
_IMAGES = {"image-classification", "object-detection", "image-to-text", "zero-shot-image-classification"}
_GENERATES = {"summarization", "translation", "text2text-generation"}
_LANGUAGES = {"en": "English", "fr": "French", "de": "German", "ro": "Romanian", "es": "Spanish", "it": "Italian"}
_NEW_TOKENS = 128


def device_of(wanted: str) -> Any:
    """The torch device: a GPU where there is one, if it is left open. Raises StatementError."""
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = getattr(torch.backends, "mps", None)
        return torch.device("mps") if mps is not None and mps.is_available() else torch.device("cpu")
    try:
        torch.empty(0, device=wanted)
        return torch.device(wanted)
    except (RuntimeError, AssertionError) as error:
        raise StatementError(f'device = "{wanted}" is not there: {str(error).splitlines()[0]}') from error


def load(folder: str, task: str, using: Mapping[str, Any], trusted: bool) -> Run:
    """What answers rows in the forms that hosted models have."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = device_of(str(using.get("device") or "auto"))
    parameters = dict(using.get("parameters") or {})
    if task in ("feature-extraction", "sentence-similarity"):
        return _embedding(folder, task, device, trusted, using)
    if task == "rerank":
        return _rerank(folder, device, trusted, using)
    if task == "question-answering":
        return _question(folder, device, trusted, using)
    if task in _GENERATES:
        return _text_to_text(folder, task, device, trusted, using, parameters)
    if task == "chat-completion":
        return _chat(folder, device, trusted, using, parameters)
    assert task in _PIPELINES
    return _pipeline(folder, task, device, trusted, using, parameters)


def _parts(folder: str, kind: str, device: Any, trusted: bool) -> tuple[Any, Any]:
    """Tokenizer and model."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    model = getattr(transformers, kind).from_pretrained(folder, trust_remote_code=trusted)
    return tokenizer, model.to(device).eval()


def _read(tokenizer: Any, device: Any, texts: Any, pairs: Any = None, most: Any = None, **more: Any) -> Any:
    limit = int(most or min(tokenizer.model_max_length, 512))
    made = tokenizer(texts, pairs, padding=True, truncation=True, max_length=limit, return_tensors="pt", **more)
    return made.to(device)


def _pipeline(
    folder: str, task: str, device: Any, trusted: bool, using: Mapping[str, Any], parameters: dict[str, Any]
) -> Run:
    import transformers

    pipe = transformers.pipeline(task, model=folder, device=device, trust_remote_code=trusted)
    given: dict[str, Any] = {}
    if task in ("text-classification", "token-classification", "zero-shot-classification"):
        given |= {"truncation": True} if task == "text-classification" else {}
    if task == "text-classification":
        given["top_k"] = None
        given |= {"max_length": using["max_length"]} if using.get("max_length") else {}
    if task == "token-classification":
        given["aggregation_strategy"] = "simple"
    if "zero-shot" in task:
        given["candidate_labels"] = [str(label) for label in using["candidate_labels"]]
        if using.get("hypothesis_template"):
            given["hypothesis_template"] = using["hypothesis_template"]
        if task == "zero-shot-classification":
            given["multi_label"] = bool(using.get("multi_label"))
    if task == "text-generation":
        given |= {"do_sample": False, **_lengths(using)}
    given |= parameters
    room = _positions(pipe.model)

    def run(rows: Rows) -> list[Any]:
        if task in _IMAGES:
            return [pipe(_image(row[0]), **given) for row in rows]
        texts = [row[0] for row in rows]
        if task == "fill-mask":  # it answers a list of one text in another form than one of several
            return [pipe(text, **given) for text in texts]
        if task != "text-generation" or room is None:
            return list(pipe(texts, **given))
        most = max(len(pipe.tokenizer(text)["input_ids"]) for text in texts)
        return list(pipe(texts, **{**given, "max_new_tokens": max(1, min(given["max_new_tokens"], room - most))}))

    return run


def _lengths(using: Mapping[str, Any]) -> dict[str, Any]:
    """How long a generated text may be."""
    lengths = {"max_new_tokens": int(using.get("max_output_length") or _NEW_TOKENS)}
    return lengths | ({"min_new_tokens": int(using["min_output_length"])} if using.get("min_output_length") else {})


def _positions(model: Any) -> int | None:
    """The most tokens that a model can tell the places of; None where there is no such limit."""
    config = model.config
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return int(found) if isinstance(found, int) and found > 0 else None


def _image(content: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"a cell is no image that can be read: {content[:8]!r}") from error


def _embedding(folder: str, task: str, device: Any, trusted: bool, using: Mapping[str, Any]) -> Run:
    """The mean of the tokens' vectors; of length 1 where the folder, made by sentence-transformers, says so."""
    import torch

    tokenizer, model = _parts(folder, "AutoModel", device, trusted)
    modules = Path(folder, "modules.json")
    named = json.loads(modules.read_text(encoding="utf-8")) if modules.is_file() else []
    normalizes = any(str(one.get("type", "")).endswith("Normalize") for one in named)

    def embed(texts: Sequence[str]) -> Any:
        read = _read(tokenizer, device, list(texts), most=using.get("max_length"))
        with torch.inference_mode():
            tokens = model(**read).last_hidden_state
        mask = read["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1) if normalizes else mean

    def run(rows: Rows) -> list[Any]:
        first = embed([row[0] for row in rows])
        if task == "feature-extraction":
            return [vector.double().cpu().tolist() for vector in first]
        second = embed([row[1] for row in rows])
        return [[float(one)] for one in torch.nn.functional.cosine_similarity(first, second).double().cpu()]

    return run


def _rerank(folder: str, device: Any, trusted: bool, using: Mapping[str, Any]) -> Run:
    import torch

    tokenizer, model = _parts(folder, "AutoModelForSequenceClassification", device, trusted)

    def run(rows: Rows) -> list[Any]:
        read = _read(tokenizer, device, [row[1] for row in rows], [row[0] for row in rows], using.get("max_length"))
        with torch.inference_mode():
            scores = model(**read).logits[:, -1].double().sigmoid()
        return [[{"index": 0, "score": float(score)}] for score in scores.cpu()]

    return run


def _question(folder: str, device: Any, trusted: bool, using: Mapping[str, Any]) -> Run:
    """The likeliest span of the context, by the scores of its beginning and its end."""
    import torch

    tokenizer, model = _parts(folder, "AutoModelForQuestionAnswering", device, trusted)
    longest = 30

    def answer(question: str, text: str) -> dict[str, Any]:
        limit = int(using.get("max_length") or min(tokenizer.model_max_length, 384))
        read = tokenizer(
            question, text, truncation="only_second", max_length=limit, stride=min(128, limit // 4),
            return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
        )  # fmt: skip
        offsets = read.pop("offset_mapping")
        read.pop("overflow_to_sample_mapping", None)
        with torch.inference_mode():
            made = model(**read.to(device))
        best: dict[str, Any] = {"answer": "", "score": 0.0, "start": 0, "end": 0}
        for at in range(len(offsets)):
            of_text = torch.tensor([kind == 1 for kind in read.encodings[at].sequence_ids])
            start, end = (
                logits[at].double().cpu().masked_fill(~of_text, -1e9).softmax(0)
                for logits in (made.start_logits, made.end_logits)
            )
            spans = torch.triu(start[:, None] * end[None, :]).tril(longest - 1)
            place = int(spans.argmax())
            first, last = divmod(place, spans.shape[1])
            score = float(spans[first, last])
            if score > best["score"]:
                begin, stop = int(offsets[at][first][0]), int(offsets[at][last][1])
                best = {"answer": text[begin:stop], "score": score, "start": begin, "end": stop}
        return best

    return lambda rows: [answer(row[0], row[1]) for row in rows]


def _text_to_text(
    folder: str, task: str, device: Any, trusted: bool, using: Mapping[str, Any], parameters: dict[str, Any]
) -> Run:
    import torch

    tokenizer, model = _parts(folder, "AutoModelForSeq2SeqLM", device, trusted)
    prefix, more = _languages(tokenizer, model, task, using)
    room = _positions(model) or _NEW_TOKENS + 1
    limit = _lengths(using)
    limit["max_new_tokens"] = min(limit["max_new_tokens"], room - 1)
    given = {**({} if "max_length" in parameters else limit), **more, **parameters}
    key = {"summarization": "summary_text", "translation": "translation_text"}.get(task, "generated_text")

    def run(rows: Rows) -> list[Any]:
        read = _read(tokenizer, device, [prefix + row[0] for row in rows], most=using.get("max_length"))
        read.pop("token_type_ids", None)
        with torch.inference_mode():
            made = model.generate(**read, **given)
        return [[{key: text}] for text in tokenizer.batch_decode(made, skip_special_tokens=True)]

    return run


def _languages(tokenizer: Any, model: Any, task: str, using: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What stands before a text so that the model knows what to do, and what generate() must know."""
    source, wanted = using.get("lang_input"), using.get("lang_output")
    specific = getattr(model.config, "task_specific_params", None) or {}
    name = f"translation_{source}_to_{wanted}" if task == "translation" else task
    own = specific.get(name) or {}
    if own.get("prefix"):
        return str(own["prefix"]), {}
    if task != "translation" or not source:
        return "", {}
    if hasattr(tokenizer, "src_lang"):  # NLLB, mBART, M2M100
        tokenizer.src_lang = source
        return "", {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(str(wanted))}
    if model.config.model_type == "t5":
        first, second = (_LANGUAGES.get(str(code), str(code)) for code in (source, wanted))
        return f"translate {first} to {second}: ", {}
    return "", {}


def _chat(folder: str, device: Any, trusted: bool, using: Mapping[str, Any], parameters: dict[str, Any]) -> Run:
    import transformers

    pipe = transformers.pipeline("text-generation", model=folder, device=device, trust_remote_code=trusted)
    if pipe.tokenizer is None or not pipe.tokenizer.chat_template:
        raise StatementError("the model has no template for a chat", hint="take task = 'text-generation'")
    system = [{"role": "system", "content": using["system"]}] if using.get("system") else []
    given = {"do_sample": False, **_lengths(using), **parameters}

    def run(rows: Rows) -> list[Any]:
        return [pipe([*system, {"role": "user", "content": row[0]}], **given) for row in rows]

    return run
