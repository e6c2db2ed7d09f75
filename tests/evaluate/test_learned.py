"""Logistic regression and boosted trees as baselines."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.data.requests import blocks
from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, Kind
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.evaluate import learned
from recsys.evaluate.baselines import popular
from recsys.evaluate.counts import OwnCounts
from recsys.evaluate.judge import judge
from recsys.evaluate.learned import Chance, examples, learned_baselines
from recsys.evaluate.spec import Evaluate
from recsys.rerank.calibrate import sigmoid
from recsys.rerank.desk import Desk
from recsys.rerank.signals import NAMES
from tests.builders import tiny_dataset
from tests.evaluate.hand import Ask, Did, Sale, Stand, requests, shop

SPEC = Evaluate(learned_negatives=3, bootstrap_draws=100)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_dataset(days=30)


@pytest.fixture(scope="module")
def towers(data: Dataset) -> Requests:
    return blocks(data, Source()).towers


class First:
    """A model whose chance is the first signal; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = list[tuple[int, ...]]()

    def predict(self, x: F32) -> F32:
        self.asked.append(x.shape)
        return sigmoid(x[..., 0])

    def contributions(self, x: F32) -> F32:
        return x


def chance(data: Dataset, most: int) -> tuple[Chance, First]:
    model = First()
    likely = OwnCounts(data.history, 60.0 * DAY, popular(data))
    return Chance(model, Desk.of(data.shop), likely, most), model


def test_all_outcomes_and_some_others_are_learned_from(data: Dataset, towers: Requests) -> None:
    x, y = examples(Desk.of(data.shop), towers, spec=SPEC)
    assert x.shape == (len(y), len(NAMES))
    assert y.sum() == len(towers.target_sale)
    # drawn with replacement; a draw that hits an outcome is dropped
    assert len(towers) < (~y).sum() <= SPEC.learned_negatives * len(towers)
    assert np.isfinite(x).all()


def test_no_outcome_is_learned_from_as_if_it_were_none() -> None:
    asks = [Ask(0, {0: Kind.VIEW, 1: Kind.VIEW}), Ask(1, {1: Kind.CART}), Ask(2, {})]
    shelf = shop([Sale("a"), Sale("b")], [Did(0, 0, 0.5)])
    asked = requests(shelf, [Stand(1, (0, 1))], asks)
    spec = SPEC.model_copy(update={"learned_negatives": 20})
    _, y = examples(Desk.of(shelf.shop), asked, spec=spec)
    # member 0 engages with all there is; member 1 leaves some draws; member 2 leaves all
    assert y.sum() == 3
    assert 20 < (~y).sum() < 40


def test_the_newest_requests_are_learned_from(data: Dataset, towers: Requests) -> None:
    spec = SPEC.model_copy(update={"learned_requests": 30})
    _, y = examples(Desk.of(data.shop), towers, spec=spec)
    newest = np.argsort(towers.at, kind="stable")[-30:]
    assert y.sum() == np.diff(towers.target_ptr)[newest].sum()


def test_what_is_sampled_depends_on_the_seed_alone(data: Dataset, towers: Requests) -> None:
    desk = Desk.of(data.shop)
    x, y = examples(desk, towers, spec=SPEC)
    again, _ = examples(desk, towers, spec=SPEC)
    np.testing.assert_array_equal(x, again)
    other, z = examples(desk, towers, spec=SPEC.model_copy(update={"seed": 1}))
    assert x.shape != other.shape or (x != other).any()
    assert y.sum() == z.sum()


def test_a_narrow_shelf_is_scored_whole(data: Dataset, towers: Requests) -> None:
    scorer, model = chance(data, most=100)
    scores = scorer(towers, slice(0, 2))
    width = len(towers.shelf(0))
    assert scores.shape == (2, width)
    assert model.asked == [(2, width, len(NAMES))]
    assert (scores > 0).all()


def test_on_a_wide_shelf_the_likeliest_are_scored_and_the_rest_follows(
    data: Dataset, towers: Requests
) -> None:
    last = towers.num_groups - 1
    rows = towers.rows(last)
    whole, _ = chance(data, most=100)
    scorer, model = chance(data, most=3)
    scores, full = scorer(towers, rows), whole(towers, rows)
    assert model.asked == [(rows.stop - rows.start, 3, len(NAMES))]
    rough = scorer.likely(towers, rows)
    for found, all_, likely in zip(scores, full, rough, strict=True):
        asked = found >= 0
        assert asked.sum() == 3
        np.testing.assert_array_equal(found[asked], all_[asked])
        assert likely[asked].min() >= likely[~asked].max()
        # what was not asked for stands below, in the order of what is likely
        rest = np.argsort(likely[~asked], kind="stable")
        assert (np.diff(found[~asked][rest]) >= 0).all()


def test_signals_of_a_wide_shelf_are_made_in_bounded_parts(
    data: Dataset, towers: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = towers.rows(towers.num_groups - 1)
    whole, _ = chance(data, most=4)
    scores = whole(towers, rows)
    monkeypatch.setattr(learned, "CELLS", 12)
    parts, model = chance(data, most=4)
    np.testing.assert_array_equal(parts(towers, rows), scores)
    assert {shape[0] * shape[1] for shape in model.asked[:-1]} == {12}
    assert len(model.asked) == -(-(rows.stop - rows.start) // 3)


@pytest.mark.parametrize("name", ["logistic", "boosted"])
def test_what_is_learned_beats_a_guess_where_there_is_taste(
    name: str, data: Dataset, towers: Requests
) -> None:
    spec = SPEC.model_copy(update={"baselines": (name,)})
    found = learned_baselines(data, towers, spec=spec)
    assert found.keys() == {name}
    assert found[name].seconds > 0

    def constant(asked: Requests, rows: slice) -> F32:
        width = len(asked.shelf(int(asked.group[rows.start])))
        return np.zeros((rows.stop - rows.start, width), dtype=np.float32)

    scorers = {"random": constant, "popular": constant, name: found[name].scorer}
    report = judge(data, blocks(data, Source()).test, scorers, spec=SPEC)
    assert report.get(name, "all/auc").low > 0.5


def test_what_is_not_installed_is_left_out_and_the_notes_name_it(
    data: Dataset, towers: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "find_spec", lambda _: None)
    spec = SPEC.model_copy(update={"baselines": ("logistic", "boosted")})
    assert learned_baselines(data, towers, spec=spec) == {}
    scorer, _ = chance(data, most=9)
    report = judge(data, towers, {"random": scorer, "popular": scorer}, spec=spec)
    assert report.notes[-1] == (
        "not judged: logistic, boosted (logistic and boosted need pasts in order and "
        "pip install 'noon-recsys[value]')"
    )


def test_nothing_to_tell_apart_teaches_nothing() -> None:
    data = shop([Sale("a")], [Did(0, 0, 0.5)])
    asked = requests(data, [Stand(1, (0,))], [Ask(0, {0: Kind.VIEW}), Ask(1, {0: Kind.VIEW})])
    assert learned_baselines(data, asked, spec=SPEC) == {}


def test_what_is_not_asked_for_is_not_sampled(
    data: Dataset, towers: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "examples", None)
    spec = SPEC.model_copy(update={"baselines": ("popular",)})
    assert learned_baselines(data, towers, spec=spec) == {}


def test_later_events_change_no_chance() -> None:
    before = [Did(0, 0, 0.5, Kind.PURCHASE), Did(1, 1, 0.6)]
    after = [*before, Did(0, 1, 2), Did(1, 0, 3, Kind.PURCHASE)]
    found = []
    for did in (before, after):
        data = shop([Sale("a"), Sale("b"), Sale("a")], did)
        asked = requests(data, [Stand(1, (0, 1, 2))], [Ask(m, {}) for m in range(3)])
        scorer, _ = chance(data, most=9)
        x, _ = examples(Desk.of(data.shop), asked, spec=SPEC)
        found.append((scorer(asked, slice(0, 3)), x))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
