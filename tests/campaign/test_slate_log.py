from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.campaign.arms import Arm, Experiment, assign
from recsys.campaign.caps import Verdict
from recsys.campaign.slate_columns import SLATE_LOG, check_rows, refuse_repeats
from recsys.campaign.slate_log import Offered, Send, Served, policy_id, rows_of
from recsys.domain.arrays import NONE
from recsys.domain.slates import FLAG_PINNED, FLAG_REPAIRED, PARTS, Reason, Slates
from recsys.rerank.spec import Blend, Pure
from recsys.rerank.utility import ordered_sum
from tests.campaign.logged import DECIDED, MEMBERS, NOON, offered_for, send_of, slates_of

SEEDS = st.integers(0, 2**32 - 1)


def logged(seed: int = 1, *, members: int = MEMBERS) -> tuple[Slates, Offered, pl.DataFrame]:
    slates = slates_of(seed, np.arange(members))
    offered = offered_for(slates, seed)
    return slates, offered, rows_of(slates, send_of(), offered)


def sent(slates: Slates, offered: Offered) -> list[tuple[int, int]]:
    """Member and slot of each row of the log, by hand; slot -1 = sent nothing."""
    assert offered.verdict is not None
    found = []
    for row in range(len(slates.members)):
        slots = np.flatnonzero(slates.sales[row] != NONE).tolist()
        found += [(row, slot) for slot in ([] if offered.verdict[row] else slots) or [-1]]
    return found


@settings(max_examples=25)
@given(seed=SEEDS, members=st.integers(0, MEMBERS))
def test_every_filled_slot_has_one_row_and_who_is_sent_nothing_has_one_too(
    seed: int, members: int
) -> None:
    slates, offered, rows = logged(seed, members=members)
    check_rows(rows, SLATE_LOG, "here")
    refuse_repeats(rows, "here")
    found = [*zip(rows["member_id"].to_list(), rows["slot"].to_list(), strict=True)]
    assert found == [(f"m{row}", slot) for row, slot in sent(slates, offered)]


def test_a_row_says_what_the_slate_says() -> None:
    slates, offered, rows = logged()
    send, by_hand = send_of(), sent(*logged()[:2])
    assert offered.rule is not None
    for row, (member, slot) in zip(rows.to_dicts(), by_hand, strict=True):
        if slot < 0:
            continue
        at = (member, slot)
        sale, evidence, rule = slates.sales[at], slates.evidence[at], offered.rule[at]
        group = send.served[int(send.group[member])]
        repaired = bool(slates.flags[at] == FLAG_REPAIRED)
        said = {
            **dict(zip(PARTS, slates.parts[at].tolist(), strict=True)),
            "send_id": "friday",
            "decided_at": DECIDED,
            "delivered_for": NOON,
            "channel": "mail",
            "sale_id": f"sale {sale}",
            "log_propensity": None if repaired else float(slates.log_propensity[at]),
            "eligible_count": int(offered.eligible_count[member]),
            "eligible_hash": int(offered.eligible_hash[member]),
            "margin": float(slates.margin[at]),
            "new_to_member": float(offered.new[at]),
            "curated": sale % 5 == 0,
            "reason": Reason(slates.reason[at]).name.lower(),
            "evidence_id": None if evidence == NONE else f"sale {evidence}",
            "pinned": slates.flags[at] == FLAG_PINNED,
            "repaired": repaired,
            "rule_id": None if rule == NONE else send.rules[rule],
            "arm": group.arm,
            "policy_id": group.policy_id,
            "prices_id": group.prices_id,
            "bundle": "b" * 16,
            "seed": 7,
        }
        assert {name: row[name] for name in said} == said


def test_the_parts_of_a_row_add_up_to_its_utility_and_gain_bit_for_bit() -> None:
    slates, _, rows = logged()
    amounts = np.stack([rows[name].to_numpy() for name in PARTS])
    assert amounts.dtype == np.float32
    utility = ordered_sum(amounts[:-1])
    np.testing.assert_array_equal(rows["utility"].to_numpy(), utility)
    np.testing.assert_array_equal(rows["gain"].to_numpy(), utility + amounts[-1])
    # in any other order it is another number: the law is not empty
    assert (ordered_sum(amounts[-2::-1].copy()) != utility).any()
    assert slates.parts.dtype == np.float32


@settings(max_examples=20)
@given(seed=SEEDS, cut=st.integers(0, MEMBERS))
def test_rows_do_not_depend_on_the_chunk(seed: int, cut: int) -> None:
    slates, offered, whole = logged(seed)
    parts = []
    for rows in (slice(cut), slice(cut, None)):
        some = Slates(**{field.name: getattr(slates, field.name)[rows] for field in fields(Slates)})
        beside = Offered(**{f.name: getattr(offered, f.name)[rows] for f in fields(Offered)})
        parts.append(rows_of(some, send_of(), beside))
    assert pl.concat(parts).equals(whole, null_equal=True)


def test_a_member_who_is_sent_nothing_is_logged_with_the_reason_and_nothing_else() -> None:
    _, offered, rows = logged()
    assert offered.verdict is not None
    nothing = rows.filter(pl.col("slot") == -1)
    assert nothing.height > 5
    for row in nothing.to_dicts():
        verdict = offered.verdict[int(row["member_id"][1:])] or Verdict.NOTHING_TO_SHOW
        assert row["reason"] == Verdict(verdict).name.lower()
        assert row["sale_id"] is row["evidence_id"] is row["rule_id"] is None
        assert not any(row[name] for name in (*PARTS, "utility", "gain", "margin", "curated"))
        assert not any(row[name] for name in ("pinned", "explored", "repaired", "new_to_member"))
        assert row["log_propensity"] == 0
        assert row["eligible_count"] == offered.eligible_count[int(row["member_id"][1:])]
    assert {"too_soon", "nothing_to_show", "not_worth_sending"} <= {*nothing["reason"]}


def test_without_verdicts_and_rules_everyone_is_sent_their_slate() -> None:
    slates, offered, _ = logged()
    rows = rows_of(slates, send_of(), replace(offered, verdict=None, rule=None))
    assert rows.filter(pl.col("slot") >= 0).height == (slates.sales != NONE).sum()
    assert rows["rule_id"].null_count() == rows.height


def test_a_margin_above_nothing_left_out_is_infinite() -> None:
    slates, offered, _ = logged()
    rows = rows_of(replace(slates, margin=np.full_like(slates.margin, np.inf)), send_of(), offered)
    assert (rows.filter(pl.col("slot") >= 0)["margin"] == np.inf).all()


@pytest.mark.parametrize(
    ("flag", "chance"), [(0, np.nan), (0, -np.inf), (0, 0.1), (FLAG_REPAIRED, -0.5)]
)
def test_a_log_propensity_that_is_none_is_refused(flag: int, chance: float) -> None:
    slates, offered, _ = logged()
    whole = replace(offered, verdict=None)
    row, slot = (int(place[0]) for place in np.nonzero(slates.sales != NONE))
    flags, logs = slates.flags.copy(), slates.log_propensity.copy()
    flags[row, slot], logs[row, slot] = flag, chance
    wrong = replace(slates, flags=flags, log_propensity=logs)
    with pytest.raises(ValueError, match="1 log propensities are none"):
        rows_of(wrong, send_of(), whole)
    held = np.full(MEMBERS, Verdict.TOO_SOON, dtype=np.uint8)
    assert rows_of(wrong, send_of(), replace(whole, verdict=held)).height == MEMBERS


def test_a_member_has_one_slate_a_send() -> None:
    twice = slates_of(1, np.array([3, 3]))
    with pytest.raises(ValueError, match="two slates"):
        rows_of(twice, send_of(), offered_for(twice))


def test_arms_stand_in_the_log_as_they_were_assigned() -> None:
    asked = Experiment(name="dial", arms=(Arm(name="low"), Arm(name="high")), last=0.8)
    ids = [f"m{row}" for row in range(MEMBERS)]
    served = tuple(Served(group, f"policy of {group}") for group in asked.groups)
    send = replace(send_of(), served=served, group=assign(ids, asked))
    slates = slates_of(1, np.arange(MEMBERS))
    rows = rows_of(slates, send, offered_for(slates))
    said = dict(zip(rows["member_id"], rows["arm"], strict=True))
    assert said == {
        one: asked.groups[arm] for one, arm in zip(ids, assign(ids, asked), strict=True)
    }
    assert rows.filter(pl.col("policy_id") != "policy of " + pl.col("arm")).is_empty()


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("is no name", {"send_id": "../friday"}),
        ("time zone", {"decided_at": datetime(2026, 11, 27, 9, tzinfo=None)}),  # ruff: ignore[call-datetime-without-tzinfo] it is what is refused
        ("before it is decided", {"delivered_for": DECIDED - timedelta(minutes=1)}),
        ("39 groups of 40 members", {"group": np.zeros(39, dtype=np.int16)}),
        ("3 picks of 25 sales", {"curated": np.zeros(3, dtype=np.bool_)}),
        ("2 are served", {"group": np.full(40, 2, dtype=np.int16)}),
        ("2 are served", {"group": np.full(40, -1, dtype=np.int16)}),
    ],
)
def test_a_send_that_cannot_be_logged_is_refused(said: str, wrong: dict[str, object]) -> None:
    known = {field.name: getattr(send_of(), field.name) for field in fields(Send)}
    with pytest.raises(ValueError, match=said):
        Send(**{**known, **wrong})


def test_a_policys_name_changes_with_its_settings_and_its_value_model_alone() -> None:
    names = {
        policy_id(spec, value)
        for spec in (Blend(), Blend(novelty=0.8), Pure())
        for value in ("one", "other")
    }
    assert len(names) == 6
    assert all(len(name) == 16 for name in names)
    assert policy_id(Blend(), "one") == policy_id(Blend.model_validate({"novelty": 0.7}), "one")
