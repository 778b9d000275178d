"""Answers of every task, in every form that servers give them: `read(encode_as(form, x)) == x`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mindsql.errors import EngineError
from mindsql_engines.huggingface import answers, tasks

Form = Callable[[Any], Any]
SCORES = st.floats(0, 1)
WORDS = st.text(min_size=1)
PLACES = st.integers(0, 999)


def best_first(items: Any) -> Any:
    """Lists of items with scores, no two alike, so that any order can be put right."""
    lists = st.lists(items, min_size=1, max_size=5, unique_by=lambda item: item["score"])
    return lists.map(lambda found: sorted(found, key=lambda item: -item["score"]))


class Kind(NamedTuple):
    """One kind of answer: what it may be, the forms it comes in, and which part of `Found` gives it back."""

    values: Any
    forms: Mapping[str, Form]
    part: str = "explain"


LABELS = Kind(
    best_first(st.fixed_dictionaries({"label": WORDS, "score": SCORES})),
    {
        "hosted": lambda x: [x],
        "toolkit": lambda x: x,
        "worst first": lambda x: x[::-1],
        "parallel": lambda x: {
            "sequence": "s",
            "labels": [i["label"] for i in x],
            "scores": [i["score"] for i in x],
        },
        "parallel in a list": lambda x: [
            {"labels": [i["label"] for i in x], "scores": [i["score"] for i in x]}
        ],
        "vllm": lambda x: {
            "data": [{"index": 0, "label": i["label"], "probs": [i["score"], 0.0]} for i in x]
        },
        "mapping": lambda x: {i["label"]: i["score"] for i in x} if _can_be_keys(x) else x,
    },
)
ENTITIES = Kind(
    st.lists(
        st.fixed_dictionaries(
            {"entity": WORDS, "score": SCORES, "word": WORDS, "start": PLACES, "end": PLACES}
        ),
        max_size=5,
    ),
    {
        "tokens": lambda x: x,
        "groups": lambda x: [renamed(i, "entity", "entity_group") for i in x],
        "labels": lambda x: [renamed(i, "entity", "label") for i in x],
        "nested": lambda x: [x],
        "mapping": lambda x: {"entities": x},
        "alone": lambda x: x[0] if len(x) == 1 else x,
    },
)
BOX = st.fixed_dictionaries({key: PLACES for key in ("xmin", "ymin", "xmax", "ymax")})
BOXES = Kind(
    best_first(st.fixed_dictionaries({"label": WORDS, "score": SCORES, "box": BOX})) | st.just([]),
    {
        "hosted": lambda x: x,
        "nested": lambda x: [x],
        "worst first": lambda x: x[::-1],
        "objects": lambda x: {"objects": x},
        "predictions": lambda x: {"predictions": x},
        "alone": lambda x: x[0] if len(x) == 1 else x,
    },
)
SPANS = Kind(
    best_first(st.fixed_dictionaries({"answer": st.text(), "score": SCORES, "start": PLACES, "end": PLACES})),
    {
        "best alone": lambda x: x[0],
        "in a list": lambda x: x[:1],
        "several": lambda x: x,
        "worst first": lambda x: x[::-1],
        "nested": lambda x: [x],
    },
    "answer",
)
TABLES = Kind(
    st.fixed_dictionaries(
        {"answer": st.text(), "cells": st.lists(st.text(), max_size=3), "aggregator": WORDS}
    ),
    {"hosted": lambda x: x, "in a list": lambda x: [x]},
    "answer",
)
MASKS = Kind(
    best_first(
        st.fixed_dictionaries({"sequence": st.text(), "score": SCORES, "token": PLACES, "token_str": WORDS})
    ),
    {
        "hosted": lambda x: x,
        "nested": lambda x: [x],
        "worst first": lambda x: x[::-1],
        "alone": lambda x: x[0] if len(x) == 1 else x,
    },
)
TEXTS = Kind(
    st.text(),
    {
        **{
            key: lambda x, key=key: [{key: x}]
            for key in ("summary_text", "translation_text", "generated_text")
        },
        "dict": lambda x: {"generated_text": x},
        "nested": lambda x: [[{"generated_text": x}]],
        "speech": lambda x: {"text": x, "chunks": []},
        "bare": lambda x: x,
        "list": lambda x: [x],
        "chat": lambda x: {"choices": [{"message": {"content": x}}]},
        "parts": lambda x: {"choices": [{"message": {"content": [{"type": "text", "text": x}]}}]},
        "completion": lambda x: {"choices": [{"text": x}]},
        "turns": lambda x: [
            {"generated_text": [{"role": "user", "content": "?"}, {"role": "assistant", "content": x}]}
        ],
    },
    "value",
)
VECTORS = Kind(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6),
    {
        "flat": lambda x: x,
        "nested": lambda x: [x],
        "deeper": lambda x: [[x]],
        "openai": lambda x: {"data": [{"index": 0, "embedding": x}]},
        "named": lambda x: {"embedding": x},
        "tokens": lambda x: [[x, x]],
    },
    "value",
)
NUMBERS = Kind(
    SCORES,
    {
        "bare": lambda x: x,
        "list": lambda x: [x],
        "nested": lambda x: [[x]],
        "tei": lambda x: [{"index": 0, "score": x}],
        "openai": lambda x: {"results": [{"index": 0, "relevance_score": x}]},
        "classifier": lambda x: [[{"label": "LABEL_0", "score": x}]],
    },
    "value",
)
KINDS: dict[str, Kind] = {
    "text-classification": LABELS,
    "zero-shot-classification": LABELS,
    "image-classification": LABELS,
    "audio-classification": LABELS,
    "zero-shot-image-classification": LABELS,
    "token-classification": ENTITIES,
    "object-detection": BOXES,
    "question-answering": SPANS,
    "table-question-answering": TABLES,
    "fill-mask": MASKS,
    "summarization": TEXTS,
    "translation": TEXTS,
    "text-generation": TEXTS,
    "chat-completion": TEXTS,
    "image-to-text": TEXTS,
    "automatic-speech-recognition": TEXTS,
    "feature-extraction": VECTORS,
    "sentence-similarity": NUMBERS,
    "rerank": NUMBERS,
}


def _can_be_keys(items: list[dict[str, Any]]) -> bool:
    labels = {item["label"] for item in items}
    return len(labels) == len(items) and not labels & {"label", "labels", "data", "scores"}


def renamed(item: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in item.items()}


def test_no_task_is_forgotten() -> None:
    assert set(KINDS) == set(tasks.TASKS)


@pytest.mark.parametrize(
    ("task", "form"), [(task, form) for task, kind in KINDS.items() for form in kind.forms]
)
@given(data=st.data())
@examples(max_examples=20, deadline=None)
def test_every_form_of_every_task(task: str, form: str, data: st.DataObject) -> None:
    kind = KINDS[task]
    x = data.draw(kind.values)
    found = tasks.TASKS[task].read(kind.forms[form](x))
    if kind.part == "answer":  # of several, the best one's
        assert found.value == (x[0] if isinstance(x, list) else x)["answer"]
    else:
        assert getattr(found, kind.part) == x


@given(
    vectors=st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=2), min_size=2, max_size=5),
    data=st.data(),
)
@examples(max_examples=50, deadline=None)
def test_batches_in_every_form(vectors: list[list[float]], data: st.DataObject) -> None:
    count = len(vectors)
    items = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    for batch in (vectors, {"data": data.draw(st.permutations(items))}, {"embeddings": vectors}):
        assert [answers.vector(one).value for one in answers.rows(batch, count)] == vectors
        with pytest.raises(EngineError, match=f"asked for {count + 1} rows and answered {count}"):
            answers.rows(batch, count + 1)


def test_several_masks_have_no_sentence() -> None:
    mask, less = ({"score": 0.9, "token_str": "b"}, {"score": 0.1, "token_str": "c"})
    assert answers.masks([[mask, less], [less, mask]]).value == "b b"


@pytest.mark.parametrize("read", dict.fromkeys(how.read for how in tasks.TASKS.values()))
@given(
    answer=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["label", "labels", "score", "text", "answer", "data"]), x)
        ),
    )
)
@examples(max_examples=60, deadline=None)
def test_no_answer_breaks_the_reader(read: Any, answer: Any) -> None:
    with suppress(EngineError):
        read(answer)
