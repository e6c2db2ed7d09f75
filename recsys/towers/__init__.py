"""Requests in, vectors of members and sales out."""

from recsys.towers.spec import (
    Auto,
    AutoLoss,
    Causal,
    Cpu,
    Ddp,
    Full,
    Gpu,
    LiveShelf,
    Pooled,
    Sampled,
    TwoTower,
)

__all__ = [
    "Auto",
    "AutoLoss",
    "Causal",
    "Cpu",
    "Ddp",
    "Full",
    "Gpu",
    "LiveShelf",
    "Pooled",
    "Sampled",
    "TwoTower",
]
