"""Outcomes of requests: events in, the strongest one a sale with weights that sum to 1 out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I32, I64, U8
from recsys.domain.events import KIND_WEIGHTS


@dataclass(frozen=True)
class Outcomes:
    """t pairs of request and sale, sorted by both, each once."""

    request: I64
    """Any ascending number of the request, I64[t]."""
    sale: I32
    kind: U8
    """Strongest event of the request on that sale, U8[t]."""

    @classmethod
    def strongest(cls, request: I64 | I32, sale: I32, kind: U8) -> Outcomes:
        """Keep the strongest event of each request and sale; kinds ascend by their weight."""
        kinds = len(KIND_WEIGHTS)
        num_sales = int(sale.max(initial=0)) + 1
        key = (request.astype(np.int64) * num_sales + sale) * kinds + kind
        key.sort()
        pair = key // kinds
        last = np.ones(len(key), dtype=np.bool_)
        last[:-1] = pair[1:] != pair[:-1]
        pair = pair[last]
        return cls(
            request=pair // num_sales,
            sale=(pair % num_sales).astype(np.int32),
            kind=(key[last] % kinds).astype(np.uint8),
        )

    def rows(self) -> tuple[I64, I64]:
        """Return the distinct requests I64[r] and the pointer I64[r + 1] to their outcomes."""
        first = np.ones(len(self.request), dtype=np.bool_)
        first[1:] = self.request[1:] != self.request[:-1]
        starts = np.flatnonzero(first)
        return self.request[starts], np.append(starts, len(self.request)).astype(np.int64)

    def weights(self) -> F32:
        """Weigh kinds by how much they say about taste, sum 1 a request, F32[t] (MODEL 3.5)."""
        weight: F32 = KIND_WEIGHTS[self.kind]
        _, ptr = self.rows()
        if not len(weight):
            return weight
        total: F32 = np.repeat(np.add.reduceat(weight, ptr[:-1]), np.diff(ptr))
        return weight / total
