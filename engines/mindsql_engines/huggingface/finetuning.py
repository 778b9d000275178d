"""Owns the training of a text classifier on new rows: AdamW over all of its weights, and a score on rows held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindsql.errors import DataError
from mindsql_engines.huggingface.pipelines import device_of

if TYPE_CHECKING:
    import pandas as pd

_HELD_OUT = 0.2
_FEW = 10
"""Of fewer rows none is held out."""
_BATCH = 16


def finetune(
    folder: str,
    made: Path,
    texts: pd.Series[Any],
    labels: pd.Series[Any],
    using: Mapping[str, Any],
    progress: Callable[[float, float, str], None],
) -> tuple[dict[str, float], int]:
    """Train a classifier.

    Args:
        folder: The model to start from.
        made: Where the new one is put.
        texts, labels: The rows; those with a NULL are left out.
        using: `epochs`, `learning_rate`, `max_length`, `device`.
        progress: Is told the steps that are done, of how many.

    Returns:
        The scores, and how many rows there were.
    """
    import torch
    import transformers

    pairs = zip(texts, labels, strict=True)
    rows = [(str(text), str(label)) for text, label in pairs if _given(text) and _given(label)]
    names = sorted({label for _, label in rows})
    if len(names) < 2:
        raise DataError("the rows have one label only, and a classifier needs two")
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    known = {str(name): int(number) for number, name in (config.id2label or {}).items()}
    if not set(names) <= known.keys():
        known = {name: number for number, name in enumerate(names)}  # other labels: the last layer begins anew
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=len(known),
        id2label={number: name for name, number in known.items()},
        label2id=known,
        ignore_mismatched_sizes=True,
    )
    device = device_of(str(using.get("device") or "auto"))
    model.to(device).train()
    order = torch.randperm(len(rows)).tolist()
    held = order[: int(len(rows) * _HELD_OUT)] if len(rows) >= _FEW else []
    learn = order[len(held) :]
    limit = int(using.get("max_length") or min(tokenizer.model_max_length, 256))
    epochs = int(using.get("epochs") or 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=float(using.get("learning_rate") or 5e-5))
    steps = epochs * -(-len(learn) // _BATCH)

    def read(at: list[int]) -> Any:
        part = [rows[one][0] for one in at]
        return tokenizer(part, padding=True, truncation=True, max_length=limit, return_tensors="pt").to(device)

    step = 0
    for epoch in range(epochs):
        shuffled = [learn[one] for one in torch.randperm(len(learn)).tolist()]
        for start in range(0, len(shuffled), _BATCH):
            at = shuffled[start : start + _BATCH]
            wanted = torch.tensor([known[rows[one][1]] for one in at], device=device)
            loss = model(**read(at), labels=wanted).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            progress(step, steps, f"training, pass {epoch + 1} of {epochs}")
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(held), _BATCH):
            at = held[start : start + _BATCH]
            found = model(**read(at)).logits.argmax(1).tolist()
            right += sum(known[rows[one][1]] == number for one, number in zip(at, found, strict=True))
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return ({"accuracy": right / len(held)} if held else {}), len(rows)


def _given(value: Any) -> bool:
    return value is not None and value == value
