"""A person's own configs are data: what would tell Hydra to run something is refused beforehand.

Hydra calls what a config names below its own node: callbacks, launchers, sweepers, handlers of
logs. Options hold settings of ours alone, so nothing in them has a reason to speak of that node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from recsys.domain.errors import SettingError

MAX_BYTES = 1 << 20
"""Of one file."""
PACKAGE = re.compile(r"#\s*@package\s*(\S*)")
"""Where a file says its settings belong."""
CALLED = ("_target_", "()")
"""Keys by which Hydra and Python's logging name what is to be called."""


def check_own(folder: Path) -> Path:
    """Return a folder of configs that sets what is ours and does nothing else.

    Raises:
        SettingError: names the files, and what in them is refused, all of it at once.
    """
    mistakes = [f"{folder / 'hydra'} is there: Hydra's own settings stay as they are"]
    mistakes = mistakes if (folder / "hydra").exists() else []
    mistakes += [f"{path}: is a link" for path in folder.rglob("*") if path.is_symlink()]
    for file in sorted(folder.rglob("*.yaml")):
        mistakes += [f"{file}: {mistake}" for mistake in _mistakes(file)]
    if mistakes:
        raise SettingError("\nerror: ".join(mistakes[:5]))
    return folder


def _mistakes(file: Path) -> Iterator[str]:
    if file.stat().st_size > MAX_BYTES:
        yield f"larger than {MAX_BYTES:,} bytes"
        return
    try:
        text = file.read_text(encoding="utf-8")
        held = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        yield f"no plain YAML: {str(error).splitlines()[0]}"
        return
    if not isinstance(held, dict | None):
        yield "holds no settings"
        return
    yield from _elsewhere(text, held or {})
    for key in (key for node in _nodes(held, set()) for key in node):
        if key in CALLED:
            yield f"sets {key}: a config names nothing that is called"


def _elsewhere(text: str, held: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what puts settings of a file where none of ours are."""
    for package in PACKAGE.findall(text):
        if package not in {"_global_", "_group_"}:
            yield f"belongs to {package}: @package _global_ or none"
    for key in held:
        if re.split(r"[./@]", str(key))[0] == "hydra":
            yield f"sets {key}: Hydra's own settings stay as they are"
    for word in _words(held.get("defaults"), set()):
        if re.search(r"hydra|@|\$", word):
            yield f"its defaults hold {word!r}: they choose options of ours alone"


def _nodes(plain: Any, met: set[int]) -> Iterator[Mapping[Any, Any]]:
    """Yield each mapping of plain data once: YAML may name one many times over."""
    if id(plain) not in met and isinstance(plain, dict | list):
        met.add(id(plain))
        if isinstance(plain, dict):
            yield plain
        for value in plain.values() if isinstance(plain, dict) else plain:
            yield from _nodes(value, met)


def _words(plain: Any, met: set[int]) -> Iterator[str]:
    """Yield each key and value of plain data once, as text."""
    if not isinstance(plain, dict | list):
        yield str(plain)
    elif id(plain) not in met:
        met.add(id(plain))
        if isinstance(plain, dict):
            yield from map(str, plain)
        for value in plain.values() if isinstance(plain, dict) else plain:
            yield from _words(value, met)
