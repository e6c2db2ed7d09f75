"""What changes with time about sales, at the decision times of training, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.events import DAY, HOUR
from recsys.towers.resident import SECOND, Resident

_ROOM = 8
"""Cells of the largest table of counts, for each event that is counted in it."""


@dataclass(frozen=True)
class Lately:
    """`Resident.as_of` at fixed instants, on the device.

    Counts lie ready in a table by instant and sale where it is small beside the events; elsewhere
    they are one search in sorted keys.
    """

    keys: tuple[Tensor, ...]
    """sale * (instants + 1) + number of instants at or before an event, ascending, int [n]:
    for each event itself, then for it that much later than it was, for each window; none beside a
    table."""
    table: Tensor | None
    """Counts in all and in each window by instant * sales + sale, int [g * S, 1 + windows]."""
    sale_start: Tensor
    """First event of each sale among the keys, int64 [S]."""
    second: Tensor
    """Seconds of each instant, int64 [g]."""
    opens: Tensor
    """Seconds at which each sale opens, int64 [S]."""

    @classmethod
    def of(cls, resident: Resident, instants: I64, hours: tuple[float, ...]) -> Lately:
        """Count or sort the engagements by sale and by the first of the instants (UTC us) after."""
        popularity, device = resident.popularity, resident.device
        sale = np.repeat(np.arange(resident.num_sales), np.diff(popularity.sale_ptr))
        # an event counts for an instant if it lies strictly before it
        seen = [
            np.searchsorted(instants, popularity.times + late, side="right")
            for late in (0, *(int(h * HOUR) for h in hours))
        ]
        keys: tuple[Tensor, ...] = ()
        table = None
        if tabled(len(instants) * resident.num_sales, len(sale)):
            table = torch.from_numpy(_table(sale, seen, shape=(len(instants), resident.num_sales)))
            table = table.to(device)
        else:
            kind = key_type(len(instants), resident.num_sales)
            keys = tuple(
                torch.from_numpy((sale * (len(instants) + 1) + one).astype(kind)).to(device)
                for one in seen
            )
        host = [popularity.sale_ptr[:-1].copy(), (instants - resident.epoch) / SECOND]
        start, second = (torch.from_numpy(one).to(device) for one in host)
        opens = torch.from_numpy((resident.opens_at - resident.epoch) / SECOND).to(device)
        return cls(keys, table, start, second, opens)

    def __call__(self, sales: Tensor, instant: Tensor) -> Tensor:
        """Return what `Resident.as_of` returns for sales at instants (numbers), float32 [k, A]."""
        age = self.second.index_select(0, instant) - self.opens.index_select(0, sales)
        age = age.clamp_(min=0)
        hours = (age * (SECOND / HOUR)).log1p().float()
        young = (age < DAY / SECOND).float()
        counts = self._counts(sales, instant).float().log1p()
        return torch.cat((counts, hours[:, None], young[:, None]), dim=1)

    def _counts(self, sales: Tensor, instant: Tensor) -> Tensor:
        """Return counts in all and in each window [k, 1 + windows]."""
        if self.table is not None:
            return self.table.index_select(0, instant * len(self.opens) + sales)
        wanted = (sales * (len(self.second) + 1) + instant).to(self.keys[0].dtype)
        before, *older = found(self.keys, wanted)
        ever = before - self.sale_start.index_select(0, sales)
        return torch.stack((ever, *(before - end for end in older)), 1)


def found(keys: tuple[Tensor, ...], wanted: Tensor) -> list[Tensor]:
    """Return how many of each keys (ascending) are at most what is wanted [k], int64 [k] each.

    On a CPU numpy finds what is wanted in order in a third of the time (docs/log.md).
    """
    if wanted.device.type != "cpu":
        return [torch.searchsorted(key, wanted, right=True) for key in keys]
    order = np.argsort(wanted.numpy())
    ordered = wanted.numpy()[order]
    places = np.empty((len(keys), len(order)), dtype=np.int64)
    for place, key in zip(places, keys, strict=True):
        place[order] = np.searchsorted(key.numpy(), ordered, side="right")
    return list(torch.from_numpy(places))


def tabled(cells: int, events: int) -> bool:
    """Tell whether counts of so many events at instants times sales cells lie in a table."""
    return cells <= _ROOM * events


def key_type(instants: int, sales: int) -> type[np.int32 | np.int64]:
    """Return the type that holds the keys of a search."""
    return np.int32 if sales * (instants + 1) <= np.iinfo(np.int32).max else np.int64


def narrowest(most: int) -> type[np.int16 | np.int32]:
    """Return the type that holds counts up to `most`."""
    return np.int16 if most <= np.iinfo(np.int16).max else np.int32


def _table(sale: I64, seen: list[I64], *, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return counts before each instant, in all and in each window, int[instants * sales, w]."""
    instants, sales = shape
    kind = narrowest(int(np.bincount(sale, minlength=1).max()))
    table = np.empty((instants * sales, len(seen)), dtype=kind)
    for window, one in enumerate(seen):
        cell = np.bincount(one * sales + sale, minlength=(instants + 1) * sales)
        cell = cell.reshape(-1, sales)[:instants]
        table[:, window] = np.cumsum(cell, axis=0, out=cell).ravel()
    table[:, 1:] = table[:, :1] - table[:, 1:]
    return table
