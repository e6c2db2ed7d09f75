"""Requests that exclude what was seen are judged as if it had never stood on their shelf."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.seen import first_contacts
from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.events import Kind
from recsys.domain.report import Report
from recsys.domain.requests import Requests
from recsys.evaluate.judge import judge
from recsys.evaluate.scorer import Scorer
from recsys.evaluate.spec import Evaluate
from tests.evaluate.hand import Ask, Did, Sale, Stand, requests, shop
from tests.evaluate.test_judge import case, scorer

SPEC = Evaluate(ks=(2, 4), bootstrap_draws=100, headline="all/ndcg_at_2")
OF_THE_SHELF = ("popularity_percentile", "debiased_recall", "coverage", "p90_coverage", "gini")
"""These say what a sale is among all of the shelf, seen or not."""


def figures_of(report: Report) -> dict[tuple[str, str, str, str], float]:
    return {
        (name, where, figure, part): getattr(found, part)
        for name, slices in report.scorers.items()
        for where, figures in slices.items()
        for figure, found in figures.items()
        if not figure.startswith(OF_THE_SHELF)
        for part in ("value", "n")
    }


def alone(data: Dataset, asked: Requests) -> Requests:
    """Give each request a shelf of its own, without what its member knows."""
    kept = []
    for row in range(len(asked)):
        member, group = int(asked.member[row]), int(asked.group[row])
        past = data.history.sale[data.history.member_ptr[member] : asked.history_end[row]]
        here = np.arange(asked.shelf_start[group], asked.shelf_end[group])
        kept.append(here[~np.isin(asked.shelf_sale[here], past)])
    end = np.cumsum([len(cells) for cells in kept])
    cells = np.concatenate(kept)
    return replace(
        asked,
        group_at=asked.group_at[asked.group],
        shelf_start=end - [len(cells) for cells in kept],
        shelf_end=end,
        shelf_sale=asked.shelf_sale[cells],
        shelf_curated=asked.shelf_curated[cells],
        group=np.arange(len(asked), dtype=np.int32),
        exclude_seen=False,
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_hiding_is_as_good_as_taking_away(seed: int, endless: bool) -> None:
    made = case(seed, endless=endless)
    asked = first_contacts(made.requests, made.data.history)
    if not len(asked):
        return
    scorers: dict[str, Scorer] = {"random": scorer(1), "popular": scorer(2)}
    hidden = judge(made.data, asked, scorers, spec=SPEC)
    away = judge(made.data, alone(made.data, asked), scorers, spec=SPEC)
    assert figures_of(hidden) == pytest.approx(figures_of(away))


def test_no_scorer_can_show_what_was_seen() -> None:
    data = shop([Sale("a"), Sale("b"), Sale("c")], [Did(0, 1, 1.0)])
    asked = requests(data, [Stand(2.0, [0, 1, 2])], [Ask(0, {2: Kind.VIEW})])
    asked = first_contacts(asked, data.history)

    def fond(asked: Requests, rows: slice) -> F32:
        return np.array([[1.0, 3.0, 2.0]], dtype=np.float32)

    report = judge(
        data,
        asked,
        {"random": fond, "popular": fond},
        spec=Evaluate(ks=(1,), headline="all/ndcg_at_1"),
    )
    figures = report.scorers["popular"]["all"]
    assert figures["recall_at_1"].value == 1
    assert figures["auc"].value == 1
