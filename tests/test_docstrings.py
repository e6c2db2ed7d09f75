"""Each public name says what it is or gives back: modules, classes, functions and methods."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted((ROOT / "recsys").rglob("*.py"))
Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def silent(tree: ast.Module) -> Iterator[str]:
    """Yield the public names without a docstring, methods of private classes among them."""
    if not ast.get_docstring(tree):
        yield "the module"
    yield from silent_in(tree, "")


def silent_in(node: ast.Module | ast.ClassDef, place: str) -> Iterator[str]:
    for child in node.body:
        if not isinstance(child, Named):
            continue
        if not child.name.startswith("_") and not ast.get_docstring(child):
            yield f"{place}{child.name} (line {child.lineno})"
        if isinstance(child, ast.ClassDef):
            yield from silent_in(child, f"{place}{child.name}.")


@pytest.mark.parametrize("file", CODE, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_every_public_name_has_a_docstring(file: Path) -> None:
    assert list(silent(ast.parse(file.read_text()))) == []


def test_a_method_of_a_private_class_is_counted() -> None:
    tree = ast.parse('"""Doc."""\nclass _A:\n    def b(self): ...\n    def _c(self): ...\n')
    assert list(silent(tree)) == ["_A.b (line 3)"]
