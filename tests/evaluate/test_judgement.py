"""What a judgement says beside its figures: reach, differences, headline, notes, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.events import Kind
from recsys.domain.report import Report
from recsys.domain.requests import Requests
from recsys.evaluate.judge import judge
from recsys.evaluate.scorer import Scorer
from recsys.evaluate.spec import Evaluate
from tests.evaluate.hand import Ask, Sale, Stand, requests, shop, slates

SPEC = Evaluate(ks=(2,), bootstrap_draws=100, headline="day0/ndcg_at_2")
SHELF = (0, 1, 2, 3)


def prefers(*sales: int) -> Scorer:
    """Everybody gets these sales first, in this order."""

    def scores(asked: Requests, rows: slice) -> F32:
        shelf = asked.shelf(int(asked.group[rows.start])).tolist()
        score = [-sales.index(sale) if sale in sales else -9 for sale in shelf]
        return np.tile(np.array(score, dtype=np.float32), (rows.stop - rows.start, 1))

    return scores


def made(
    targets: Sequence[int] = (0, 0, 3), *, opens: float = 0.0, task: str = "shelf"
) -> tuple[Dataset, Requests]:
    data = shop(
        [Sale("a", "x", opens)] * 4,
        members=len(targets),
        task="endless" if task == "endless" else "shelf",
    )
    asks = [
        Ask(member, {} if target < 0 else {target: Kind.VIEW})
        for member, target in enumerate(targets)
    ]
    return data, requests(data, [Stand(0.5, SHELF)], asks)


def report(
    targets: Sequence[int] = (0, 0, 3), more: Mapping[str, Scorer] | None = None, **kind: object
) -> Report:
    data, asked = made(targets, **kind)  # type: ignore[arg-type]  # tests name real arguments
    scorers = {"random": prefers(3, 2), "popular": prefers(2, 3), "taste": prefers(0, 1)}
    return judge(data, asked, scorers | dict(more or {}), spec=SPEC)


def test_reach_is_counted_over_all_that_stood_on_a_shelf() -> None:
    found = report().scorers["taste"]["all"]
    assert found["coverage_at_2"].value == pytest.approx(2 / 4)
    assert found["p90_coverage_at_2"].value == pytest.approx(2 / 4)
    # counts 0 0 3 3: half the sales hold everything
    assert found["gini_at_2"].value == pytest.approx(0.5)


def test_reach_leaves_out_sales_that_never_stood_on_a_shelf() -> None:
    data = shop([Sale("a")] * 6, members=1)
    asked = requests(data, [Stand(0.5, (1, 3))], [Ask(0, {3: Kind.VIEW})])
    found = judge(data, asked, {"random": prefers(1), "popular": prefers(3)}, spec=SPEC)
    assert found.get("random", "coverage_at_2").value == 1


def test_the_difference_to_popular_is_stored_with_its_paired_interval() -> None:
    found = report().scorers["taste"]["day0"]["ndcg_at_2_minus_popular"]
    discount = 1 / np.log2(3)
    assert found.value == pytest.approx((1 + 1 - discount) / 3)
    assert found.low <= found.value <= found.high
    assert found.n == 3


def test_a_scorer_that_equals_its_rival_differs_by_nothing_in_every_draw() -> None:
    found = report(more={"twin": prefers(2, 3)}).scorers["twin"]["all"]
    difference = found["ndcg_at_2_minus_popular"]
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_the_best_baseline_is_a_rival_and_ours_is_none() -> None:
    found = report(more={"ease": prefers(0, 3), "oracle": prefers(0, 3)})
    names = found.scorers["taste"]["day0"].keys()
    assert {name for name in names if "_minus_" in name} == {
        "ndcg_at_2_minus_popular",
        "ndcg_at_2_minus_ease",
    }
    assert "ndcg_at_2_minus_ease" not in found.scorers["ease"]["day0"]


def test_nobody_is_held_against_ours() -> None:
    found = report()
    assert max(found.scorers, key=lambda name: found.get(name, found.headline).value) == "taste"
    metrics = {metric for one in found.scorers.values() for metric in one["day0"]}
    assert {metric for metric in metrics if "_minus_" in metric} == {
        "ndcg_at_2_minus_popular",
        "ndcg_at_2_minus_random",
    }


def test_the_headline_is_all_where_no_sale_is_young_or_the_catalogue_is_endless() -> None:
    assert report().headline == "day0/ndcg_at_2"
    assert report(opens=-3.0).headline == "all/ndcg_at_2"
    assert report(task="endless").headline == "all/ndcg_at_2"


def test_the_lengths_of_slates_are_judged_for_everybody() -> None:
    data, asked = made()
    found = judge(
        data,
        asked,
        {"random": prefers(3), "popular": prefers(2)},
        spec=SPEC,
        slates={"slates": slates([0, 1, 2], [[0, 1, 2]] * 3)},
    )
    assert {"ndcg_at_2", "ndcg_at_3"} <= found.scorers["popular"]["all"].keys()
    assert "ndcg_at_2" not in found.scorers["slates"]["all"]
    assert found.get("slates", "recall_at_3").value == pytest.approx(2 / 3)
    assert "ndcg_at_2_minus_popular" not in found.scorers["slates"]["all"]


def test_requests_without_an_outcome_are_counted_and_left_out() -> None:
    found = report(targets=(0, -1, 3))
    assert "3 requests of 3 members on 1 shelves; 1 without an outcome" in found.notes[0]
    assert found.get("taste", "ndcg_at_2").n == 2
    assert found.get("taste", "coverage_at_2").n == 3


def test_nothing_followed_anywhere_leaves_what_is_shown() -> None:
    found = report(targets=(-1, -1, -1))
    assert "mrr" not in found.scorers["taste"]["all"]
    assert found.get("taste", "coverage_at_2").value == pytest.approx(2 / 4)
    assert "day0" not in found.scorers["taste"]


def test_the_notes_tell_what_baselines_do_not_know() -> None:
    data, asked = made()
    spec = SPEC.model_copy(
        update={"ease_sales": 3, "learned_candidates": 2, "baselines": ("ease", "logistic")}
    )
    scorers = {"random": prefers(3), "popular": prefers(2), "ease": prefers(1)}
    notes = " ".join(judge(data, asked, scorers, spec=spec).notes)
    assert "ease, item_knn and gf_cf know the 3 most popular of 4 sales" in notes
    assert "not judged: logistic" in notes
    assert "pip install" in notes
    assert "logistic and boosted weigh" not in notes
    learned = judge(data, asked, scorers | {"logistic": prefers(0)}, spec=spec)
    assert any("weigh 2 sales of each shelf" in note for note in learned.notes)


def test_seconds_of_fits_stand_beside_those_of_judging() -> None:
    data, asked = made()
    scorers = {"random": prefers(3), "popular": prefers(2)}
    found = judge(data, asked, scorers, spec=SPEC, seconds={"popular": 3.0})
    assert found.seconds.keys() == {"popular", "judging"}
    assert found.seconds["popular"] == 3


def test_the_same_again_is_the_same() -> None:
    assert report().scorers == report().scorers


def test_families_of_slices_can_be_left_out() -> None:
    data, asked = made()
    scorers = {"random": prefers(3), "popular": prefers(2)}
    spec = SPEC.model_copy(update={"slices": ()})
    assert judge(data, asked, scorers, spec=spec).scorers["popular"].keys() == {"all"}


def test_a_judgement_without_baselines_is_refused() -> None:
    data, asked = made()
    with pytest.raises(ValueError, match=r"needs its baselines; missing: \['popular', 'random'\]"):
        judge(data, asked, {"taste": prefers(0)}, spec=SPEC)


def test_no_requests_are_refused() -> None:
    data, asked = made()
    with pytest.raises(ValueError, match="no requests"):
        judge(data, asked.take(np.zeros(0, dtype=np.int64)), {"popular": prefers(0)}, spec=SPEC)


def test_slates_of_other_members_are_refused() -> None:
    data, asked = made()
    with pytest.raises(ValueError, match="slates 'slates': 2 rows are not those of the 3"):
        judge(data, asked, {}, spec=SPEC, slates={"slates": slates([0, 1], [[0], [0]])})


def test_scores_of_another_shelf_are_refused() -> None:
    data, asked = made()

    def short(_: Requests, rows: slice) -> F32:
        return np.zeros((rows.stop - rows.start, 2), dtype=np.float32)

    with pytest.raises(ValueError, match=r"scores \(3, 2\)"):
        judge(data, asked, {"random": short, "popular": short}, spec=SPEC)


@pytest.mark.parametrize("require", ["ndcg_at_10", "day0/ndcg>", ">popular", "a b>c"])
def test_a_gate_that_cannot_be_read_is_refused_in_the_settings(require: str) -> None:
    with pytest.raises(ValidationError):
        Evaluate(require=require)


@pytest.mark.parametrize("headline", ["day0", "dya0/ndcg_at_10", "day0/ndcg", "all/gini_at_10"])
def test_a_headline_that_no_report_holds_is_refused_in_the_settings(headline: str) -> None:
    with pytest.raises(ValidationError, match="headline"):
        Evaluate(headline=headline)


def test_a_headline_at_a_length_that_is_not_judged_is_refused_in_the_settings() -> None:
    with pytest.raises(ValidationError, match="lists of 10 are not judged"):
        Evaluate(ks=(5,))
    Evaluate(ks=(5,), headline="all/mrr")
