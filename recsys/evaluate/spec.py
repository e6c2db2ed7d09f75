"""Settings of the judge: which figures, on which slices, beside which baselines."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from recsys.domain.spec import Count, NonNegative, Positive, Spec

Baselines = Literal[
    "random",
    "editor",
    "newest",
    "popular",
    "popular_7d",
    "brand_popular",
    "category_popular",
    "brand_affinity",
    "own_counts",
    "content_knn",
    "item_knn",
    "ease",
    "gf_cf",
    "logistic",
    "boosted",
    "click_rate",
]
Slices = Literal["sale", "history", "channel"]
RECENT = {
    "popular_5m": 1 / 12,
    "popular_15m": 0.25,
    "popular_1h": 1.0,
    "popular_3h": 3.0,
    "popular_24h": 24.0,
}
"""Popularity of the last hours, judged as well where outcomes come within three."""
HEADLINE = (
    r"^(all|day0|older|six_hours|after_six_hours|new_brand|known_brand|curated|not_curated"
    r"|repeat|first_contact)"
    r"/(mrr|auc|(recall|capped_recall|hit|ndcg|value_ndcg|purchase_ndcg|debiased_recall)_at_\d+)$"
)
"""Figures that may decide: high is good, and slices of sales."""


class Evaluate(Spec):
    """Judge every scorer on whole shelves, with intervals by member and baselines beside it."""

    kind: Literal["default"] = "default"
    ks: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20)
    """Lengths of the lists that are judged; the lengths of slates join by themselves."""
    bootstrap_draws: Annotated[int, Field(ge=100, le=10_000)] = 1_000
    """Draws of members behind each 95 % interval; all scorers share them."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of ties, of the draws, of the random baseline and of what is sampled to learn from."""
    headline: Annotated[str, Field(pattern=HEADLINE)] = "day0/ndcg_at_10"
    """The figure that decides, as slice/metric, at one of ks; the slice is all where a catalogue
    never closes and where no request has an outcome in the slice."""
    slices: tuple[Slices, ...] = get_args(Slices)
    """Families of slices beside all: by sale (day0, older, six_hours and after_six_hours where
    outcomes come within three hours, new_brand, known_brand, curated,
    not_curated, repeat, first_contact), by length of history, by channel of the first outcome."""
    require: Annotated[str, Field(pattern=r"^$|^\s*(\w+:)?([\w-]+/)?\w+\s*>\s*[\w.+-]+\s*$")] = ""
    """A gate, e.g. day0/ndcg_at_10>popular, ndcg_at_10>0.2 or slates:ndcg_at_6>editor; taste is
    meant where no scorer is named; empty = none."""
    baselines: tuple[Baselines, ...] = get_args(Baselines)[:-1]
    """Baselines to fit; random and popular are always among them. click_rate, for shops that keep
    what was shown, has to be named."""
    half_life_days: Positive = 60.0
    """After how long an engagement counts half in brand_affinity, own_counts and content_knn."""
    ease_sales: Count = 8_000
    """item_knn, ease and gf_cf know this many sales, the most popular when they are fitted."""
    ease_l2: Positive = 300.0
    """Ridge of ease."""
    gf_cf_rank: Count = 256
    """Singular vectors of gf_cf's low-pass part."""
    gf_cf_alpha: NonNegative = 0.3
    """Weight of gf_cf's low-pass part beside its linear part."""
    knn_neighbours: Count = 100
    """Neighbours that item_knn keeps of each sale."""
    knn_shrink: NonNegative = 10.0
    """Common members that item_knn's cosine must outweigh."""
    learned_negatives: Count = 20
    """Sales without engagement that logistic and boosted learn from, per request."""
    learned_requests: Count = 20_000
    """Requests that logistic and boosted learn from, the newest of the towers' block."""
    learned_candidates: Count = 2_000
    """Sales of a wider shelf that logistic and boosted weigh for each member: what the member
    knows, then the most popular; all others come after them."""

    @model_validator(mode="after")
    def _judges_its_headline(self) -> Self:
        _, deep, k = self.headline.rpartition("_at_")
        if deep and int(k) not in self.ks:
            raise ValueError(f"headline {self.headline}: lists of {k} are not judged, ks={self.ks}")
        return self
