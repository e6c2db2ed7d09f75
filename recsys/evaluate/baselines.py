"""A dataset in, baselines out: each fitted on the towers' block, each counted as of the request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from recsys.data.popularity import Popularity
from recsys.data.spectrum import Engaged
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, QUICK
from recsys.domain.requests import Requests
from recsys.evaluate.content import content
from recsys.evaluate.counts import BrandAffinity, ClickRate, Newest, OwnCounts, Popular, Random
from recsys.evaluate.neighbours import Common, ContentKnn, Together
from recsys.evaluate.scorer import Baseline, Scorer
from recsys.evaluate.smooth import Smooth
from recsys.evaluate.spec import RECENT, Evaluate


def baselines(
    dataset: Dataset, towers: Requests, fit_until: int, *, spec: Evaluate
) -> dict[str, Baseline]:
    """Fit the baselines that `spec` asks for on the towers' block, whose requests are `towers`.

    Content is described by what was known before `fit_until` (UTC us), the end of that block.
    Where outcomes come within three hours, popular_5m, popular_15m, popular_1h, popular_3h and
    popular_24h are added. logistic and boosted come from learned.learned_baselines.
    """
    recipes = _counting(dataset, spec) | _comparing(dataset, towers, fit_until, spec=spec)
    if dataset.exposures.height:
        recipes["click_rate"] = lambda: ClickRate.of(dataset)
    names: list[str] = [name for name in recipes if name in {*spec.baselines, "random", "popular"}]
    if "popular" in names and 1 < towers.outcome_us <= QUICK:
        recent = {name: _recent(dataset, int(hours * HOUR)) for name, hours in RECENT.items()}
        recipes |= recent
        names += list(recent)
    return {name: timed(recipes[name]) for name in names}


def timed(fit: Callable[[], Scorer]) -> Baseline:
    """Fit a baseline and note what it took."""
    started = perf_counter()
    scorer = fit()
    return Baseline(scorer, perf_counter() - started)


def _recent(dataset: Dataset, window_us: int | None) -> Callable[[], Scorer]:
    return lambda: popular(dataset, window_us)


def popular(dataset: Dataset, window_us: int | None = None) -> Popular:
    """Count engagements with each sale, in the last `window_us` where given."""
    own = np.arange(dataset.num_sales, dtype=np.int32)
    return Popular(Popularity.of(dataset.history, dataset.num_sales), own, window_us)


def _counting(dataset: Dataset, spec: Evaluate) -> dict[str, Callable[[], Scorer]]:
    history, half_life = dataset.history, spec.half_life_days * DAY
    return {
        "random": lambda: Random(spec.seed),
        "editor": lambda: Newest(dataset.opens_at, editor=True),
        "newest": lambda: Newest(dataset.opens_at),
        "popular": lambda: popular(dataset),
        "popular_7d": lambda: popular(dataset, 7 * DAY),
        "brand_popular": lambda: Popular.by(history, dataset.brand),
        "category_popular": lambda: Popular.by(history, dataset.category),
        "brand_affinity": lambda: BrandAffinity(
            history, half_life, Popular.by(history, dataset.brand)
        ),
        "own_counts": lambda: OwnCounts(history, half_life, popular(dataset)),
    }


def _comparing(
    dataset: Dataset, towers: Requests, fit_until: int, *, spec: Evaluate
) -> dict[str, Callable[[], Scorer]]:
    history, made = dataset.history, list[Common]()
    known = partial(Engaged.of, history, towers, num_sales=dataset.num_sales, most=spec.ease_sales)

    def common() -> Common:
        """Return the Gram matrix that item_knn and ease share; whoever comes first pays for it."""
        if not made:
            made.append(Common.of(known()))
        return made[0]

    def item_knn() -> Scorer:
        """Keep the nearest neighbours of each sale."""
        cosine = common().cosine(neighbours=spec.knn_neighbours, shrink=spec.knn_shrink)
        return Together(history, common().place, cosine)

    return {
        "content_knn": lambda: ContentKnn(
            history, content(dataset, fit_until), spec.half_life_days * DAY
        ),
        "item_knn": item_knn,
        "ease": lambda: Together(history, common().place, common().ease(spec.ease_l2)),
        "gf_cf": lambda: Smooth.of(history, known(), rank=spec.gf_cf_rank, alpha=spec.gf_cf_alpha),
    }
