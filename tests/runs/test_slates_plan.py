from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.campaign.arms import assign
from recsys.campaign.pace import Way
from recsys.domain.errors import SettingError
from recsys.runs.load import compose
from recsys.runs.slates import Campaign, refused, slates
from recsys.runs.slates_plan import deadline, members_of
from recsys.runs.slates_sending import Dealt
from recsys.runs.slates_spec import SlatesForAll
from tests.builders import tiny_dataset
from tests.runs.slates_shop import Shop, shop_of


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=60, days=10, sales_a_day=20)
    return shop_of(tmp_path_factory.mktemp("shop"), dataset)


def test_the_log_says_who_is_in_which_arm_and_the_hold_out_has_the_plain_slate(
    tmp_path: Path,
) -> None:
    shop = shop_of(tmp_path, tiny_dataset(members=400, days=6, sales_a_day=12))
    (tmp_path / "arms.json").write_text('{"name": "x", "arms": [{"name": "a"}, {"name": "b"}]}')
    named = {"arms": str(tmp_path / "arms.json")}
    sending = shop.sending(**named)
    arms = sending.job.arms
    assert arms is not None
    asked = members_of(shop.spec(**named), sending.seat, arms)
    dealt = Dealt(asked.ids, asked.rows, assign(asked.ids, arms))
    log = sending.log_rows(sending.fill(dealt, Way.VALUE))
    by_arm = dict(log.group_by("arm").agg(pl.col("member_id").n_unique()).iter_rows())
    assert by_arm.keys() == {"a", "b", "hold_out"}
    assert min(by_arm["a"], by_arm["b"]) > 150
    held = log.filter(pl.col("arm") == "hold_out")
    assert held.n_unique(["slot", "sale_id"]) == held["slot"].n_unique()
    assert {sending.job.policies[Way.PLAIN]} == {*held["policy_id"]}
    only_b = members_of(shop.spec(**named, arm="b"), sending.seat, arms)
    assert {*only_b.ids} == {*log.filter(pl.col("arm") == "b")["member_id"]}
    assert not only_b.everyone
    # late is who would have had one of their own, not whom rules left without a sale
    hurried = sending.said(sending.fill(dealt, Way.PLAIN))
    assert hurried["late"] == 400 - hurried["withheld"] - by_arm["hold_out"] + int(
        (~sending.consents(dealt) & (dealt.group == arms.groups.index("hold_out"))).sum()
    )
    made = sending.fill(dealt, Way.VALUE)
    nobody = replace(made.decided, personal=np.zeros(400, dtype=np.bool_))
    assert sending.said(replace(made, decided=nobody))["late"] == 0


@pytest.mark.parametrize(
    ("text", "now", "then"),
    [
        ("11:58", "2026-03-28T10:00", "2026-03-28T10:58"),
        ("11:58", "2026-03-28T10:58", "2026-03-29T09:58"),
        ("11:58", "2026-10-24T23:00", "2026-10-25T10:58"),
        ("2026-03-28T11:58+01:00", "2026-03-28T10:00", "2026-03-28T10:58"),
    ],
)
def test_a_time_of_day_is_the_next_one_on_the_shops_own_clock(
    text: str, now: str, then: str
) -> None:
    found = deadline(text, "Europe/Paris", datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(then).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"finish_by": "2020-01-01T09:00"}, "is over"),
        ({"at": "2020-01-01T09:00"}, "no sale is on offer"),
        ({"members": "nowhere.csv"}, "no such file"),
        ({"arms": "nowhere.json"}, "No such file"),
        ({"arms": __file__}, "says no experiment"),
        ({"arm": "a"}, "there is no such arm"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    shop: Shop, more: dict[str, Any], *, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=said):
        shop.made(out=str(tmp_path / "out"), **more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["finish_by=soon"], ["at=11:58"], ["slots=0"]])
def test_settings_that_say_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(SettingError):
        compose("slates", SlatesForAll, words)


def test_a_time_of_day_reaches_the_run_as_it_was_typed() -> None:
    spec = compose("slates", SlatesForAll, ["finish_by=11:58"])
    assert spec.finish_by == "11:58"


def test_a_dry_run_writes_nothing(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slates(shop.spec(out=str(tmp_path / "out"), dry_run=True, members_per_shard=15))
    assert not (tmp_path / "out").exists()
    assert "60, 6 slots each" in capsys.readouterr().out


def test_who_does_not_agree_to_mail_is_written_to_by_no_mail(tmp_path: Path) -> None:
    agreed = np.arange(60) % 3 > 0
    shop = shop_of(tmp_path, tiny_dataset(members=60, days=10, sales_a_day=20), mail=agreed)
    seat = shop.sending().seat
    mailed = members_of(shop.spec(channel="mail"), seat, None)
    np.testing.assert_array_equal(mailed.rows, np.flatnonzero(agreed))
    assert (mailed.unwritten, mailed.everyone) == (20, True)
    shown = members_of(shop.spec(channel="web"), seat, None)
    assert (len(shown.rows), shown.unwritten, shown.everyone) == (60, 0, True)
    nobody = shop_of(
        tmp_path / "nobody", tiny_dataset(members=60, days=10, sales_a_day=20), mail=agreed & False
    )
    with pytest.raises(SettingError, match="consents to mail"):
        members_of(nobody.spec(channel="mail"), nobody.sending(channel="web").seat, None)


def test_arms_that_hold_other_members_than_they_should_are_refused(
    shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "arms.json").write_text('{"name": "x", "arms": [{"name": "a"}, {"name": "b"}]}')
    spec = shop.spec(arms=str(tmp_path / "arms.json"))
    sending = shop.sending(arms=str(tmp_path / "arms.json"))
    asked = members_of(spec, sending.seat, sending.job.arms)
    send = Campaign(spec, sending, asked, None, time.time)
    assert refused(send, {"a": 5_010, "b": 4_990, "hold_out": 100}) is None
    why = refused(send, {"a": 5_300, "b": 4_700, "hold_out": 100})
    assert why is not None
    assert "arms hold 5,300, 4,700 members, wanted 5,000.0, 5,000.0" in why
    some = replace(send, asked=replace(asked, everyone=False))
    assert refused(some, {"a": 5_300, "b": 4_700}) is None
