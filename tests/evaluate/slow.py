"""The judge once more, from the definitions and in plain loops: one request, one sale at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import NONE
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, KIND_WEIGHTS, QUICK, Channel, Kind
from recsys.domain.requests import Requests
from recsys.evaluate.content import content

Figures = dict[str, float]
Table = dict[str, dict[str, tuple[float, int]]]
"""slice -> figure -> mean and number of requests."""


@dataclass(frozen=True)
class Asked:
    """One request, looked up event by event."""

    data: Dataset
    requests: Requests
    row: int

    @property
    def at(self) -> int:
        return int(self.requests.at[self.row])

    @property
    def group(self) -> int:
        return int(self.requests.group[self.row])

    @property
    def shelf(self) -> list[int]:
        return [int(sale) for sale in self.requests.shelf(self.group)]

    @property
    def targets(self) -> dict[int, Kind]:
        first, last = self.requests.target_ptr[self.row : self.row + 2]
        sales, kinds = self.requests.target_sale, self.requests.target_kind
        return {int(sales[t]): Kind(kinds[t]) for t in range(first, last)}

    @property
    def own(self) -> list[tuple[int, int, Kind, Channel]]:
        """All engagements of the member: when, with what, how, where."""
        history, member = self.data.history, self.requests.member[self.row]
        return [
            (int(history.at[e]), int(history.sale[e]), Kind(history.kind[e]),
             Channel(history.channel[e]))
            for e in range(len(history)) if history.member[e] == member
        ]  # fmt: skip

    @property
    def past(self) -> list[tuple[int, Kind]]:
        return [(sale, kind) for at, sale, kind, _ in self.own if at < self.at]

    def seen(self, sale: int) -> int:
        history = self.data.history
        return sum(history.sale[e] == sale and history.at[e] < self.at for e in range(len(history)))

    def pools(self) -> dict[str, set[int]]:
        opened = self.data.opens_at
        curated = self.requests.curated(self.group)
        young = int(self.requests.group_at[self.group]) - DAY
        makers = of_sales(self.data, "brand", "category")
        known = {sale for sale, _ in self.past}
        lately = {sale for at, sale, _, _ in self.own if self.at - 180 * DAY < at < self.at}
        met = {makers[sale] for sale in lately} - {NONE}
        pools = {
            "day0": {sale for sale in self.shelf if opened[sale] > young},
            "curated": {s for s, picked in zip(self.shelf, curated, strict=True) if picked},
            "known_brand": {s for s in self.shelf if makers[s] in met or s in lately},
            "repeat": known & set(self.shelf),
        }
        if 1 < self.requests.outcome_us <= QUICK:
            hours = young + 18 * HOUR
            pools["six_hours"] = {sale for sale in self.shelf if opened[sale] > hours}
        rest = {
            "day0": "older",
            "six_hours": "after_six_hours",
            "curated": "not_curated",
            "known_brand": "new_brand",
            "repeat": "first_contact",
        }
        return pools | {rest[name]: set(self.shelf) - pool for name, pool in pools.items()}

    def named(self) -> set[str]:
        """Slices by request that this one belongs to."""
        count = len(self.past)
        length = "0" if not count else "1_4" if count < 5 else "5_19" if count < 20 else "20_up"
        later = [
            where
            for at, _, _, where in self.own
            if self.at <= at < self.at + self.requests.outcome_us
        ]
        return {"all", f"history_{length}"} | {f"channel_{c.name.lower()}" for c in later[:1]}


def of_sales(data: Dataset, first: str, other: str) -> list[int]:
    """Brand or category of each sale; the other where the shop knows none of the first."""
    codes: list[int] = getattr(data, first).tolist()
    others: list[int] = getattr(data, other).tolist()
    return codes if any(code != NONE for code in codes) else others


def placed(asked: Asked, order: Sequence[int], pool: set[int], ks: Iterable[int]) -> Figures:
    """How well the relevant sales of a pool stand in an order of its sales, best first."""
    found = {sale: kind for sale, kind in asked.targets.items() if sale in pool}
    if not found:
        return {}
    place = {sale: order.index(sale) + 1 if sale in order else math.inf for sale in found}
    rarest = float(np.quantile([asked.seen(sale) for sale in asked.shelf], 0.01))
    rare = {sale: 1 / (max(asked.seen(sale), rarest) + 1) for sale in found}
    value = {sale: float(KIND_WEIGHTS[kind]) for sale, kind in found.items()}
    bought = {sale: 1.0 for sale, kind in found.items() if kind == Kind.PURCHASE}
    figures = {"mrr": 1 / min(place.values())}
    for k in ks:
        hits = [sale for sale in found if place[sale] <= k]
        figures |= {
            f"recall_at_{k}": len(hits) / len(found),
            f"capped_recall_at_{k}": len(hits) / min(k, len(found)),
            f"hit_at_{k}": float(bool(hits)),
            f"ndcg_at_{k}": gained(place, dict.fromkeys(found, 1.0), k),
            f"value_ndcg_at_{k}": gained(place, value, k),
            f"debiased_recall_at_{k}": sum(rare[sale] for sale in hits) / sum(rare.values()),
        }
        if bought:
            figures[f"purchase_ndcg_at_{k}"] = gained(place, bought, k)
    return figures


def gained(place: Mapping[int, float], gain: Mapping[int, float], k: int) -> float:
    got = sum(g / math.log2(place[sale] + 1) for sale, g in gain.items() if place[sale] <= k)
    best = sorted(gain.values(), reverse=True)[:k]
    return got / sum(g / math.log2(q + 2) for q, g in enumerate(best))


def ordered(asked: Asked, scores: Mapping[int, float], order: Sequence[int]) -> Figures:
    """auc and mean_percentile_rank on the sales of `order`."""
    good = [sale for sale in order if sale in asked.targets]
    pairs = [(a, b) for a in good for b in order if b not in asked.targets]
    right = sum((scores[a] > scores[b]) + (scores[a] == scores[b]) / 2 for a, b in pairs)
    figures = {"auc": right / len(pairs)} if pairs else {}
    if good and len(order) > 1:
        share = [order.index(sale) / (len(order) - 1) for sale in good]
        figures["mean_percentile_rank"] = sum(share) / len(share)
    return figures


def beyond(asked: Asked, order: Sequence[int], ks: Iterable[int]) -> Figures:
    data, pools = asked.data, asked.pools()
    vectors = content(data, int(asked.requests.at.min())).toarray()
    seen = {sale: asked.seen(sale) for sale in asked.shelf}
    fresh = set(asked.targets) & pools["new_brand"]
    figures: Figures = {}
    for k in ks:
        top = order[:k]
        figures[f"discovery_hits_at_{k}"] = len(fresh & set(top))
        pairs = [1 - vectors[a] @ vectors[b] for a in top for b in top if a != b]
        if pairs:
            figures[f"ild_at_{k}"] = sum(pairs) / len(pairs)
        if top:
            figures[f"discovery_rate_at_{k}"] = len(set(top) & pools["new_brand"]) / len(top)
            figures[f"curated_share_at_{k}"] = len(set(top) & pools["curated"]) / len(top)
            below = [sum((seen[b] < seen[a]) + (seen[b] == seen[a]) / 2 for b in seen) for a in top]
            figures[f"popularity_percentile_at_{k}"] = sum(below) / len(top) / len(seen)
        apart = mix_kl(asked, top)
        if apart is not None:
            figures[f"mix_kl_at_{k}"] = apart
    return figures


def mix_kl(asked: Asked, top: Sequence[int]) -> float | None:
    kinds = of_sales(asked.data, "category", "brand")
    own, shown = defaultdict[int, float](float), defaultdict[int, float](float)
    for sale, kind in asked.past:
        own[kinds[sale]] += float(KIND_WEIGHTS[kind])
    for sale in top:
        shown[kinds[sale]] += 1
    own.pop(NONE, None)
    shown.pop(NONE, None)
    if not own or not shown:
        return None
    p = {kind: weight / sum(own.values()) for kind, weight in own.items()}
    q = {kind: weight / sum(shown.values()) for kind, weight in shown.items()}
    return sum(p[c] * math.log(p[c] / (0.99 * q.get(c, 0.0) + 0.01 * p[c])) for c in p)


def table(
    data: Dataset,
    requests: Requests,
    order: Callable[[int], list[int]],
    *,
    ks: Sequence[int],
    scores: Callable[[int], dict[int, float]] | None = None,
) -> Table:
    """Judge what `order` puts first for each row; whole shelves have `scores` too."""
    values = defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
    for row in range(len(requests)):
        asked = Asked(data, requests, row)
        given = None if scores is None else scores(row)
        for where, found in by_slice(asked, order(row), given, ks=ks).items():
            for name, value in found.items():
                values[where][name].append(value)
    return {
        where: {name: (float(np.mean(of)), len(of)) for name, of in figures.items()}
        for where, figures in values.items()
    }


def by_slice(
    asked: Asked, order: list[int], scores: dict[int, float] | None, *, ks: Sequence[int]
) -> dict[str, Figures]:
    def of_pool(pool: set[int]) -> Figures:
        inside = [sale for sale in order if sale in pool]
        figures = placed(asked, inside, pool, ks)
        return figures if scores is None else figures | ordered(asked, scores, inside)

    whole = of_pool(set(asked.shelf)) | beyond(asked, order, ks)
    pools = {name: of_pool(pool) for name, pool in asked.pools().items()}
    return dict.fromkeys(asked.named(), whole) | pools
