"""Requests in, vectors of members and sales out."""

from recsys.towers.spec import (
    Auto,
    AutoLoss,
    Cpu,
    Ddp,
    Full,
    Gpu,
    LiveShelf,
    Sampled,
    TwoTower,
)

__all__ = [
    "Auto",
    "AutoLoss",
    "Cpu",
    "Ddp",
    "Full",
    "Gpu",
    "LiveShelf",
    "Sampled",
    "TwoTower",
]
