"""Modules of ours that need a library of an extra, loaded only where they are asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from recsys.domain.errors import SettingError


def extra(module: str, library: str, name: str) -> ModuleType:
    """Return a module of recsys.runs that needs `library`, which the extra `name` brings.

    Raises:
        SettingError: the library is not installed.
    """
    if find_spec(library) is None:
        raise SettingError(
            f"this needs {library}, which is not installed",
            f"install it: pip install 'noon-recsys[{name}]'",
        )
    return import_module(f"recsys.runs.{module}")
