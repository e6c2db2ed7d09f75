"""Numbers and names in, short text out: one way to write a share and an interval everywhere."""

from __future__ import annotations

import math

from recsys.domain.report import Estimate

NOT_KNOWN = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_WORDS = {
    "auc": "AUC",
    "mrr": "MRR",
    "ndcg": "nDCG",
    "ild": "ILD",
    "item_knn": "ItemKNN",
    "content_knn": "content kNN",
    "ease": "EASE",
    "gf_cf": "GF-CF",
    "day0": "day 0",
}
_SHARES = ("discovery_rate", "discovery_share", "coverage", "curated_share")


def plain(value: float, digits: int = 3) -> str:
    """Write a number with fixed digits; large ones grouped, unknown ones as a dash."""
    if not math.isfinite(value):
        return NOT_KNOWN
    text = f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


def count(value: int) -> str:
    """Write a whole number with its thousands grouped."""
    return f"{value:,}"


def percent(value: float, digits: int = 1) -> str:
    """Write a share as percent."""
    return f"{_hundredths(value, digits)}{_THIN}%" if math.isfinite(value) else NOT_KNOWN


def _hundredths(share: float, digits: int = 1) -> str:
    """Write a share of 100; what is less than all is never rounded to all."""
    while share < 1 and round(100 * share, digits) >= 100 and digits < 6:
        digits += 1
    return plain(100 * share, digits)


def half_width(estimate: Estimate) -> float:
    """Return half the width of the 95 % interval."""
    return (estimate.high - estimate.low) / 2


def plus_minus(estimate: Estimate, *, share: bool = False) -> str:
    """Write a figure and half of its interval, a space between them."""
    half = half_width(estimate)
    if share:
        return f"{_hundredths(estimate.value)} ±{percent(half)}"
    return f"{plain(estimate.value)} ±{plain(half)}"


def interval(estimate: Estimate, *, share: bool = False) -> str:
    """Write a figure with both ends of its interval: 0.312 (0.301 to 0.323)."""
    write = percent if share else plain
    return f"{write(estimate.value)} ({write(estimate.low)} to {write(estimate.high)})"


def is_share(metric: str) -> bool:
    """Whether a metric is read as percent of places, members or sales."""
    return metric.startswith(_SHARES)


def label(name: str) -> str:
    """Turn a metric, slice or scorer into words: ndcg_at_10 becomes nDCG@10."""
    stem, _, depth = name.partition("_at_")
    words = _WORDS.get(stem) or " ".join(_WORDS.get(word, word) for word in stem.split("_"))
    return f"{words}@{depth}" if depth else words
