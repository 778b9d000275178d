"""Owns the format of the catalog: its number, which each file bears, and the steps from each older one to the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from mindsql.catalog import FORMAT, Catalog
from mindsql.database import Database, run
from mindsql.errors import CatalogError, MindSQLError


def migrate(database: Database) -> None:
    """Bring the catalog of a file that has just been opened to the present format, in one transaction.

    A file that is only read stays as it is.

    Raises:
        CatalogError: A newer release has written the file, or it cannot be changed; then nothing is.
    """
    if not database.has_catalog:
        return
    with closing(database.cursor()) as raw:
        catalog = Catalog(database, raw)
        found = catalog.format()
        if found > FORMAT:
            raise CatalogError(
                f'"{database.path}" was written by a newer release: its catalog has the format {found}, and this '
                f"release knows up to {FORMAT}",
                hint="pip install --upgrade mindsql-server",
            )
        if found == FORMAT or database.read_only:
            return
        run(raw, "BEGIN TRANSACTION")
        try:
            for step in STEPS[found - 1 :]:
                step(catalog)
            catalog.set_format(FORMAT)
            run(raw, "COMMIT")
        except MindSQLError as error:
            raise CatalogError(
                f'the catalog of "{database.path}" cannot be brought from the format {found} to {FORMAT}: '
                f"{error.message}",
                hint="the file is unchanged; restore a backup of it if it is damaged",
            ) from error


def _number_the_format(catalog: Catalog) -> None:
    """From 1, which bears no number. Tables and a column came to it one after the other; not every file has them."""
    answers, tokens = catalog.table("_answers"), catalog.table("_tokens")
    raw = catalog.raw
    run(raw, f"CREATE TABLE IF NOT EXISTS {answers} (version VARCHAR, key BLOB, answer VARCHAR)")
    run(
        raw,
        f"CREATE TABLE IF NOT EXISTS {tokens} (id VARCHAR, name VARCHAR, role VARCHAR, digest BLOB, native BLOB, "
        "created_at TIMESTAMP, expires_at TIMESTAMP, requests_per_minute INTEGER, body_bytes BIGINT)",
    )
    run(raw, f"ALTER TABLE {catalog.table('_versions')} ADD COLUMN IF NOT EXISTS owner VARCHAR")
    run(
        raw,
        f"CREATE UNIQUE INDEX IF NOT EXISTS _models_once ON {catalog.table('_models')} (lower(project), lower(name))",
    )
    run(raw, f"CREATE TABLE {catalog.table('_meta')} (key VARCHAR, value VARCHAR)")


STEPS: tuple[Callable[[Catalog], None], ...] = (_number_the_format,)
"""The step from each format, from 1 on, to the next. One that was released is never changed."""
