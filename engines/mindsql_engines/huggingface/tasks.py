"""Owns the table of tasks: for each its inputs, options, request, answer, output type and default model.

README and DESCRIBE are made from it. Default models are fixed here, so that the same SQL means the same tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mindsql_engines.huggingface import answers
from mindsql_engines.huggingface.answers import Found

Shape = Literal["text", "pair", "table", "similarity", "embedding", "chat", "media", "rerank"]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        shape: How its inputs are put into a request.
        inputs: The options that name its input columns, all needed.
        type: The DuckDB type of its answer.
        read: Turns one answer, of any known form, into value and explanation.
        model: The model asked when none is named; None when one must be.
        parameters: Options of CREATE MODEL that become parameters of the request, by their name there.
        batch: Whether several rows fit into one request.
        route: What follows the model in a hosted URL.
        needs: Options that it cannot do without.
    """

    shape: Shape
    inputs: tuple[str, ...]
    type: str
    read: Callable[[Any], Found]
    model: str | None
    parameters: dict[str, str] = field(default_factory=dict)
    batch: bool = False
    route: str = ""
    needs: tuple[str, ...] = ()


_LABELS = {"candidate_labels": "candidate_labels", "hypothesis_template": "hypothesis_template"}
_TEXT = ("input_column",)

TASKS: dict[str, Task] = {
    "text-classification": Task(
        "text", _TEXT, "VARCHAR", answers.labels, "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    ),
    "zero-shot-classification": Task(
        "text",
        _TEXT,
        "VARCHAR",
        answers.labels,
        "facebook/bart-large-mnli",
        {**_LABELS, "multi_label": "multi_label"},
        needs=("candidate_labels",),
    ),
    "token-classification": Task("text", _TEXT, "JSON", answers.entities, "dslim/bert-base-NER"),
    "question-answering": Task(
        "pair", ("input_column", "context_column"), "VARCHAR", answers.span, "deepset/roberta-base-squad2"
    ),
    "table-question-answering": Task(
        "table",
        ("input_column", "context_column"),
        "VARCHAR",
        answers.span,
        "google/tapas-base-finetuned-wtq",
    ),
    "fill-mask": Task("text", _TEXT, "VARCHAR", answers.masks, "google-bert/bert-base-uncased"),
    "summarization": Task("text", _TEXT, "VARCHAR", answers.text, "facebook/bart-large-cnn"),
    "translation": Task(
        "text",
        _TEXT,
        "VARCHAR",
        answers.text,
        "google-t5/t5-small",
        {"lang_input": "src_lang", "lang_output": "tgt_lang"},
    ),
    "text-generation": Task("text", _TEXT, "VARCHAR", answers.text, None),
    "chat-completion": Task("chat", _TEXT, "VARCHAR", answers.text, None),
    "feature-extraction": Task(
        "embedding",
        _TEXT,
        "DOUBLE[]",
        answers.vector,
        "sentence-transformers/all-MiniLM-L6-v2",
        batch=True,
        route="/pipeline/feature-extraction",
    ),
    "sentence-similarity": Task(
        "similarity",
        ("input_column", "input_column2"),
        "DOUBLE",
        answers.number,
        "sentence-transformers/all-MiniLM-L6-v2",
        route="/pipeline/sentence-similarity",
    ),
    "rerank": Task(
        "rerank", ("input_column", "input_column2"), "DOUBLE", answers.number, "BAAI/bge-reranker-v2-m3"
    ),
    "image-classification": Task("media", _TEXT, "VARCHAR", answers.labels, "google/vit-base-patch16-224"),
    "object-detection": Task("media", _TEXT, "JSON", answers.boxes, "facebook/detr-resnet-50"),
    "image-to-text": Task("media", _TEXT, "VARCHAR", answers.text, "Salesforce/blip-image-captioning-base"),
    "automatic-speech-recognition": Task("media", _TEXT, "VARCHAR", answers.text, "openai/whisper-large-v3"),
    "audio-classification": Task("media", _TEXT, "VARCHAR", answers.labels, "superb/hubert-large-superb-er"),
    "zero-shot-image-classification": Task(
        "media",
        _TEXT,
        "VARCHAR",
        answers.labels,
        "openai/clip-vit-large-patch14-336",
        _LABELS,
        needs=("candidate_labels",),
    ),
}


def table() -> list[tuple[str, str, str, str, str]]:
    """The rows that README and DESCRIBE show: task, inputs, needed options, output type, default model."""
    return [
        (name, ", ".join(task.inputs), ", ".join(task.needs), task.type, task.model or "")
        for name, task in TASKS.items()
    ]


def markdown() -> str:
    """The table of the README."""
    lines = ["| task | inputs | also needs | answer | default model |", "|---|---|---|---|---|"]
    for name, inputs, needs, kind, model in table():
        cells = [f"`{name}`", inputs, needs, kind, model]
        lines.append("| " + " | ".join(cell or "–" for cell in cells) + " |")
    return "\n".join(lines)
