"""Owns whether a new version is kept as SQL too: only what was proven to answer as its engine does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mindsql import queries
from mindsql.executor.verify_translation import prove
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session

_SAMPLE_ROWS = 2000


def spread(data: pa.Table) -> pa.Table:
    """Some rows, spread over the table."""
    step = max(1, data.num_rows // _SAMPLE_ROWS)
    if step == 1:
        return data.slice(0, _SAMPLE_ROWS)
    return data.take(list(range(0, data.num_rows, step))[:_SAMPLE_ROWS])


def with_translation(
    session: Session, version: Version, files: Mapping[str, bytes], sample: pa.Table | None
) -> Version:
    """The version, with its SQL form in the summary, or why it has none.

    Args:
        session: Where it was trained.
        version: A complete version that is not stored yet.
        files: Its artifacts.
        sample: Rows that it was trained on; None when there were none.
    """
    if sample is None:
        return version
    loaded = queries.loaded_from(session, version, files, trusted=bool(version.options.get("trusted")))
    translation = loaded.translation()
    if translation is None:
        return version
    if isinstance(translation, str):
        return replace(version, summary={**version.summary, "translation_refused": translation})
    raw = session.database.cursor()
    try:
        reason = prove(
            raw,
            translation,
            version.inputs,
            version.outputs,
            sample,
            lambda batch, names: loaded.answer(batch, names, {}),
        )
    finally:
        raw.close()
    found: dict[str, Any] = {"translation_refused": reason}
    if reason is None:
        found = {
            "translation": {
                "steps": [dict(level) for level in translation.steps],
                "outputs": dict(translation.outputs),
                "kind": translation.kind,
            }
        }
    return replace(version, summary={**version.summary, **found})
