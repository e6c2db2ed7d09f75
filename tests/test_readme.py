"""What README and docs tell people to type is what the code takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recsys.domain.spec import Spec
from recsys.runs.asked import Asked
from recsys.runs.cli import VERBS
from recsys.runs.command import check_words
from recsys.runs.load import compose, launch, vocabulary

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TODAY = [page for page in PAGES if page.name != "log.md" and page.parent.name != "decisions"]
"""Pages that speak of what is; the others keep what was."""
SCRIPTS = {"train.py": "train", "serve_index.py": "serve"}
YOURS = "mydata"
"""The name that the docs give to a reader's own config."""


def fenced(page: Path) -> list[str]:
    blocks = re.findall(
        r"^```(?:bash|sh|console)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [line.strip() for block in blocks for line in typed_in(block.splitlines())]


def typed_in(lines: list[str]) -> list[str]:
    """Return what a person types: where one line has a prompt, the others are output."""
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted or lines


def inline(page: Path) -> list[str]:
    return re.findall(
        r"`((?:make|recsys|python (?:train|serve_index)\.py)(?: [^`]*)?)`", page.read_text()
    )


def commands(kind: str) -> list[object]:
    """Return (page, command) of all pages whose commands start with `make`, or are verbs."""
    found: list[object] = []
    for page in TODAY:
        lines = dict.fromkeys([*fenced(page), *inline(page)])
        for line in lines:
            words = shlex.split(line, comments=True) if "'" not in line.partition("#")[0] else []
            if words and (words[0] == "make") == (kind == "make") and is_ours(words):
                found.append(pytest.param(words, id=f"{page.name}: {' '.join(words)}"))
    return found


def is_ours(words: list[str]) -> bool:
    return words[0] in {"make", "recsys"} or (words[0] == "python" and words[1:2] != ["-m"])


@pytest.mark.parametrize("words", commands("verb"))
def test_a_command_of_the_docs_composes(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    verb, rest = (words[1], words[2:]) if words[0] == "recsys" else (SCRIPTS[words[1]], words[2:])
    if verb == "VERB":
        return
    spec = VERBS[verb][0]
    typed = [word for word in rest if word not in {"--help", "..."}]
    if f"data={YOURS}" in typed:
        known = vocabulary(verb, spec)
        check_words([word.replace(YOURS, "tables") for word in typed], known)
        return
    if "-m" in typed:
        asked: list[Asked[Spec]] = []
        monkeypatch.setattr("sys.argv", [f"{verb}.py"])
        launch(verb, spec, typed, task=asked.extend)
        assert len(asked) > 1
        return
    assert isinstance(compose(verb, spec, typed), spec)


@pytest.mark.parametrize("words", commands("make"))
def test_a_target_of_the_docs_is_in_the_makefile(words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [word for word in words[1:] if "=" not in word and word not in targets] == []


def test_the_readme_starts_with_two_commands() -> None:
    first, second = [line for line in fenced(ROOT / "README.md") if line][:2]
    assert (first.split()[:2], second.split()[:2]) == (["make", "demo"], ["make", "test"])


def test_every_page_that_is_linked_is_there() -> None:
    gone = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert gone == []
