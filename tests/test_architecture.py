"""The layout is law: floors, lengths, names, and what must never stand in the code."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted((ROOT / "recsys").rglob("*.py"))
SCRIPTS = [ROOT / "train.py", ROOT / "serve_index.py"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CUPBOARDS = {"utils", "util", "common", "misc", "helpers", "core", "base", "tools", "shared"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "instantiate", "__import__"}
FORBIDDEN_MODULES = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
FORBIDDEN_METHODS = {"iter_rows", "map_elements", "iterrows"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, node


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    "file", [*CODE, *SCRIPTS, *TESTS], ids=lambda f: f.relative_to(ROOT).as_posix()
)
def test_a_module_is_short_enough_to_be_read_whole(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 300


def test_a_function_is_at_most_fifty_lines() -> None:
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in [*CODE, *SCRIPTS]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 50
    ]
    assert long == []


def test_packages_are_one_level_deep_and_no_cupboard_has_a_name() -> None:
    folders = {file.parent for file in CODE}
    assert all(folder.relative_to(ROOT / "recsys").parts[1:] == () for folder in folders)
    names = {file.stem for file in CODE} | {folder.name for folder in folders}
    assert names & CUPBOARDS == set()


def test_an_init_holds_a_sentence_and_re_exports_alone() -> None:
    for file in CODE:
        if file.name != "__init__.py" or file.parent == ROOT / "recsys":
            continue
        first, *rest = ast.parse(file.read_text()).body
        assert isinstance(first, ast.Expr), file
        assert all(
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
            for node in rest
        ), file


def test_code_never_unpickles_evaluates_or_loops_over_rows() -> None:
    for file in [*CODE, *SCRIPTS]:
        tree = ast.parse(file.read_text())
        assert imports(tree) & FORBIDDEN_MODULES == set(), file
        for name, call in calls(tree):
            qualified = ast.unparse(call.func)
            assert qualified not in FORBIDDEN_CALLS, f"{file}:{call.lineno}"
            assert qualified not in {"torch.load", "yaml.load", "np.random.seed"}, (
                f"{file}:{call.lineno}"
            )
            assert name not in FORBIDDEN_METHODS, f"{file}:{call.lineno}"
            allowed = {ast.unparse(k.value) for k in call.keywords if k.arg == "allow_pickle"}
            assert allowed <= {"False"}, f"{file}:{call.lineno}"


def test_top_scripts_are_at_most_sixty_lines() -> None:
    assert all(len(script.read_text().splitlines()) <= 60 for script in SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("domain/planted.py", "from recsys.serve import spec"),
        ("serve/planted.py", "import torch"),
        ("evaluate/planted.py", "import faiss"),
        ("towers/planted.py", "from recsys.retrieval import spec"),
        ("utils/__init__.py", "import os"),
    ],
)
def test_a_planted_breach_of_the_floors_turns_the_check_red(
    tmp_path: Path, file: str, line: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "recsys", copy / "recsys", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    planted = copy / "recsys" / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f'"""Planted."""\n\n{line}\n')
    checked = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode != 0
    assert (
        "BROKEN" in checked.stdout
        or "does not exist" in checked.stdout
        or "utils" in checked.stdout
    )


def test_no_config_names_code_to_run() -> None:
    for file in (ROOT / "configs").rglob("*.yaml"):
        text = file.read_text()
        assert "_target_" not in text, file
        assert "${hydra" not in text, file
