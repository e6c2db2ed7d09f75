"""Brands: a style, a level of price, a department, and a quality that no column shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.domain.arrays import F32, F64, I32, I64
from recsys.domain.ties import keyed
from recsys.world.draws import U64, Luck, draw, draws, normals, on_grid
from recsys.world.spec import FlashSales
from recsys.world.words import CATEGORIES, DEPARTMENTS, STYLES, brand_names

STYLE_DIMS = 16
NUM_CLUSTERS = len(STYLES)
REACH = 3.0
"""Squared distance at which a bump of taste has fallen to exp(-1/2)."""
CHOOSY, RENOWN = 2.5, 1.3
"""How much nearness and fame decide which brands long-standing members know."""
DEPARTMENT_SHARES = (0.45, 0.22, 0.19, 0.14)


@dataclass(frozen=True)
class Brands:
    """b brands; what a column may show is said by `tables`, the rest is hidden."""

    key: U64
    """Source of the brand's luck, U64[b]."""
    centres: F32
    """Centre of each style cluster, F32[clusters, 16], known to nobody."""
    cluster: I64
    style: F32
    """F32[b, 16] on the grid."""
    level: F32
    """Level of price in standard deviations, F32[b]."""
    department: I64
    categories: I64
    """Two categories of its department, I64[b, 2]."""
    quality: F32
    """Hidden quality q_b, standard normal, F32[b]."""
    fame: F64
    """How often it runs sales, relative to others, F64[b]."""
    enters_day: I32
    leaves_day: I32
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Count the brands."""
        return len(self.cluster)

    @cached_property
    def familiar(self) -> F64:
        """Cumulative chance that a member of (department, cluster) knows brands from before day 0.

        F64[departments * clusters, b], by fame and nearness of style.
        """
        gaps = ((self.style[None] - self.centres[:, None]) ** 2).sum(axis=2)
        near = np.exp(-CHOOSY * gaps / (2 * REACH)).astype(np.float64) * self.fame**RENOWN
        near = near * (self.enters_day < 0)
        shares = np.concatenate([
            near * (self.department == department) + 1e-12 for department in range(len(DEPARTMENTS))
        ])
        return np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)


def cluster_centres(seed: int) -> F32:
    """Place 24 overlapping clusters around six families of style, F32[24, 16]."""
    keys = keyed(seed, Luck.CLUSTER, np.arange(NUM_CLUSTERS))
    families = normals(keys[:6], STYLE_DIMS, Luck.CLUSTER, 0) * 0.5
    own = normals(keys, STYLE_DIMS, Luck.CLUSTER, 1) * 0.5
    return on_grid(families[np.arange(NUM_CLUSTERS) % 6] + own)


def cluster_shares(seed: int) -> F64:
    """Return how popular each cluster is, F64[24], sums to 1."""
    keys = keyed(seed, Luck.CLUSTER, np.arange(NUM_CLUSTERS))
    weights = np.exp(0.5 * normals(keys, 1, Luck.CLUSTER, 2)[:, 0].astype(np.float64))
    shares: F64 = weights / weights.sum()
    return shares


def make_brands(spec: FlashSales, *, days: int) -> Brands:
    """Make the brands of a world; about ten enter in a week, and as many leave."""
    count = spec.num_brands
    keys = keyed(spec.seed, Luck.BRAND, np.arange(count))
    shares = cluster_shares(spec.seed)
    cluster = np.searchsorted(np.cumsum(shares), draw(keys, Luck.BRAND, 0)).clip(max=23)
    centres = cluster_centres(spec.seed)
    department = np.searchsorted(np.cumsum(DEPARTMENT_SHARES), draw(keys, Luck.BRAND, 1))
    department = department.clip(max=len(DEPARTMENTS) - 1)
    enters, leaves = _lives(keys, days=days, per_week=count / 150)
    names = np.array(brand_names())[np.argsort(keyed(spec.seed, Luck.WORDS, np.arange(5_616)))]
    return Brands(
        key=keys,
        centres=centres,
        cluster=cluster,
        style=on_grid(centres[cluster] + 0.33 * normals(keys, STYLE_DIMS, Luck.BRAND_STYLE)),
        level=normals(keys, 1, Luck.BRAND, 2)[:, 0],
        department=department,
        categories=_categories(department, draws(keys, 2, Luck.BRAND, 3)),
        quality=normals(keys, 1, Luck.BRAND, 4)[:, 0],
        fame=np.exp(1.3 * normals(keys, 1, Luck.BRAND, 5)[:, 0].astype(np.float64)),
        enters_day=enters,
        leaves_day=leaves,
        names=tuple(names[:count].tolist()),
    )


def _lives(keys: np.ndarray, *, days: int, per_week: float) -> tuple[I32, I32]:
    """Return first and last day: the newest brands enter evenly, others leave at random."""
    count = len(keys)
    newcomers = min(round(per_week * days / 7), count // 3)
    enters = np.full(count, -1_000, dtype=np.int32)
    if newcomers:
        enters[count - newcomers :] = np.arange(newcomers) * days // newcomers
    stays = draw(keys, Luck.BRAND, 6) * (count / (per_week / 7))
    return enters, np.where(enters < 0, stays, 10_000_000).astype(np.int32)


def _categories(department: I64, luck: F32) -> I64:
    """Draw two categories of each brand's department, I64[b, 2]."""
    homes = np.array([home for _, home, _ in CATEGORIES])
    first = np.searchsorted(homes, department)
    sizes = np.bincount(homes, minlength=len(DEPARTMENTS))[department]
    second: I64 = np.floor(luck * sizes[:, None]).astype(np.int64)
    return first[:, None] + second
