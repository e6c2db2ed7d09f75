"""How sales or members are searched: every vector, or an approximate index that keeps a promise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Count, CountOrNone, Share, Spec


class Exact(Spec):
    """Compare with every vector: right by construction, fast enough up to about 100,000 sales."""

    kind: Literal["exact"] = "exact"


class Ivf(Spec):
    """Compare with the vectors of the nearest cells; worth it from about a million sales."""

    kind: Literal["ivf"] = "ivf"
    recall: Share = 0.95
    """Share of the exact best that it must find on held-out queries, or it is not published."""
    recall_at: Count = 10
    """How many best are counted."""
    cells: CountOrNone = 0
    """Cells the vectors are grouped into; 0 = four times the square root of their number."""
    probes: Count = 16
    """Cells looked into for a query; more where a filter leaves few vectors in each."""


class Hnsw(Spec):
    """Walk a graph of neighbours: quick for one query, slow to build, approximate."""

    kind: Literal["hnsw"] = "hnsw"
    recall: Share = 0.95
    """Share of the exact best that it must find on held-out queries, or it is not published."""
    recall_at: Count = 10
    """How many best are counted."""
    links: Annotated[int, Field(ge=4, le=128)] = 32
    """Neighbours kept for each vector."""
    build_width: Count = 80
    """Vectors kept in sight while the graph is built."""
    width: Count = 128
    """Vectors kept in sight during a search; more where a filter leaves few."""


class Pq(Spec):
    """Scan 4-bit codes of all vectors, then compare the best of them exactly: small and robust."""

    kind: Literal["pq"] = "pq"
    recall: Share = 0.95
    """Share of the exact best that it must find on held-out queries, or it is not published."""
    recall_at: Count = 10
    """How many best are counted."""
    numbers: Annotated[int, Field(ge=1, le=8)] = 2
    """Numbers of a vector that share a code of 4 bits: a quarter byte a number at 2."""
    rescored: Count = 256
    """Vectors that are compared exactly for a query; more where a filter leaves few."""
    cells: CountOrNone = 1
    """Cells the vectors are grouped into: 1 scans all codes, 0 = the square root of their count."""
    probes: Count = 16
    """Cells looked into for a query, where there are several."""


Approximate = Ivf | Hnsw | Pq
"""What is published only if it finds the share of the best that it promises."""
Retrieval = Annotated[Exact | Ivf | Hnsw | Pq, Field(discriminator="kind")]
"""How sales are searched, chosen by `kind`."""
