"""Trained towers in, the part that a bundle carries out: their member tower in numpy."""

from __future__ import annotations

import numpy as np

from recsys.data.described import MemberColumns
from recsys.data.encoders import Encoders
from recsys.towers.embed import Embedder
from recsys.towers.plain import MemberTower, Table
from recsys.towers.spec import Causal, Pooled, TwoTower
from recsys.towers.untrained import Untrained


def carried(embedder: Embedder, encoders: Encoders) -> MemberTower | None:
    """Return the member tower of trained towers on their dataset, for use without torch.

    None where an installed package reads the past: its code is torch's, and a bundle carries none.
    """
    heads = _heads(embedder.trained.spec)
    if heads is None:
        return None
    trained, dataset, vectors = embedder.trained, embedder.dataset, embedder.vectors
    spec, resident, beside = trained.spec, vectors.resident, vectors.columns
    nothing = np.zeros((dataset.num_sales, 0), dtype=np.float32)
    return MemberTower(
        weights={
            name: weight.numpy() for name, weight in vectors.net.member_tower.state_dict().items()
        },
        half_days=spec.decay_days,
        length=spec.history,
        heads=heads,
        table=Table(
            rows=trained.used,
            trained=trained.weights["table"].numpy(),
            untrained=Untrained.of(trained.seed, dim=spec.dim, table_rows=trained.sizes.table_rows),
        ),
        x=vectors.x.numpy(),
        log_price=resident.log_price.numpy(),
        spectral=nothing if beside is None else beside.past,
        epoch=resident.epoch,
        columns=MemberColumns(
            features=dataset.schema.members,
            fitted=encoders.members,
            table_bits=encoders.table_bits,
            zone=dataset.zone,
        ),
    )


def _heads(spec: TwoTower) -> int | None:
    """Return the attention heads of the encoder, 0 = none; None = it is not ours."""
    encoder: object = spec.encoder
    match encoder:
        case Pooled():
            return 0
        case Causal(heads=heads):
            return heads
        case _:
            return None
