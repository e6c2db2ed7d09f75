"""The loggers of a training and the packages they need, known before anything heavy is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from recsys.domain.errors import SettingError
from recsys.towers.spec import Trainer

NEEDS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""Logger -> packages it cannot do without; the extra that brings them has the logger's name."""


def installed(trainer: Trainer) -> None:
    """Go on, unless the logger that is asked for lacks a package.

    Raises:
        SettingError: it names the packages and the extra that brings them.
    """
    name = trainer.logger
    missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise SettingError(
            f"trainer.logger={name} needs what is not installed: {', '.join(missing)}",
            f"install it: pip install 'noon-recsys[{name}]'",
            "or leave it out: metrics.csv and run.json keep each epoch anyway",
        )
