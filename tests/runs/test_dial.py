"""recsys dial: a log with drawn dials and its outcomes in, a file that the next send reads out."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.campaign.slate_columns import KEY, OUTCOMES, kinds_of
from recsys.domain.errors import SettingError
from recsys.domain.ties import uniform
from recsys.evaluate.by_context import halves
from recsys.rerank.dial import CONTEXTS, GRID
from recsys.runs.dial import drawn_slates
from recsys.runs.log_spec import FindDial
from tests.builders import tiny_dataset
from tests.evaluate.test_by_context import log
from tests.runs.logs import with_dials
from tests.runs.slates_shop import Shop, log_of, shop_of
from tests.runs.starting import verb


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=120, days=10, sales_a_day=20)
    return shop_of(tmp_path_factory.mktemp("shop"), dataset)


@pytest.fixture(scope="module", name="sent")
def _sent(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop.made(dial_drawn=1.0, out=str(tmp_path_factory.mktemp("sent")))


def test_the_log_says_where_the_dial_stood_and_the_chance_at_each(shop: Shop, sent: Path) -> None:
    log = log_of(sent)
    own = log.filter(pl.col("dial").is_not_null())
    plain = log.filter(pl.col("dial").is_null())
    assert {*own["dial"]} == {np.float32(dial) for dial in GRID}
    assert {*own["context"]} <= {*CONTEXTS}
    assert plain["by_dial"].null_count() == plain["context"].null_count() == len(plain) > 0
    chances = np.stack(own["by_dial"].to_list())
    assert chances.shape == (len(own), 1 + len(GRID))
    # the dial that was drawn gives what was shown its chance
    drawn = 1 + np.searchsorted(GRID, own["dial"].to_numpy())
    assert np.isfinite(chances[np.arange(len(own)), drawn]).all()
    assert np.isneginf(chances).any()
    assert (own["log_propensity"] <= 0).all()
    usual = log_of(shop.made(out=str(sent.parent / "usual")))
    assert usual["by_dial"].null_count() == len(usual)
    assert {*usual["policy_id"]} != {*log["policy_id"]}


def outcomes(log: pl.DataFrame) -> pl.DataFrame:
    """What members did: in one slot of three of what is new, in none of what is known."""
    new = log.filter(pl.col("slot") >= 0, pl.col("new_to_member") > 0.5)
    some = new.filter(uniform(3, np.arange(len(new))) < 1 / 3)
    return some.select(
        *KEY,
        opened=True,
        clicked=True,
        visited=False,
        bought=True,
        margin=pl.lit(2.5, pl.Float32),
        unsubscribed=False,
        at=pl.col("delivered_for") + timedelta(minutes=5),
    ).select(*kinds_of(OUTCOMES))


def asked(folder: Path, log: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return verb(folder, "dial", f"root={log}", *words)


def test_half_of_the_members_choose_and_the_others_judge(shop: Shop, tmp_path: Path) -> None:
    with_dials(tmp_path, log(60_000))
    said = asked(tmp_path, tmp_path / "log", "draws=100")
    assert said.returncode == 0, said.stderr
    table = json.loads((tmp_path / "dial.json").read_text())
    dials = [*table["novelty_short"], *table["novelty_long"]]
    assert len(dials) == len(CONTEXTS)
    assert dials[0] == pytest.approx(0)
    assert dials[-1] == pytest.approx(2.8)
    assert sum(one is None for one in dials) >= 6
    assert "by the other half, paired" in said.stdout
    assert all(len(line) <= 80 for line in said.stdout.splitlines() if str(tmp_path) not in line)
    # and the next send reads it
    file = str(tmp_path / "dial.json")
    rerank = shop.sending(dial=file).job.rerank
    assert not rerank.model_dump()["novelty_drawn"]
    next_send = log_of(shop.made(dial=file, out=str(tmp_path / "out")))
    wanted = dict(zip(CONTEXTS, (0.7 if one is None else one for one in dials), strict=True))
    own = next_send.filter(pl.col("dial").is_not_null())
    for context, stood in own.select("context", "dial").unique().iter_rows():
        assert stood == pytest.approx(wanted[context])
    with pytest.raises(SettingError, match="found in a log of channel mail"):
        shop.sending(dial=file, channel="app")


def test_a_log_that_cannot_tell_writes_nothing_and_ends_with_five(
    sent: Path, tmp_path: Path
) -> None:
    outcomes(log_of(sent)).write_csv(tmp_path / "did.csv")
    said = asked(tmp_path, sent / "log", "outcomes=did.csv")
    assert said.returncode == 5
    assert "no dial is better than the one that stands" in said.stderr
    assert not (tmp_path / "dial.json").exists()
    said = asked(tmp_path, sent / "log", "outcomes=nowhere.csv")
    assert said.returncode == 2
    assert "outcomes=nowhere.csv: no such file" in said.stderr
    said = asked(tmp_path, sent / "log", "outcomes=did.csv", "channel=app")
    assert said.returncode == 5
    assert "recsys slates dial_drawn=0.5" in said.stderr


def test_a_new_brand_counts_for_what_the_shop_says(sent: Path, tmp_path: Path) -> None:
    outcomes(log_of(sent)).write_parquet(tmp_path / "outcomes.parquet")
    plain, more = (
        drawn_slates(
            FindDial(
                root=str(sent / "log"),
                outcomes=str(tmp_path / "outcomes.parquet"),
                discovery=worth,
            )
        )
        for worth in (0.0, 0.5)
    )
    bought = plain["reward"].to_numpy() > 0
    assert bought.any()
    ratio = more["reward"].to_numpy()[bought] / plain["reward"].to_numpy()[bought]
    assert (ratio > 1.2).all()
    assert (ratio <= 1.5).all()


def test_what_one_half_chose_and_the_other_denies_is_not_written(tmp_path: Path) -> None:
    frame = log(60_000)
    mine, theirs = halves(frame)
    # the other half buys where the first does not
    with_dials(tmp_path, pl.concat([mine, theirs.with_columns(reward=1 - pl.col("reward"))]))
    said = asked(tmp_path, tmp_path / "log", "draws=100")
    assert said.returncode == 5
    assert "no better for the other half" in said.stderr
    assert not (tmp_path / "dial.json").exists()
