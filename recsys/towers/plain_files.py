"""The numpy tower at rest: a folder of arrays and JSON, as a bundle carries it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from recsys.data import encoders
from recsys.data.described import MemberColumns
from recsys.data.encoders import Encoders
from recsys.domain.arrays import F32
from recsys.domain.schema import FeatureSpec
from recsys.towers.plain import MemberTower, Table
from recsys.towers.untrained import Untrained

FILE = "towers.json"
_FEATURES: TypeAdapter[tuple[FeatureSpec, ...]] = TypeAdapter(tuple[FeatureSpec, ...])


@dataclass(frozen=True)
class _Layout:
    """Where each weight lies in the one array that holds all."""

    shapes: Mapping[str, list[int]]

    def joined(self, weights: Mapping[str, F32]) -> F32:
        """Return all weights as one array."""
        return np.concatenate([weights[name].ravel() for name in self.shapes])

    def parted(self, flat: F32) -> dict[str, F32]:
        """Return the weights by their names again."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])
        if len(flat) != ends[-1]:
            raise ValueError(f"the towers have {len(flat)} weights, their shapes take {ends[-1]}")
        parts = np.split(flat, ends[:-1])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def save(tower: MemberTower, folder: Path) -> None:
    """Write the tower into a new folder."""
    folder.mkdir()
    columns, table = tower.columns, tower.table
    layout = _Layout({name: list(one.shape) for name, one in sorted(tower.weights.items())})
    plain = {
        "half_days": tower.half_days,
        "length": tower.length,
        "heads": tower.heads,
        "epoch": tower.epoch,
        "zone": columns.zone,
        "features": [feature.model_dump() for feature in columns.features],
        "weights": layout.shapes,
    }
    (folder / FILE).write_text(json.dumps(plain, indent=1), encoding="utf-8")
    arrays: dict[str, np.ndarray] = {
        "weights": layout.joined(tower.weights),
        "table_rows": table.rows,
        "table": table.trained,
        "marks": table.untrained.marks,
        "x": tower.x,
        "log_price": tower.log_price,
        "spectral": tower.spectral,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / "encoders").mkdir()
    encoders.save(
        Encoders(members=columns.fitted, sales=(), table_bits=columns.table_bits),
        folder / "encoders",
    )


def load(folder: Path) -> MemberTower | None:
    """Open what `save` wrote, large arrays mapped; None where there is none of this version.

    Attention of an earlier one knew no gaps between events. The caller has verified the files.
    """
    if not folder.exists():
        return None
    said: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if said["heads"] and "reader.layers.0.gap" not in said["weights"]:
        return None
    fitted = encoders.load(folder / "encoders")
    trained = _array(folder, "table")
    untrained = Untrained(trained.shape[1], 1 << fitted.table_bits, _array(folder, "marks"))
    return MemberTower(
        weights=_Layout(said["weights"]).parted(_array(folder, "weights")),
        half_days=tuple(said["half_days"]),
        length=int(said["length"]),
        heads=int(said["heads"]),
        table=Table(_array(folder, "table_rows"), trained, untrained),
        x=_array(folder, "x"),
        log_price=_array(folder, "log_price"),
        spectral=_array(folder, "spectral"),
        epoch=int(said["epoch"]),
        columns=MemberColumns(
            features=_FEATURES.validate_python(said["features"]),
            fitted=fitted.members,
            table_bits=fitted.table_bits,
            zone=said["zone"],
        ),
    )


def _array(folder: Path, name: str) -> Any:
    path = folder / f"{name}.npy"
    if not np.load(path, mmap_mode="r", allow_pickle=False).size:
        return np.load(path, allow_pickle=False)  # nothing cannot be mapped
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
