"""How often each promise is tried here, from the one list of them; and the seed of every draw."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import yaml

LIST = Path(__file__).with_name("promises.yaml")
SEED = int(os.environ.get("RECSYS_SEED", "1"))
"""Printed before the tests; RECSYS_SEED=N draws others."""
RELEASE = bool(os.environ.get("RECSYS_RELEASE"))
"""Whether the long figures are asked for: RECSYS_RELEASE=1."""
SLICE, SLICES = map(int, os.environ.get("RECSYS_SLICE", "1/1").split("/"))
"""RECSYS_SLICE=3/10 tries a tenth of the long figures, with draws of its own: hours need not be in
one piece."""
DRAWS = SEED if SLICES == 1 else 1_000 * SEED + SLICE
"""Seeds what is drawn here."""


def promises() -> list[dict[str, Any]]:
    """Return the list: number, promise, how it is shown, how often."""
    listed: list[dict[str, Any]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return listed


def times(number: int) -> int:
    """Return how often promise `number` is tried: in CI, or for a release."""
    (promise,) = [promise for promise in promises() if promise["number"] == number]
    return often(promise["ci"], promise["release"])


def often(ci: int, release: int) -> int:
    """Return how often something is tried here."""
    return -(-release // SLICES) if RELEASE else ci


def drawn(what: str) -> random.Random:
    """Return the draws of one test: the same for the same seed, whatever else runs."""
    return random.Random(f"{DRAWS} {what}")
