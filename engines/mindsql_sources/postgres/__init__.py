"""PostgreSQL as a source of rows."""

from mindsql_sources.postgres.source import Postgres

__all__ = ["Postgres"]
