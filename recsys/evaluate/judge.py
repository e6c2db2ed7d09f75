"""Every scorer and slate on every figure and slice, beside its baselines, with intervals.

Each request ranks its whole shelf. Slices by request (history, channel) keep some requests and
the whole shelf. Slices by sale (day0 and the like) keep the requests that have a target among
those sales, and both candidates and targets are those sales alone. Figures of what is shown
(ild, discovery, mix, popularity) stand in slices by request; reach (coverage, gini) in "all".

Slates are judged by the same figures at their own length; in a slice by sale, the places that
other sales hold are skipped. `METRIC_minus_X` is the paired difference of the headline's metric
to popular and to the baseline that is best on the headline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from time import perf_counter
from types import MappingProxyType

import numpy as np

from recsys.domain.arrays import F64, I64, NONE
from recsys.domain.dataset import Dataset
from recsys.domain.report import Estimate, Report
from recsys.domain.requests import Requests
from recsys.domain.slates import Slates
from recsys.evaluate.intervals import Draws, Means, means, whole
from recsys.evaluate.metrics import coverage, gini, p90_coverage
from recsys.evaluate.placing import Figures, of_scores, of_slate
from recsys.evaluate.scene import Stage, scene
from recsys.evaluate.scorer import ORACLES, OURS, Scorer
from recsys.evaluate.slices import by_request
from recsys.evaluate.spec import Evaluate

REACH = {"coverage": coverage, "p90_coverage": p90_coverage, "gini": gini}
Estimates = dict[str, dict[str, Estimate]]


@dataclass
class _Judged:
    """Figures of one scorer, chunk by chunk, then its means."""

    ks: tuple[int, ...]
    chunks: list[Figures] = field(default_factory=list)
    means: dict[str, tuple[list[str], Means]] = field(default_factory=dict)

    def matrix(self, where: str) -> tuple[list[str], F64]:
        """Return the figures of one slice, their names and F64[requests, figures]."""
        names = list(self.chunks[0].slices[where])
        columns = [np.concatenate([c.slices[where][name] for c in self.chunks]) for name in names]
        return names, np.stack(columns, axis=1)

    def top(self) -> I64:
        """Return the first sales of each list, I64[requests, longest k], NONE where it ended."""
        width = max(chunk.top.shape[1] for chunk in self.chunks)
        return np.concatenate([
            np.pad(c.top, ((0, 0), (0, width - c.top.shape[1])), constant_values=NONE)
            for c in self.chunks
        ])


def judge(
    dataset: Dataset,
    requests: Requests,
    scorers: Mapping[str, Scorer],
    *,
    spec: Evaluate,
    slates: Mapping[str, Slates] = MappingProxyType({}),
    seconds: Mapping[str, float] = MappingProxyType({}),
) -> Report:
    """Judge scorers and slates on requests; `seconds` (fits of baselines) go into the report.

    Slates hold one row per request, in the order of the requests.

    Raises:
        ValueError: no requests, scores of a wrong shape, or slates of other members.
    """
    started = perf_counter()
    _check(requests, slates)
    judged = _figures(dataset, requests, spec=spec, scorers=scorers, slates=slates)
    draws = Draws.of(requests.member, spec.bootstrap_draws, spec.seed)
    rows = by_request(dataset, requests, spec.slices)
    shelves = _on_shelves(requests, dataset.num_sales)
    table: dict[str, Estimates] = {}
    for name, one in judged.items():
        table[name] = _estimates(one, draws, rows)
        table[name]["all"] |= _reach(one, draws, shelves)
        one.chunks.clear()
    headline = _headline(table, dataset, spec)
    _compare(table, judged, headline)
    return Report(
        scorers=table,
        headline=headline,
        notes=_notes(dataset, requests, scorers, spec=spec),
        seconds={**seconds, "judging": perf_counter() - started},
    )


def _check(requests: Requests, slates: Mapping[str, Slates]) -> None:
    if not len(requests):
        raise ValueError("no requests to judge")
    for name, one in slates.items():
        if not np.array_equal(one.members, requests.member):
            raise ValueError(
                f"slates {name!r}: {len(one.members)} rows are not those of the "
                f"{len(requests)} requests, member by member"
            )


def _figures(
    dataset: Dataset,
    requests: Requests,
    *,
    spec: Evaluate,
    scorers: Mapping[str, Scorer],
    slates: Mapping[str, Slates],
) -> dict[str, _Judged]:
    lengths = {one.sales.shape[1] for one in slates.values()}
    ks = tuple(sorted({*spec.ks, *lengths}))
    by_sale = "sale" in spec.slices
    judged = {name: _Judged(ks) for name in scorers}
    judged |= {name: _Judged((one.sales.shape[1],)) for name, one in slates.items()}
    stage = Stage.of(dataset, requests, spec.seed)
    for rows in stage.chunks(requests):
        now = scene(stage, requests, rows)
        for name, scorer in scorers.items():
            scores = scorer(requests, rows)
            judged[name].chunks.append(of_scores(now, scores, ks, by_sale=by_sale))
        for name, one in slates.items():
            judged[name].chunks.append(of_slate(now, one.sales[rows], by_sale=by_sale))
    return judged


def _estimates(one: _Judged, draws: Draws, rows: Mapping[str, I64]) -> Estimates:
    base, values = one.matrix("all")
    for where, subset in rows.items():
        one.means[where] = (base, means(values, draws, None if where == "all" else subset))
    for where in one.chunks[0].slices.keys() - {"all"}:
        names, values = one.matrix(where)
        one.means[where] = (names, means(values, draws))
    found: Estimates = {}
    for where, (names, mean) in one.means.items():
        figures = dict(zip(names, mean.estimates(), strict=True))
        found[where] = {name: figure for name, figure in figures.items() if figure.n}
    return {where: figures for where, figures in found.items() if figures}


def _reach(one: _Judged, draws: Draws, shelves: I64) -> dict[str, Estimate]:
    top = one.top()
    place = np.where(top == NONE, NONE, np.searchsorted(shelves, top))
    return {
        f"{name}_at_{k}": whole(place[:, :k], draws, len(shelves), figure=figure)
        for k in one.ks
        for name, figure in REACH.items()
    }


def _on_shelves(requests: Requests, num_sales: int) -> I64:
    """Return the sales that stood on any shelf of a request, I64, ascending."""
    stood = np.zeros(num_sales, dtype=np.bool_)
    for group in np.unique(requests.group):
        stood[requests.shelf(int(group))] = True
    return np.flatnonzero(stood)


def _headline(table: Mapping[str, Estimates], dataset: Dataset, spec: Evaluate) -> str:
    where, _, metric = spec.headline.rpartition("/")
    found = table["popular"].get(where, {}) if "popular" in table else {}
    if dataset.task == "endless" or metric not in found:
        return f"all/{metric}"
    return spec.headline


def _compare(table: dict[str, Estimates], judged: Mapping[str, _Judged], headline: str) -> None:
    """Add the paired differences of the headline's metric."""
    where, _, metric = headline.rpartition("/")
    known = {
        name: table[name][where][metric].value
        for name in table.keys() - OURS - ORACLES
        if metric in table[name].get(where, {})
    }
    if not known:
        return
    rivals = {max(known, key=lambda name: known[name])} | ({"popular"} & known.keys())
    for name, rival in product(judged, rivals):
        if name == rival:
            continue
        for place, difference in _differences(judged[name], judged[rival], metric).items():
            table[name][place][f"{metric}_minus_{rival}"] = difference


def _differences(one: _Judged, rival: _Judged, metric: str) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for where in one.means.keys() & rival.means.keys():
        ours, theirs = _column(one, where, metric), _column(rival, where, metric)
        if ours and theirs and ours.n[0]:
            found[where] = ours.minus(theirs)[0]
    return found


def _column(one: _Judged, where: str, metric: str) -> Means | None:
    names, mean = one.means[where]
    if metric not in names:
        return None
    at = slice(names.index(metric), names.index(metric) + 1)
    return Means(mean.value[at], mean.n[at], mean.sample[:, at])


def _notes(
    dataset: Dataset, requests: Requests, scorers: Mapping[str, Scorer], *, spec: Evaluate
) -> tuple[str, ...]:
    without = int((np.diff(requests.target_ptr) == 0).sum())
    asked = (
        f"{len(requests):,} requests of {len(np.unique(requests.member)):,} members on "
        f"{len(np.unique(requests.group)):,} shelves; {without:,} without an outcome are left out "
        f"of the ranking figures; intervals: {spec.bootstrap_draws:,} draws of members"
    )
    notes = [asked]
    if dataset.num_sales > spec.ease_sales and {"ease", "item_knn", "gf_cf"} & scorers.keys():
        notes.append(
            f"ease, item_knn and gf_cf know the {spec.ease_sales:,} most popular of "
            f"{dataset.num_sales:,} sales; the others score 0"
        )
    widest = int((requests.shelf_end - requests.shelf_start).max())
    if widest > spec.learned_candidates and {"logistic", "boosted"} & scorers.keys():
        notes.append(
            f"logistic and boosted weigh {spec.learned_candidates:,} sales of each shelf: "
            "those the member knows, then the most popular; the others follow"
        )
    missing = [name for name in spec.baselines if name not in scorers]
    if missing:
        notes.append(
            f"not judged: {', '.join(missing)} (logistic and boosted need pasts in order and "
            "pip install 'noon-recsys[value]')"
        )
    return tuple(notes)
