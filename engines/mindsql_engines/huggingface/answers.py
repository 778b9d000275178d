"""Owns how the answer to one row is read, in every form that hosted models, toolkits, TEI, TGI and OpenAI-like servers
give it: as a value and as what explains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mindsql_engines.remote.failures import RequestError

_TEXTS = ("generated_text", "summary_text", "translation_text", "text", "output_text", "content", "response")


class Found(NamedTuple):
    """An answer to one row: its value, and all that the server said to explain it."""

    value: Any
    explain: Any


def _wrong(answer: Any, wanted: str) -> RequestError:
    return RequestError(f"the answer holds no {wanted}: {answer!r:.200}", status=200)


def _inner(answer: Any) -> Any:
    """Without the lists of one that stand around an answer to one row."""
    while isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], list):
        answer = answer[0]
    return answer


def labels(answer: Any) -> Found:
    """Labels and scores, the best first; its label is the value."""
    found = _inner(answer)
    if isinstance(found, Mapping) and isinstance(found.get("data"), list):  # vLLM's /classify
        found = found["data"]
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], Mapping) and "labels" in found[0]:
        found = found[0]
    if isinstance(found, Mapping):
        if isinstance(found.get("labels"), list) and isinstance(found.get("scores"), list):
            pairs = zip(found["labels"], found["scores"], strict=False)
            found = [{"label": label, "score": score} for label, score in pairs]
        elif "label" in found:
            found = [found]
        elif found and all(isinstance(score, (int, float)) for score in found.values()):
            found = [{"label": label, "score": score} for label, score in found.items()]
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(i, Mapping) and "label" in i for i in found)
    ):
        raise _wrong(answer, "labels")
    ordered = sorted(found, key=lambda item: -_score(item))
    return Found(str(ordered[0]["label"]), [{"label": str(i["label"]), "score": _score(i)} for i in ordered])


def _score(item: Mapping[str, Any]) -> float:
    score = item.get("score")
    if score is None and isinstance(item.get("probs"), list):
        score = max(filter(_is_number, item["probs"]), default=None)
    if score is None:
        return 1.0
    if not _is_number(score):
        raise _wrong(item, "score that is a number")
    return float(score)


def entities(answer: Any) -> Found:
    """Spans with their kind."""
    found = _inner(answer)
    if isinstance(found, Mapping):
        found = found.get("entities", [found])
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise _wrong(answer, "entities")
    spans = []
    for item in found:
        kind = item.get("entity_group", item.get("entity", item.get("label")))
        if kind is None:
            raise _wrong(answer, "entities")
        rest = {key: value for key, value in item.items() if key not in ("entity_group", "entity", "label")}
        spans.append({"entity": kind, **rest})
    return Found([{"entity": span["entity"], "word": span.get("word")} for span in spans], spans)


def boxes(answer: Any) -> Found:
    """Objects with label, score and box, the surest first."""
    found = _inner(answer)
    if isinstance(found, Mapping):
        found = [found] if "label" in found else found.get("objects", found.get("predictions"))
    if not isinstance(found, list) or not all(isinstance(i, Mapping) and "label" in i for i in found):
        raise _wrong(answer, "objects")
    ordered = sorted((dict(item) for item in found), key=lambda item: -_score(item))
    return Found([item["label"] for item in ordered], ordered)


def span(answer: Any) -> Found:
    """The best answer to a question."""
    found = _inner(answer)
    every = found if isinstance(found, list) else [found]
    if not every or not all(isinstance(item, Mapping) and "answer" in item for item in every):
        raise _wrong(answer, "answer to a question")
    best = max(every, key=_score)
    return Found(str(best["answer"]), found)


def masks(answer: Any) -> Found:
    """Sentences with their mask filled, the likeliest first. Several masks have a list each, without sentences."""
    found = answer
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    if isinstance(found, Mapping):
        found = [found]
    if (
        isinstance(found, list)
        and found
        and all(isinstance(one, list) and one and all(isinstance(i, Mapping) for i in one) for one in found)
    ):
        best = [max(item, key=_score) for item in found]
        return Found(" ".join(str(item.get("token_str", "")).strip() for item in best), found)
    if not isinstance(found, list) or not found or not all(isinstance(i, Mapping) for i in found):
        raise _wrong(answer, "filled masks")
    ordered = sorted((dict(item) for item in found), key=lambda item: -_score(item))
    value = ordered[0].get("sequence", ordered[0].get("token_str"))
    if value is None:
        raise _wrong(answer, "filled masks")
    return Found(str(value), ordered)


def text(answer: Any) -> Found:
    """Text that a model wrote or heard."""
    found = answer
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, str):
        return Found(found, {"text": found})
    if isinstance(found, Mapping):
        if isinstance(found.get("choices"), list) and found["choices"]:
            choice = found["choices"][0]
            content = (choice.get("message") or {}).get("content", choice.get("text"))
            if isinstance(content, list):
                content = "".join(str(part.get("text", "")) for part in content)
            if content is not None:
                kept = {key: found[key] for key in ("model", "usage") if key in found}
                return Found(
                    str(content), {"text": content, "finish_reason": choice.get("finish_reason"), **kept}
                )
        for key in _TEXTS:
            value = found.get(key)
            if isinstance(value, list) and value and isinstance(value[-1], Mapping):
                value = value[-1].get("content")  # a conversation: its last turn
            if isinstance(value, str):
                rest = {name: item for name, item in found.items() if name != key}
                return Found(value, {"text": value, **rest})
    raise _wrong(answer, "text")


def vector(answer: Any) -> Found:
    """An embedding; that of single tokens is averaged."""
    found = answer
    if isinstance(found, Mapping):
        if isinstance(found.get("data"), list) and found["data"]:
            found = found["data"][0]
        if isinstance(found, Mapping):
            found = found.get("embedding", found.get("embeddings", found.get("vector")))
    found = _inner(found)
    if isinstance(found, list) and found and all(isinstance(row, list) for row in found):
        if len({len(row) for row in found}) > 1 or not all(_is_number(item) for row in found for item in row):
            raise _wrong(answer, "embedding")
        found = [sum(values) / len(found) for values in zip(*found, strict=True)]
    if not isinstance(found, list) or not found or not all(_is_number(item) for item in found):
        raise _wrong(answer, "embedding")
    return Found([float(item) for item in found], {"dimensions": len(found)})


def number(answer: Any) -> Found:
    """One score."""
    found = answer
    if isinstance(found, Mapping):
        for key in ("results", "data", "scores", "similarities"):
            if isinstance(found.get(key), list):
                found = found[key]
                break
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    if isinstance(found, Mapping):
        found = found.get("relevance_score", found.get("score", found.get("similarity")))
    if not _is_number(found):
        raise _wrong(answer, "score")
    return Found(float(found), {"score": float(found)})


def rows(answer: Any, count: int) -> list[Any]:
    """The answers of a batch, one for each row. Raises RequestError when they are not as many."""
    found = answer
    if isinstance(found, Mapping):
        for key in ("data", "results", "embeddings", "predictions"):
            if isinstance(found.get(key), list):
                found = found[key]
                break
    if isinstance(found, list) and found and all(isinstance(i, Mapping) and "index" in i for i in found):
        found = sorted(found, key=lambda item: int(item["index"]))
    if count == 1 and isinstance(found, list) and found and not isinstance(found[0], (list, Mapping)):
        found = [found]  # a batch of one, given as its only vector
    if not isinstance(found, list) or len(found) != count:
        size = len(found) if isinstance(found, list) else "no list"
        raise RequestError(f"the server was asked for {count} rows and answered {size}", status=200)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
