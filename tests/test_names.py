"""Names in the source: none that some Python which we support reads wrongly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mindsql
import mindsql_engines
import mindsql_grammar
import mindsql_sources

MODULES = (mindsql, mindsql_engines, mindsql_grammar, mindsql_sources)
PACKAGES = [Path(str(module.__file__)).parent for module in MODULES]
FILES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


def targets(comprehension: ast.ListComp | ast.SetComp | ast.DictComp) -> set[str]:
    names = (node for generator in comprehension.generators for node in ast.walk(generator.target))
    return {node.id for node in names if isinstance(node, ast.Name)}


def read(node: ast.AST, but: ast.AST) -> Iterator[str]:
    """The names that are read below a node, those of one comprehension left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child.id
        if child is not but:
            yield from read(child, but)


def module_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_comprehension_hides_a_global_that_its_function_reads(path: Path) -> None:
    """CPython 3.12.1 takes the global for an unbound local then."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = module_names(tree)
    hidden = [
        f"{function.name}, line {part.lineno}: {name}"
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for part in ast.walk(function)
        if isinstance(part, (ast.ListComp, ast.SetComp, ast.DictComp))
        for name in targets(part) & known & set(read(function, part))
    ]
    assert not hidden


_BARE = re.compile(r"(?<![\w.])(?:duckdb_\w+|pragma_\w+|json_\w+|current_(?:setting|database)|any_value)\(")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_our_sql_names_its_functions_in_full(path: Path) -> None:
    """A macro of the user's would take the place of `duckdb_tables()`, not that of `system.main.duckdb_tables()`."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if re.search(r"\b(?:SELECT|FROM)\b", text) and _BARE.search(text)]
