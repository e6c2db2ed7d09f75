"""What changes with time about sales, at the decision times of training, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.events import DAY, HOUR
from recsys.towers.resident import SECOND, Resident


@dataclass(frozen=True)
class Lately:
    """`Resident.as_of` at fixed instants, as one search in sorted keys on the device."""

    keys: tuple[Tensor, ...]
    """sale * (instants + 1) + number of instants at or before an event, ascending, int64 [n]:
    for each event itself, then for it that much later than it was, for each window."""
    sale_start: Tensor
    """First event of each sale among the keys, int64 [S]."""
    second: Tensor
    """Seconds of each instant, int64 [g]."""
    opens: Tensor
    """Seconds at which each sale opens, int64 [S]."""

    @classmethod
    def of(cls, resident: Resident, instants: I64, hours: tuple[float, ...]) -> Lately:
        """Sort the engagements by sale and by the first of the instants (UTC us) that saw them."""
        popularity, device = resident.popularity, resident.device
        sale = np.repeat(np.arange(resident.num_sales), np.diff(popularity.sale_ptr))
        keys = []
        for late in (0, *(int(h * HOUR) for h in hours)):
            # an event counts for an instant if it lies strictly before it
            seen = np.searchsorted(instants, popularity.times + late, side="right")
            keys.append(torch.from_numpy(sale * (len(instants) + 1) + seen).to(device))
        host = [popularity.sale_ptr[:-1].copy(), (instants - resident.epoch) / SECOND]
        start, second = (torch.from_numpy(one).to(device) for one in host)
        opens = torch.from_numpy((resident.opens_at - resident.epoch) / SECOND).to(device)
        return cls(tuple(keys), start, second, opens)

    def __call__(self, sales: Tensor, instant: Tensor) -> Tensor:
        """Return what `Resident.as_of` returns for sales at instants (numbers), float32 [k, A]."""
        wanted = sales * (len(self.second) + 1) + instant
        before, *older = [torch.searchsorted(key, wanted, right=True) for key in self.keys]
        counts = [before - self.sale_start[sales], *(before - end for end in older)]
        age = (self.second[instant] - self.opens[sales]).clamp_(min=0)
        hours = (age * (SECOND / HOUR)).log1p()
        young = age < DAY / SECOND
        columns = [*(count.log1p() for count in counts), hours, young]
        return torch.stack([column.float() for column in columns], dim=1)
