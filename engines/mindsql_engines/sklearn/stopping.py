"""Owns the rows that tell a histogram estimator when to stop.

Left alone it splits its matrix itself, and so holds it twice. Here the rows are told apart before there is a
matrix: the same rows in the same order, so the same trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Codes

_AUTOMATIC = 10_000
"""With `early_stopping = 'auto'` scikit-learn stops early on more rows than these."""


def split(estimator: Any, rows: int, codes: Codes | None) -> tuple[Codes, Codes] | None:
    """Row numbers to learn from and to stop by, as the estimator would split `rows` rows, by class where there are
    `codes`. None when it does not, or has to do it itself."""
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import has_fit_parameter

    known = estimator.get_params(deep=False)
    early, share = known.get("early_stopping"), known.get("validation_fraction")
    if not has_fit_parameter(estimator, "X_val") or share is None or known.get("class_weight") is not None:
        return None
    if not (early is True or (early == "auto" and rows > _AUTOMATIC)):
        return None
    seed = check_random_state(known["random_state"]).randint(np.iinfo(np.uint32).max, dtype="u8")
    try:
        learn, stop = train_test_split(np.arange(rows), test_size=share, stratify=codes, random_state=seed)
    except ValueError:
        return None  # the estimator says why
    return learn, stop
