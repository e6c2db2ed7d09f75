"""How sales are searched: every vector, or an approximate index with its recall measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Count, CountOrNone, Spec


class Exact(Spec):
    """Compare with every vector: right by construction, fast enough up to about 100,000 sales."""

    kind: Literal["exact"] = "exact"


class Ivf(Spec):
    """Compare with the vectors of the nearest cells; worth it from about a million sales."""

    kind: Literal["ivf"] = "ivf"
    cells: CountOrNone = 0
    """Cells the vectors are grouped into; 0 = four times the square root of their number."""
    probes: Count = 16
    """Cells looked into for a query; doubled where a filter leaves too few sales."""


class Hnsw(Spec):
    """Walk a graph of neighbours: quick for one query, slower to build, approximate."""

    kind: Literal["hnsw"] = "hnsw"
    links: Annotated[int, Field(ge=4, le=128)] = 32
    """Neighbours kept for each vector."""
    build_width: Count = 200
    """Vectors kept in sight while the graph is built."""
    width: Count = 128
    """Vectors kept in sight during a search; doubled where a filter leaves too few sales."""


Retrieval = Annotated[Exact | Ivf | Hnsw, Field(discriminator="kind")]
"""How sales are searched, chosen by `kind`."""
