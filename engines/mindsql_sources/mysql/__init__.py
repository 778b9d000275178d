"""MySQL and MariaDB as a source of rows."""

from mindsql_sources.mysql.source import MySQL

__all__ = ["MySQL"]
