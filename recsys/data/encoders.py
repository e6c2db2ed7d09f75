"""What was measured on the towers' block: an artefact of its own, parent of the checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from recsys.data.columns import Plain
from recsys.data.rarity import Rarity
from recsys.data.scales import Scale, Whitening

_FEATURE: TypeAdapter[Plain] = TypeAdapter(Plain)
FILE = "encoders.json"


@dataclass(frozen=True)
class Column:
    """A feature with what was measured of it."""

    side: str
    """"member" or "sale": salted into the hash, so that member.city is not sale.city."""
    feature: Plain
    scale: Scale | None = None
    """For numerics."""
    whitening: Whitening | None = None
    """For vectors."""
    rarity: Rarity | None = None
    """For bags and texts."""

    @property
    def field(self) -> str:
        """Name of the field, e.g. sale.brand."""
        return f"{self.side}.{self.feature.column}"

    @property
    def salt(self) -> str:
        """The name that values are hashed under."""
        return getattr(self.feature, "shares", None) or self.field

    @property
    def measured_scale(self) -> Scale:
        """The scale of a numeric."""
        if self.scale is None:
            raise ValueError(f"{self.field} is no measured numeric")
        return self.scale

    @property
    def measured_whitening(self) -> Whitening:
        """The whitening of a vector."""
        if self.whitening is None:
            raise ValueError(f"{self.field} is no measured vector")
        return self.whitening


@dataclass(frozen=True)
class Encoders:
    """Fitted columns of members and sales, and the size of the table they hash into."""

    members: tuple[Column, ...]
    sales: tuple[Column, ...]
    table_bits: int
    """The table has 2^table_bits rows."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all that was measured."""
        digest = hashlib.sha256(json.dumps(_plain(self), sort_keys=True).encode())
        for _, array in _arrays(self):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def save(encoders: Encoders, folder: Path) -> None:
    """Write encoders.json and the arrays of whitenings and rarities into an existing folder."""
    (folder / FILE).write_text(json.dumps(_plain(encoders), indent=1, sort_keys=True))
    for name, array in _arrays(encoders):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load(folder: Path) -> Encoders:
    """Read what `save` wrote; the caller has verified the folder."""
    plain = json.loads((folder / FILE).read_text())
    return Encoders(
        members=tuple(_column(folder, *each) for each in enumerate(plain["members"])),
        sales=tuple(_column(folder, *each) for each in enumerate(plain["sales"])),
        table_bits=plain["table_bits"],
    )


def _plain(encoders: Encoders) -> dict[str, Any]:
    sides = {"members": encoders.members, "sales": encoders.sales}
    return {
        "table_bits": encoders.table_bits,
        **{name: [_plain_column(column) for column in side] for name, side in sides.items()},
    }


def _plain_column(column: Column) -> dict[str, Any]:
    return {
        "side": column.side,
        "feature": column.feature.model_dump(),
        "scale": None if column.scale is None else vars(column.scale),
        "whitened": column.whitening is not None,
        # encoders of before 2026-11-27 weigh nothing, and keep their fingerprint
        **({} if column.rarity is None else {"entities": column.rarity.entities}),
    }


def _column(folder: Path, place: int, plain: dict[str, Any]) -> Column:
    scale, side = plain["scale"], plain["side"]

    def array(part: str) -> Any:
        return np.load(folder / f"{side}_{place}_{part}.npy", allow_pickle=False)

    entities = plain.get("entities")
    return Column(
        side=side,
        feature=_FEATURE.validate_python(plain["feature"]),
        scale=None if scale is None else Scale(**{**scale, "edges": tuple(scale["edges"])}),
        whitening=Whitening(array("mean"), array("matrix")) if plain["whitened"] else None,
        rarity=None if entities is None else Rarity(array("row"), array("seen"), entities),
    )


def _arrays(encoders: Encoders) -> Iterator[tuple[str, np.ndarray]]:
    for side in (encoders.members, encoders.sales):
        for place, column in enumerate(side):
            if column.whitening is not None:
                yield f"{column.side}_{place}_mean", column.whitening.mean
                yield f"{column.side}_{place}_matrix", column.whitening.matrix
            if column.rarity is not None:
                yield f"{column.side}_{place}_row", column.rarity.row
                yield f"{column.side}_{place}_seen", column.rarity.seen
