from __future__ import annotations

import math

import pytest

from recsys.domain.errors import GateError, SettingError
from recsys.domain.report import Estimate, Report
from recsys.evaluate.gate import met
from recsys.evaluate.spec import Evaluate
from tests.evaluate.materials import estimate
from tests.evaluate.materials import report as made


def test_no_gate_is_met_by_everything() -> None:
    met(made(), "")


@pytest.mark.parametrize(
    "require",
    [
        "day0/ndcg_at_10>popular",
        " day0/ndcg_at_10 > popular ",
        "ndcg_at_10>0.39",
        "ndcg_at_10>3.9e-1",
        "slates:recall_at_6>0.3",
        "slates:recall_at_6>ease",
        "popular:day0/ndcg_at_10>random",
    ],
)
def test_a_gate_that_is_met_lets_pass(require: str) -> None:
    Evaluate(require=require)
    met(made(taste=0.4), require)


def test_a_gate_that_is_not_met_says_by_how_much_and_what_to_do() -> None:
    with pytest.raises(GateError) as error:
        met(made(taste=0.15), "day0/ndcg_at_10>popular")
    said = str(error.value)
    assert "taste day0/ndcg_at_10 is not above" in said
    assert "found: 0.1500 (0.1400 to 0.1600, n = 1000) against popular 0.2000" in said
    assert "lower the gate" in said


def test_a_number_that_is_not_reached_is_named() -> None:
    with pytest.raises(GateError, match=r"against 0\.5$|against 0\.5\n"):
        met(made(), "ndcg_at_10>0.5")


def test_equal_is_not_above() -> None:
    with pytest.raises(GateError):
        met(made(taste=0.2), "day0/ndcg_at_10>popular")


def test_what_is_not_a_number_is_above_nothing() -> None:
    nothing = {"all": {"mrr": Estimate(value=math.nan, low=0, high=0, n=1)}}
    scorers = {"taste": nothing, "random": nothing, "popular": {"all": {"mrr": estimate(0.1)}}}
    with pytest.raises(GateError):
        met(Report(scorers=scorers, headline="all/mrr"), "mrr>popular")


@pytest.mark.parametrize(
    ("require", "possible"),
    [
        ("ndcg_at_11>popular", "ndcg_at_10"),
        ("nowhere/ndcg_at_10>popular", "day0"),
        ("teste:ndcg_at_10>popular", "taste"),
        ("ndcg_at_10>populer", "popular"),
        ("ndcg_at_10>nan", "popular"),
        ("ndcg_at_10", "METRIC>RIVAL"),
    ],
)
def test_a_gate_on_what_the_report_does_not_hold_names_what_it_holds(
    require: str, possible: str
) -> None:
    with pytest.raises(SettingError, match=r"evaluate\.require") as error:
        met(made(), require)
    assert possible in str(error.value).partition("possible")[2]
