"""recsys: from a shop's events to slates worth sending.

`from recsys import prepare, fit, embed, recommend, evaluate` is what train.py does, for notebooks
(docs/notebook.md). The names load on first use: `import recsys` itself imports nothing heavy.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.runs.notebook import embed, evaluate, fit, prepare, recommend

__all__ = ["embed", "evaluate", "fit", "prepare", "recommend"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recsys.runs import notebook

    return getattr(notebook, name)


class _Front(ModuleType):
    """This package: its `evaluate` is the function, though a package below is called so too."""

    @property
    def evaluate(self) -> Any:
        """Judge what was learned (recsys.runs.notebook)."""
        judge = __getattr__("evaluate")
        # `import recsys.evaluate.metrics as m` looks for metrics here, on the function
        package = vars(sys.modules["recsys.evaluate"])
        vars(judge).update({k: part for k, part in package.items() if isinstance(part, ModuleType)})
        return judge

    @evaluate.setter
    def evaluate(self, package: ModuleType) -> None:
        """Let the import of recsys.evaluate pass: it is found in sys.modules."""


sys.modules[__name__].__class__ = _Front
