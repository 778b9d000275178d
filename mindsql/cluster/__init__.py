"""Owns how parts of a plan are answered on the machines of a Ray cluster; DuckDB keeps the meaning on each."""
