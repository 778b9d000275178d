"""Owns what makes scores look better than they are: a copy of the target among the inputs, rows trained on held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mindsql.schema import family
from mindsql_engines.sklearn import columns
from mindsql_engines.sklearn.features import Feature
from mindsql_engines.sklearn.targets import Target

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Codes, Numbers

_FIRST_LOOK = columns.SMALL
"""A column that is no copy in so many rows is not looked at further."""
_CELLS = 2**20
"""So many numbers are worked on at once."""
_WORTH_SAYING = 0.05
"""The share of held-out rows that were trained on, from which scores mislead."""


def copies(features: list[Feature], arrays: columns.Inputs, target: Target) -> Iterator[str]:
    """A sentence for each column that says what the target is."""
    if target.values is None or target.task not in ("classification", "regression"):
        return
    for feature in features:
        if feature.role != "vector" and _tells(feature, arrays, target):
            yield (
                f"{feature.name} tells the target in every row; if it is not known when you predict, "
                f"exclude = ['{feature.name}']"
            )


def _tells(feature: Feature, arrays: columns.Inputs, target: Target) -> bool:
    assert target.values is not None
    array = arrays[feature.name]
    number = family(feature.type) in ("number", "boolean")
    if target.task == "regression":
        return number and np.array_equal(arrays.numbers(feature.name), target.values)
    if array.null_count or feature.role not in ("number", "boolean", "category"):
        return False
    return _same_classes(array.slice(0, _FIRST_LOOK), number, target.values[:_FIRST_LOOK]) and _same_classes(
        array, number, target.values
    )


def _same_classes(array: pa.Array, number: bool, wanted: Codes) -> bool:
    if number:
        _, codes = np.unique(columns.numbers(array), return_inverse=True)
    else:
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
    classes = len(np.unique(wanted))
    pairs = np.unique(codes.astype(np.int64) * (int(wanted.max(initial=0)) + 1) + wanted)
    return len(np.unique(codes)) == classes == len(pairs)


def repeated(train: Any, test: Any, train_values: Any, test_values: Any) -> str:
    """A sentence when many rows held out were trained on, too; empty when not.

    Args:
        train, test: Their matrices; sparse ones are not compared.
        train_values, test_values: Their targets.
    """
    if not (isinstance(train, np.ndarray) and isinstance(test, np.ndarray)) or not len(test):
        return ""
    known = np.isin(_digests(test, test_values), _digests(train, train_values)).sum()
    if known < _WORTH_SAYING * len(test):
        return ""
    return (
        f"{known} of {len(test)} rows held out for the scores are also among the rows trained on, "
        "so new rows may score lower"
    )


def _digests(matrix: Numbers, values: Any) -> Numbers:
    """A number for each row, the same for equal rows: a weighted sum, added up in one order."""
    weights = np.random.default_rng(0).random(matrix.shape[1] + 1)
    total: Numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=-1.5) * weights[-1]
    most = max(1, _CELLS // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), most):
        part = matrix[start : start + most]
        sums = (part * weights[:-1]).sum(axis=1)
        odd = np.flatnonzero(~np.isfinite(sums))
        if len(odd):
            sums[odd] = (np.nan_to_num(part[odd].astype(np.float64), nan=-1.5) * weights[:-1]).sum(axis=1)
        total[start : start + most] += sums
    return total
