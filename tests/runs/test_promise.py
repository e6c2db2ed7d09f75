from __future__ import annotations

import pytest

from recsys.evaluate.spec import Evaluate
from recsys.runs.promise import fault


def wrong(
    require: str,
    *,
    known_truth: bool = False,
    outcome_hours: float = 48.0,
    spectral: bool = False,
) -> str:
    evaluate = Evaluate(require=require, baselines=("random", "popular", "editor"))
    return fault(
        evaluate,
        slots=6,
        known_truth=known_truth,
        outcome_hours=outcome_hours,
        spectral=spectral,
    )


@pytest.mark.parametrize(
    "require",
    [
        "",
        "ndcg_at_10>popular",
        "ndcg_at_6>popular",
        "day0/recall_at_20 > 0.3",
        "some_slice/mrr>1e-3",
        "slates:ndcg_at_6>editor",
        "editor:ndcg_at_10_minus_popular>0",
        "gini_at_10>random",
    ],
)
def test_a_gate_on_what_will_be_judged_is_accepted(require: str) -> None:
    assert not wrong(require)


@pytest.mark.parametrize(
    ("require", "text"),
    [
        ("ndgc_at_10>popular", "no metric called 'ndgc_at_10'\n  did you mean:  ndcg_at_10"),
        ("ndcg_at_11>popular", "lengths that are: 6, 10, 20"),
        ("slates:ndcg_at_10>editor", "lengths that are: 6"),
        ("slaets:ndcg_at_6>editor", "did you mean:  slates"),
        ("ndcg_at_10>ease", "no scorer or number called 'ease'"),
        ("ndcg_at_10>nan", "no scorer or number called 'nan'"),
        ("oracle:ndcg_at_10>popular", "no scorer called 'oracle'"),
        ("ndcg_at_10>popular_1h", "no scorer or number called 'popular_1h'"),
    ],
)
def test_a_gate_on_what_no_report_will_hold_names_the_nearest(require: str, text: str) -> None:
    assert text in wrong(require)


def test_some_rivals_depend_on_the_shop() -> None:
    assert not wrong("oracle:ndcg_at_10>popular", known_truth=True)
    assert not wrong("ndcg_at_10>popular_1h", outcome_hours=1.0)
    assert not wrong("ndcg_at_10>taste_alone", spectral=True)
    assert "taste_alone" in wrong("ndcg_at_10>taste_alone")
