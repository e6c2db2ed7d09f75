from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import SupportsIndex

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE
from recsys.domain.dataset import Dataset
from recsys.domain.events import Channel, Kind
from recsys.domain.report import Estimate, Report
from recsys.domain.requests import Requests
from recsys.domain.ties import uniform
from recsys.evaluate import judge as judge_module
from recsys.evaluate import placing
from recsys.evaluate import scene as scene_module
from recsys.evaluate.judge import judge
from recsys.evaluate.ranking import tie_bits
from recsys.evaluate.scorer import Scorer
from recsys.evaluate.spec import Evaluate
from tests.evaluate import slow
from tests.evaluate.hand import Ask, Did, Sale, Stand, requests, shop, slates

KINDS = (Kind.VIEW, Kind.MAIL_CLICK, Kind.CART, Kind.PURCHASE)
REACH = ("coverage", "p90_coverage", "gini")
SPEC = Evaluate(ks=(2, 4), bootstrap_draws=100, headline="all/ndcg_at_2")


@dataclass(frozen=True)
class Case:
    data: Dataset
    requests: Requests


def case(seed: int, *, endless: bool = False, bare: bool = False) -> Case:
    """A shop of nine sales, some without a brand or category, and requests before two shelves."""
    rng = np.random.default_rng(seed)
    names = [None, None] if bare else [None, "a", "b", "c"]
    sales = [
        Sale(names[rng.integers(len(names))], [None, "x", "y"][rng.integers(3)], opens)
        for opens in sorted(rng.uniform(0, 6, 9))
    ]
    did = [
        Did(int(rng.integers(5)), int(rng.integers(9)), rng.uniform(0, 9),
            KINDS[rng.integers(4)], Channel(int(rng.integers(3))))
        for _ in range(rng.integers(0, 60))
    ]  # fmt: skip
    data = shop(sales, did, members=5, task="endless" if endless else "shelf")
    stands = [
        Stand(day, sorted(some(rng, range(9), rng.integers(1, 9))), some(rng, range(9), 3))
        for day in (4.5, 6.5)
    ]
    asks = [
        Ask(member, drawn(rng, stands[group].sales), group,
            stands[group].day + rng.uniform(0, 1) if endless else None)
        for group in (0, 1) for member in np.flatnonzero(rng.random(5) < 0.7).tolist()
    ]  # fmt: skip
    return Case(data, requests(data, stands, asks or [Ask(0, {})]))


def some(rng: np.random.Generator, of: Sequence[int], count: SupportsIndex) -> list[int]:
    return [int(sale) for sale in rng.permutation(of)[: int(count)]]


def drawn(rng: np.random.Generator, shelf: Sequence[int]) -> dict[int, Kind]:
    return {sale: KINDS[rng.integers(4)] for sale in sorted(some(rng, shelf, rng.integers(5)))}


def scorer(seed: int, levels: int = 3) -> Scorer:
    def scores(asked: Requests, rows: slice) -> F32:
        shelf = asked.shelf(int(asked.group[rows.start]))
        luck = uniform(seed, asked.member[rows, None], asked.at[rows, None], shelf[None])
        return np.floor(luck * levels).astype(np.float32)

    return scores


def constant(asked: Requests, rows: slice) -> F32:
    return scorer(0, levels=1)(asked, rows)


def by_hand(asked: Requests, of: Scorer) -> Callable[[int], dict[int, float]]:
    """Row of a request -> score of each sale."""

    def scores(row: int) -> dict[int, float]:
        shelf = asked.shelf(int(asked.group[row])).tolist()
        return dict(zip(shelf, of(asked, slice(row, row + 1))[0].tolist(), strict=True))

    return scores


def whole(asked: Requests, of: Scorer, *, seed: int) -> Callable[[int], list[int]]:
    """Row of a request -> its shelf, best first."""

    def order(row: int) -> list[int]:
        scores = by_hand(asked, of)(row)
        shelf = np.array(list(scores), dtype=np.int32)
        ties = dict(
            zip(scores, tie_bits(asked.member[row : row + 1], shelf, seed)[0].tolist(), strict=True)
        )
        return sorted(scores, key=lambda sale: (scores[sale], ties[sale]), reverse=True)

    return order


def same(report: slow.Table, expected: slow.Table) -> None:
    assert {w: sorted(f) for w, f in report.items()} == {w: sorted(f) for w, f in expected.items()}
    for where, figures in expected.items():
        for name, (value, n) in figures.items():
            assert report[where][name] == pytest.approx((value, n), abs=1e-6), (where, name)


def plain(found: Mapping[str, Mapping[str, Estimate]]) -> slow.Table:
    """slice -> figure -> (value, n), without differences and reach."""
    return {
        where: {
            name: (figure.value, figure.n)
            for name, figure in figures.items()
            if "_minus_" not in name and not name.startswith(REACH)
        }
        for where, figures in found.items()
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.booleans(), st.booleans())
def test_every_figure_of_every_slice_is_what_a_slow_loop_finds(
    seed: int, endless: bool, bare: bool
) -> None:
    made = case(seed, endless=endless, bare=bare)
    scorers = {"random": scorer(1), "popular": constant}
    report = judge(made.data, made.requests, scorers, spec=SPEC)
    for name, of in scorers.items():
        expected = slow.table(
            made.data,
            made.requests,
            whole(made.requests, of, seed=SPEC.seed),
            ks=SPEC.ks,
            scores=by_hand(made.requests, of),
        )
        same(plain(report.scorers[name]), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 4))
def test_slates_are_judged_as_a_slow_loop_judges_them(seed: int, length: int) -> None:
    made, rng = case(seed), np.random.default_rng(seed)
    shown = []
    for row in range(len(made.requests)):
        shelf = made.requests.shelf(int(made.requests.group[row]))
        top = some(rng, shelf.tolist(), rng.integers(0, length + 1))
        shown.append(top + [NONE] * (length - len(top)))
    report = judge(
        made.data,
        made.requests,
        {"random": scorer(1), "popular": constant},
        spec=SPEC,
        slates={"slates": slates(made.requests.member.tolist(), shown)},
    )
    expected = slow.table(
        made.data, made.requests, lambda row: [s for s in shown[row] if s != NONE], ks=(length,)
    )
    same(plain(report.scorers["slates"]), expected)


def figures_of(report: Report) -> dict[tuple[str, str, str], Estimate]:
    return {
        (name, where, metric): figure
        for name, slices in report.scorers.items()
        for where, figures in slices.items()
        for metric, figure in figures.items()
    }


@pytest.mark.parametrize("endless", [False, True])
def test_how_requests_are_cut_into_chunks_changes_nothing(
    endless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = case(3, endless=endless)
    scorers = {"random": scorer(1), "popular": scorer(2)}
    one = figures_of(judge(made.data, made.requests, scorers, spec=SPEC))
    monkeypatch.setattr(scene_module, "CELLS", 1)
    cut = figures_of(judge(made.data, made.requests, scorers, spec=SPEC))
    assert one.keys() == cut.keys()
    for key, figure in one.items():
        assert (cut[key].value, cut[key].n) == pytest.approx((figure.value, figure.n)), key


def wide_shop(num_sales: int, members: int) -> Case:
    """Every member asks before one shelf of all sales and then engages with the first."""
    data = shop([Sale("a", "x")] * num_sales, members=members)
    asks = [Ask(member, {0: Kind.VIEW}) for member in range(members)]
    return Case(data, requests(data, [Stand(1, range(num_sales))], asks))


def test_no_matrix_of_a_chunk_exceeds_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_module, "CELLS", 100)
    made, shapes = wide_shop(40, members=9), []

    def watched(asked: Requests, rows: slice) -> F32:
        scores = constant(asked, rows)
        shapes.append(scores.shape)
        return scores

    judge(made.data, made.requests, {"random": watched, "popular": constant}, spec=SPEC)
    assert shapes == [(2, 40)] * 4 + [(1, 40)]


def test_a_shelf_wider_than_the_bound_is_judged_request_by_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scene_module, "CELLS", 10)
    made = wide_shop(40, members=3)
    report = judge(made.data, made.requests, {"random": scorer(1), "popular": constant}, spec=SPEC)
    assert report.get("popular", "mrr").n == 3


def test_a_shelf_is_looked_up_once_for_all_scorers_and_sorted_once_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = _counted(monkeypatch, judge_module, "scene")
    sorts = _counted(monkeypatch, placing, "keys")
    made = wide_shop(40, members=200)
    scorers = {"random": scorer(1), "popular": constant, "taste": scorer(2), "ease": scorer(3)}
    judge(made.data, made.requests, scorers, spec=SPEC)
    assert len(scenes) == 1
    assert len(sorts) == len(scorers)


def _counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """Return a list that grows by one at each call of a function."""
    real, calls = getattr(module, name), list[str]()

    def watched(*given: object) -> object:
        calls.append(name)
        return real(*given)

    monkeypatch.setattr(module, name, watched)
    return calls


def test_a_constant_scorer_scores_like_a_random_one() -> None:
    # the one target is sale 0: whoever broke ties by row would find it first or last
    made, k = wide_shop(40, members=4_000), 4
    spec = SPEC.model_copy(update={"ks": (k,)})
    report = judge(made.data, made.requests, {"random": scorer(1), "popular": constant}, spec=spec)
    # hits are Bernoulli(k / 40), auc of ties is 1/2 by definition, the place is uniform
    share = k / 40
    band = 3.3 * (share * (1 - share) / 4_000) ** 0.5
    found = report.scorers["popular"]["all"]
    assert abs(found[f"hit_at_{k}"].value - share) < band
    assert found["auc"].value == pytest.approx(0.5)
    assert abs(found["mean_percentile_rank"].value - 0.5) < 3.3 / (12 * 4_000) ** 0.5
    assert found[f"coverage_at_{k}"].value == 1
