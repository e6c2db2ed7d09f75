"""A report in, its verdict in words out: who leads, who cannot be told apart, who wins over us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsys.domain.report import Estimate, Report
from recsys.evaluate import wording
from recsys.evaluate.scorer import ORACLES, OURS

Outcome = Literal["ahead", "level", "behind"]
Role = Literal["ours", "baseline", "ceiling"]
_LABELS = {
    "editor": "editors' order",
    "newest": "newest first",
    "popular": "popular so far",
    "brand_popular": "popularity of the brand",
    "category_popular": "popularity of the category",
    "own_counts": "bought or viewed before",
    "click_rate": "click rate so far",
    "logistic": "logistic regression",
    "boosted": "boosted trees",
    "taste": "taste (the towers)",
    "taste_alone": "taste, no spectral part",
    "slates": "slates (what members get)",
    "visible_oracle": "visible oracle",
    "oracle": "oracle (knows all but luck)",
}


@dataclass(frozen=True)
class Standing:
    """One scorer's figure in one slice and metric."""

    name: str
    role: Role
    estimate: Estimate
    best: bool = False
    """The best of the baselines."""

    @property
    def label(self) -> str:
        """The scorer in words."""
        return scorer_label(self.name)


@dataclass(frozen=True)
class Verdict:
    """What the headline says, and how sure it is."""

    outcome: Outcome
    sentences: tuple[str, ...]


def scorer_label(name: str) -> str:
    """Turn a scorer's name into words."""
    known = _LABELS.get(name)
    if known:
        return known
    window = name.removeprefix("popular_")
    if window != name and window[:-1].isdigit():
        return f"popular, last {window[:-1]} {window[-1]}"
    return wording.label(name)


def role(name: str) -> Role:
    """Return whether a scorer is ours, a baseline or a ceiling that no log could give."""
    if name in OURS:
        return "ours"
    return "ceiling" if name in ORACLES else "baseline"


def standings(report: Report, metric: str) -> tuple[Standing, ...]:
    """Return all scorers that have `metric` (slice/metric), best first, ceilings above."""
    where, _, name = metric.rpartition("/")
    found = [
        (scorer, slices[where or "all"][name])
        for scorer, slices in report.scorers.items()
        if name in slices.get(where or "all", {})
    ]
    rivals = [item for item in found if role(item[0]) == "baseline"]
    best = max(rivals, key=lambda item: item[1].value)[0] if rivals else ""
    rows = [Standing(scorer, role(scorer), figure, scorer == best) for scorer, figure in found]
    return tuple(sorted(rows, key=lambda row: (row.role != "ceiling", -row.estimate.value)))


def best_baseline(rows: tuple[Standing, ...]) -> Standing | None:
    """Return the best of the baselines."""
    return next((row for row in rows if row.best), None)


def verdict(report: Report) -> Verdict:
    """Say where taste stands at the headline metric, plainly also where a baseline wins."""
    rows = standings(report, report.headline)
    best = best_baseline(rows)
    taste = next((row for row in rows if row.name == "taste"), None)
    if taste is None or best is None:
        return Verdict("level", (f"This run has no figure of its own at {report.headline}.",))
    apart = _difference(report, best)
    outcome = _outcome(taste.estimate, best.estimate, apart)
    against = f"{best.label}, the best of {sum(row.role == 'baseline' for row in rows)} baselines"
    claim = {
        "ahead": f"taste is ahead of {against}",
        "level": f"taste and {against}, cannot be told apart",
        "behind": f"taste loses to {against}",
    }[outcome]
    numbers = f"{wording.interval(taste.estimate)} against {wording.interval(best.estimate)}"
    more = (f"Paired by member, the difference is {wording.interval(apart)}.",) if apart else ()
    sentence = f"{metric_label(report.headline)}: {claim}: {numbers}."
    return Verdict(outcome, (sentence, *more, *_others(rows, taste)))


def metric_label(metric: str) -> str:
    """Turn slice/metric into words: day0/ndcg_at_10 becomes "nDCG@10 on day 0"."""
    where, _, name = metric.rpartition("/")
    text = wording.label(name)
    if where in {"", "all"}:
        return text
    link = " on sales of" if where == "day0" else ","
    return f"{text}{link} {wording.label(where)}"


def _difference(report: Report, best: Standing) -> Estimate | None:
    """Return taste minus the best baseline, paired by member, where the judge made it."""
    where, _, metric = report.headline.rpartition("/")
    return report.scorers["taste"][where or "all"].get(f"{metric}_minus_{best.name}")


def _outcome(taste: Estimate, best: Estimate, apart: Estimate | None) -> Outcome:
    # intervals of each may overlap where the paired difference is clear: members are the same
    low = apart.low if apart else taste.low - best.high
    high = apart.high if apart else taste.high - best.low
    if low > 0:
        return "ahead"
    return "behind" if high < 0 else "level"


def _others(rows: tuple[Standing, ...], taste: Standing) -> tuple[str, ...]:
    """Name every baseline that stands above taste, not only the best."""
    above = [
        row for row in rows if row.role == "baseline" and row.estimate.value >= taste.estimate.value
    ]
    if not above:
        return ()
    names = ", ".join(f"{row.label} {wording.plain(row.estimate.value)}" for row in above)
    return (f"Above taste in this table: {names}.",)
