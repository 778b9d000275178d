"""Binding: a parsed query and a catalog snapshot in, a `BoundQuery` out. It asks for columns, never for rows."""

from mindsql.binder.binder import Binder

__all__ = ["Binder"]
