"""Baselines that learn: logistic regression and boosted trees on the same as-of signals.

They learn from all outcomes and some sales without one of each request of the towers' block, and
see what decisions see (rerank.signals) except the towers' taste.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.ties import uniform
from recsys.evaluate.baselines import popular, timed
from recsys.evaluate.counts import OwnCounts, shelf
from recsys.evaluate.past import columns
from recsys.evaluate.scorer import Baseline, Scorer
from recsys.evaluate.spec import Evaluate
from recsys.rerank.desk import Desk
from recsys.rerank.signals import Question, signals
from recsys.rerank.value import Model, fit_boosted, fit_logistic

CELLS = 500_000
"""Cells whose signals are made at a time: about 30 MB."""
NEEDS = {"logistic": "sklearn", "boosted": "lightgbm"}
"""Baselines and what fits them; where it is not installed the judge's notes name the gap."""
NEVER = np.float32(-1)
"""Score of a sale that no chance was asked for."""


@dataclass(frozen=True)
class Chance:
    """The fitted chance of an engagement, for whole shelves or the likeliest part of wide ones."""

    model: Model
    desk: Desk
    likely: OwnCounts
    most: int
    """On wider shelves, the rest after the `most` likeliest scores below all, by popularity."""

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        width = len(shelf(requests, rows))
        score = np.empty((rows.stop - rows.start, width), dtype=np.float32)
        for part in _parts(rows, max(CELLS // min(width, self.most), 1)):
            here = slice(part.start - rows.start, part.stop - rows.start)
            score[here] = self._score(requests, part, width)
        return score

    def _score(self, requests: Requests, rows: slice, width: int) -> F32:
        if width <= self.most:
            return self.model.predict(
                _signals(self.desk, requests, rows, column=np.arange(width)[None])
            )
        rough = self.likely(requests, rows)
        best = np.argpartition(rough, width - self.most, axis=1)[:, width - self.most :]
        score = (NEVER - 1 / (1 + rough)).astype(np.float32)
        chance = self.model.predict(_signals(self.desk, requests, rows, column=best))
        np.put_along_axis(score, best, chance, axis=1)
        return score


def learned_baselines(dataset: Dataset, towers: Requests, *, spec: Evaluate) -> dict[str, Baseline]:
    """Fit logistic and boosted, as far as `spec` asks for them, on requests of the towers' block.

    Left out: what is not installed (the extra `value`), and both where the requests offer nothing
    to tell apart, or where outcomes stand in the pasts that the signals are made of.
    """
    desk = Desk.of(dataset.shop)
    likely = OwnCounts(dataset.history, spec.half_life_days * DAY, popular(dataset))

    @cache
    def sample() -> tuple[F32, Bool]:
        """Gather the examples once, when the first model asks."""
        return examples(desk, towers, spec=spec)

    def fit(model: Callable[[F32, Bool], Model]) -> Scorer:
        """Fit one model and make it a scorer."""
        return Chance(model(*sample()), desk, likely, spec.learned_candidates)

    recipes: dict[str, Callable[[], Scorer]] = {
        "logistic": lambda: fit(fit_logistic),
        "boosted": lambda: fit(fit_boosted),
    }
    names = [name for name in recipes if name in spec.baselines and find_spec(NEEDS[name])]
    if not names or towers.hidden_share or len(np.unique(sample()[1])) < 2:
        return {}
    return {name: timed(recipes[name]) for name in names}


def examples(desk: Desk, towers: Requests, *, spec: Evaluate) -> tuple[F32, Bool]:
    """Return signals F32[R, F] and outcomes Bool[R] of the newest `learned_requests` requests.

    All outcomes of each, and at most `learned_negatives` sales of the same shelf without one.
    """
    newest = np.argsort(towers.at, kind="stable")[-spec.learned_requests :]
    requests = towers.take(np.sort(newest))
    found = [
        _examples(desk, requests, rows, spec=spec)
        for group in np.unique(requests.group)
        for rows in _parts(requests.rows(int(group)), max(CELLS // 256, 1))
    ]
    return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])


def _examples(desk: Desk, requests: Requests, rows: slice, *, spec: Evaluate) -> tuple[F32, Bool]:
    sales = shelf(requests, rows)
    ptr = requests.target_ptr[rows.start : rows.stop + 1]
    count = np.diff(ptr)
    row = np.repeat(np.arange(len(count)), count)
    target = columns(sales, desk.shop.num_sales)[requests.target_sale[ptr[0] : ptr[-1]]]
    draw = uniform(
        spec.seed,
        requests.member[rows, None],
        requests.at[rows, None],
        np.arange(spec.learned_negatives)[None],
    )
    other = (draw * len(sales)).astype(np.int64)
    hit = np.isin(np.arange(len(count))[:, None] * len(sales) + other, row * len(sales) + target)
    # outcomes stand left, in as many columns as the busiest request needs; the rest is cut off
    column = np.zeros((len(count), int(count.max(initial=0)) + other.shape[1]), dtype=np.int64)
    real = np.zeros(column.shape, dtype=np.bool_)
    place = np.arange(len(row)) - (ptr[:-1] - ptr[0])[row]
    column[row, place], real[row, place] = target, True
    column[:, column.shape[1] - other.shape[1] :] = other
    real[:, column.shape[1] - other.shape[1] :] = ~hit
    y = np.broadcast_to(np.arange(column.shape[1]) < column.shape[1] - other.shape[1], real.shape)
    return _signals(desk, requests, rows, column=column)[real], y[real]


def _signals(desk: Desk, requests: Requests, rows: slice, *, column: I64) -> F32:
    sales = shelf(requests, rows).astype(np.int64)[column]
    curated = requests.curated(int(requests.group[rows.start]))[column]
    question = Question(desk=desk, requests=requests, rows=rows, sales=sales, curated=curated)
    return signals(question, None)


def _parts(rows: slice, step: int) -> Iterator[slice]:
    for first in range(rows.start, rows.stop, step):
        yield slice(first, min(first + step, rows.stop))
