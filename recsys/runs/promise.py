"""A gate that a run must meet, read before anything is made: do its names exist?"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from recsys.domain.events import HOUR, QUICK
from recsys.evaluate.spec import RECENT, Evaluate

GATE = re.compile(r"\s*(?:(\w+):)?(?:[\w-]+/)?(\w+)\s*>\s*([\w.+-]+)\s*")
OURS = ("taste", "slates")
ORACLES = ("visible_oracle", "oracle")
WHOLE = ("mrr", "auc", "mean_percentile_rank")
"""Figures of whole rankings; all others are of lists of a length."""
STEMS = (
    "ndcg", "recall", "capped_recall", "hit", "value_ndcg", "purchase_ndcg", "debiased_recall",
    "ild", "discovery_rate", "discovery_hits", "mix_kl", "popularity_percentile", "curated_share",
    "coverage", "p90_coverage", "gini",
)  # fmt: skip


def fault(
    evaluate: Evaluate, *, slots: int, known_truth: bool, outcome_hours: float, spectral: bool
) -> str:
    """Return what is wrong with `evaluate.require`, or "": names that no report would hold.

    Slices depend on the data and are looked at when the report is there.
    """
    parts = GATE.fullmatch(evaluate.require)
    if parts is None:
        return ""
    scorer, metric, rival = parts[1] or "taste", parts[2], parts[3]
    names = {*OURS, "random", "popular", *evaluate.baselines}
    names |= {"taste_alone"} if spectral else set()
    names |= set(ORACLES) if known_truth else set()
    names |= set(RECENT) if outcome_hours * HOUR <= QUICK else set()
    lengths = {slots} if scorer == "slates" else {slots, *evaluate.ks}
    return (
        unknown("scorer", scorer, names)
        or wrong_metric(metric, lengths)
        or ("" if is_number(rival) else unknown("scorer or number", rival, names))
    )


def wrong_metric(metric: str, lengths: Collection[int]) -> str:
    """Return what is wrong with the name of a figure, or ""; a difference is named by its first."""
    name = metric.partition("_minus_")[0]
    if name in WHOLE:
        return ""
    stem, deep, length = name.rpartition("_at_")
    if not deep or stem not in STEMS:
        near = {f"{one}_at_{k}" for one in STEMS for k in lengths}
        shown = (*WHOLE, *(f"{one}_at_{max(lengths)}" for one in STEMS[:4]))
        return unknown("metric", metric, {*near, *WHOLE}, shown=shown)
    if length not in map(str, lengths):
        judged = ", ".join(map(str, sorted(lengths)))
        return f"no list of {length} is judged (in {metric})\n  lengths that are: {judged}"
    return ""


def unknown(
    what: str, name: str, names: Collection[str], *, shown: Collection[str] | None = None
) -> str:
    """Return that a name is none of `names` and which is nearest, or ""; `shown` = examples."""
    if name in names:
        return ""
    near = get_close_matches(name, sorted(names), n=1)
    if near:
        return f"no {what} called {name!r}\n  did you mean:  {near[0]}"
    examples = sorted(names) if shown is None else [*shown, "..."]
    return f"no {what} called {name!r}\n  possible: {', '.join(examples)}"


def is_number(text: str) -> bool:
    """Tell whether a text is a number that something can be above."""
    try:
        number = float(text)
    except ValueError:
        return False
    return number == number  # ruff: ignore[comparison-with-itself] nan alone differs from itself
