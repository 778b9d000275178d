"""Owns how free text becomes numbers: character n-grams weighed by tf-idf, cut down to their main components.

Only the distinct texts of a column are taken apart, so repeated values cost next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mindsql_engines.sklearn import columns

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Numbers

COMPONENTS = 30
LEARN_FROM = 20_000
"""The most distinct texts that the n-grams are learnt from."""
AT_ONCE = 20_000
"""The most distinct texts taken apart at once, which bounds memory."""


def fit(array: pa.Array, seed: int | None) -> dict[str, Any] | None:
    """Learn n-grams and components from a column; None when its texts have no n-gram at all."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    values = _distinct(array)[0]
    if len(values) > LEARN_FROM:
        at = np.random.default_rng(seed).choice(len(values), LEARN_FROM, replace=False)
        values = [values[i] for i in np.sort(at)]
    vectoriser = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 4), max_features=20_000, sublinear_tf=True
    )
    try:
        grams = vectoriser.fit_transform(values)
    except ValueError:  # an empty vocabulary
        return None
    # As they come, skops would write each number as a file of its own.
    vectoriser.vocabulary_ = {gram: int(place) for gram, place in vectoriser.vocabulary_.items()}
    most = min(COMPONENTS, min(grams.shape) - 1)
    if most < 1:
        return {"tfidf": vectoriser, "svd": None}
    return {"tfidf": vectoriser, "svd": TruncatedSVD(most, random_state=seed or 0).fit(grams)}


def width(words: dict[str, Any]) -> int:
    """How many numbers a text becomes."""
    if words["svd"] is None:
        return len(words["tfidf"].vocabulary_)
    return int(words["svd"].components_.shape[0])


def transform(words: dict[str, Any], array: pa.Array) -> Numbers:
    """The numbers of every text; NULL and empty text are zeros."""
    values, index = _distinct(array)
    made = np.zeros((len(values) + 1, width(words)), dtype=np.float64)
    for start in range(0, len(values), AT_ONCE):
        grams = words["tfidf"].transform(values[start : start + AT_ONCE])
        part = grams.toarray() if words["svd"] is None else grams @ words["svd"].components_.T
        made[start : start + part.shape[0]] = part
    rows: Numbers = made[index]
    return rows


def _distinct(array: pa.Array) -> tuple[list[str], Any]:
    """The distinct texts, and where each row's is; NULL is at the end."""
    array = columns.texts(array)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    else:
        array = array.unify_dictionaries() if isinstance(array, pa.ChunkedArray) else array
    values = array.dictionary.to_pylist()
    return [value or "" for value in values], array.indices.fill_null(len(values)).to_numpy(
        zero_copy_only=False
    )
