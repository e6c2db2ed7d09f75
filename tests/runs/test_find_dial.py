"""recsys dial: a log with drawn dials and its outcomes in, a file that the next send reads out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.domain.errors import SettingError
from recsys.domain.ties import uniform
from recsys.evaluate.by_context import halves
from recsys.rerank.dial import CONTEXTS, GRID
from recsys.rerank.fit import usual_appetite
from recsys.runs.dial import drawn_slates
from recsys.runs.log_spec import FindDial
from recsys.serve.bundle import open_bundle
from tests.builders import tiny_dataset
from tests.evaluate.test_by_context import log
from tests.runs.conftest import Trained
from tests.runs.logs import bought_from, with_dials
from tests.runs.slates_shop import Shop, log_of, shop_of, with_taste
from tests.runs.starting import verb


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=120, days=10, sales_a_day=20)
    made = with_taste()
    usual = usual_appetite(made.desk(dataset.shop), dataset.watermark)
    # what the fixture's ranker was made with parts nobody
    parted = replace(made, appetite=usual, _desk=[])
    return shop_of(tmp_path_factory.mktemp("shop"), dataset, ranker=parted)


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
    return bought_from(some)


def asked(folder: Path, log: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return verb(folder, "dial", f"root={log}", *words)


def test_half_of_the_members_choose_and_the_others_judge(shop: Shop, tmp_path: Path) -> None:
    with_dials(tmp_path, log(60_000))
    said = asked(tmp_path, tmp_path / "log", "draws=100")
    assert said.returncode == 0, said.stderr
    table = json.loads((tmp_path / "dial.json").read_text())
    dials = [table["novelty"], *table["novelty_short"], *table["novelty_long"]]
    assert len(dials) == len(CONTEXTS)
    # where nothing was chosen, the dial that stood is written down
    wanted = dict.fromkeys(CONTEXTS, 0.7) | {"short1": 0.0, "long5": 2.8}
    assert dict(zip(CONTEXTS, dials, strict=True)) == wanted
    assert "by the other half, paired" in said.stdout
    assert all(len(line) <= 80 for line in said.stdout.splitlines() if str(tmp_path) not in line)
    # and the next send reads it
    file = str(tmp_path / "dial.json")
    rerank = shop.sending(dial=file).job.rerank
    assert not rerank.model_dump()["novelty_drawn"]
    next_send = log_of(shop.made(dial=file, out=str(tmp_path / "out")))
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
    assert "the log cannot answer for any dial" in said.stderr
    assert "effective sample size" in said.stderr
    assert not (tmp_path / "dial.json").exists()
    said = asked(tmp_path, sent / "log", "outcomes=nowhere.csv")
    assert said.returncode == 2
    assert "outcomes=nowhere.csv: no such file" in said.stderr
    said = asked(tmp_path, sent / "log", "outcomes=did.csv", "channel=app")
    assert said.returncode == 5
    assert "recsys slates dial_drawn=0.5" in said.stderr
    said = asked(tmp_path, sent / "log", "outcomes=did.csv", "out=tables/dial.json")
    assert said.returncode == 2
    assert "out=tables/dial.json is no file in a folder that is there" in said.stderr
    with_dials(tmp_path, log(30_000, wants={}))
    said = asked(tmp_path, tmp_path / "log", "draws=100")
    assert said.returncode == 5
    assert "no dial is better than the one that stands" in said.stderr


def test_outcomes_of_another_log_are_no_reason_to_say_that_no_dial_is_better(
    tmp_path: Path,
) -> None:
    with_dials(tmp_path, log(3_000))
    file = tmp_path / "outcomes.parquet"
    pl.read_parquet(file).with_columns(send_id=pl.lit("another")).write_parquet(file)
    said = asked(tmp_path, tmp_path / "log")
    assert said.returncode == 5
    assert "nothing came of these slates" in said.stderr
    assert "outcomes of no slot of channel mail, left out" in said.stderr


def test_swapped_slates_are_left_out_and_too_many_are_a_reason_to_refuse(tmp_path: Path) -> None:
    with_dials(tmp_path, log(30_000), swapped=0.1)
    said = asked(tmp_path, tmp_path / "log", "draws=100")
    assert said.returncode == 5
    assert "30,000 slates" in said.stdout
    assert "of the log has no propensity, wanted at most 1%" in said.stderr


def test_several_sends_are_one_log_and_a_dial_found_before_is_kept(tmp_path: Path) -> None:
    frame = log(80_000)
    first, second = frame.head(80_000), frame.tail(80_000)
    for name, slates in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        with_dials(tmp_path / name, slates.with_columns(send=pl.lit(name)), own=0.35)
    told = [pl.read_parquet(tmp_path / name / "outcomes.parquet") for name in ("a", "b")]
    pl.concat(told).write_parquet(tmp_path / "outcomes.parquet")
    said = asked(tmp_path, tmp_path / "*" / "log", "draws=100")
    assert said.returncode == 0, said.stderr
    assert "80,000 slates of channel mail" in said.stdout
    table = json.loads((tmp_path / "dial.json").read_text())
    assert table["novelty_short"] == [0.0, 0.35, 0.35, 0.35, 0.35]
    assert table["novelty"] == pytest.approx(0.35)


def test_an_earlier_round_is_read_beside_the_dial_that_stands_now(tmp_path: Path) -> None:
    frame = log(6_000)

    def send(name: str, *, own: float, day: int) -> tuple[pl.DataFrame, tuple[str, ...]]:
        (tmp_path / name).mkdir()
        slates = frame.with_columns(send=pl.lit(name))
        with_dials(tmp_path / name, slates, own=own, day=day)
        outcomes = str(tmp_path / name / "outcomes.parquet")
        return drawn_slates(FindDial(root=str(tmp_path / "*" / "log"), outcomes=outcomes))

    send("a", own=0.7, day=0)
    found, left_out = send("b", own=1.4, day=1)
    assert not [said for said in left_out if "stood before" in said]
    old = found.filter(pl.col("send") == "a")
    assert len(old) == len(frame)
    # 1.4 is the fourth of the grid
    np.testing.assert_array_equal(old["own"].to_numpy(), old["dial_3"].to_numpy())
    new = found.filter(pl.col("send") == "b").sort("member", "slot")
    own = frame.sort("member", "slot")["own"].to_numpy()
    np.testing.assert_allclose(new["own"].to_numpy(), own, rtol=1e-6)
    # 0.9 is not of the grid: nothing is known of it in earlier slates
    found, left_out = send("c", own=0.9, day=2)
    assert {*found["send"]} == {"c"}
    assert [said for said in left_out if "stood before" in said]


def test_a_log_in_the_folder_one_stands_in_is_read(tmp_path: Path) -> None:
    with_dials(tmp_path, log(300))
    said = verb(tmp_path / "log", "dial", "root=.", "outcomes=../outcomes.parquet")
    assert said.returncode == 5
    assert "300 slates of channel mail" in said.stdout


def test_a_bundle_that_cannot_tell_members_apart_draws_no_dials(tmp_path: Path) -> None:
    dataset = tiny_dataset(members=30, days=5, sales_a_day=10)
    plain = shop_of(tmp_path, dataset)
    with pytest.raises(SettingError, match="cannot tell members by their appetite"):
        plain.sending(dial_drawn=0.5)


def test_a_slate_with_a_hole_before_its_pin_is_read(tmp_path: Path) -> None:
    frame = log(3_000)
    holed = frame.with_columns(
        slot=pl.when(pl.col("member") == "m7").then(pl.col("slot") * 3).otherwise("slot")
    )
    with_dials(tmp_path, holed)
    spec = FindDial(root=str(tmp_path / "log"), outcomes=str(tmp_path / "outcomes.parquet"))
    found, _ = drawn_slates(spec)
    assert found.filter(pl.col("member") == "m7")["slot"].to_list() == [0, 1]


def test_a_new_brand_counts_for_what_the_shop_says(sent: Path, tmp_path: Path) -> None:
    outcomes(log_of(sent)).write_parquet(tmp_path / "outcomes.parquet")
    plain, more = (
        drawn_slates(
            FindDial(
                root=str(sent / "log"),
                outcomes=str(tmp_path / "outcomes.parquet"),
                discovery=worth,
            )
        )[0]
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


@pytest.mark.slow
def test_refresh_puts_dials_by_context_on_what_is_served_and_keeps_them(copied: Trained) -> None:
    table = {"novelty": 0.35, "novelty_short": [0, 0, 0.7, 1.4, 1.4], "novelty_long": []}
    (copied.folder / "dial.json").write_text(json.dumps(table))
    said = verb(copied.folder, "refresh", "dial=dial.json")
    assert said.returncode == 0, said.stderr
    assert "\n  dial     by context\n" in said.stdout
    for _ in range(2):
        bundle = open_bundle(copied.bundle)
        rerank = bundle.parts.ranker.spec.model_dump()
        assert rerank["novelty_short"] == (0.0, 0.0, 0.7, 1.4, 1.4)
        assert rerank["novelty_long"] == (0.7,) * 5
        specs: Any = bundle.parts.specs
        assert specs["rerank"]["novelty"] == pytest.approx(0.35)
        curves = bundle.parts.dial
        assert curves is not None
        assert not curves.filter((pl.col("way") == "boost") & pl.col("published")).height
        assert verb(copied.folder, "refresh").returncode == 0
    refused = verb(copied.folder, "refresh", "dial=nowhere.json")
    assert refused.returncode == 2
    assert "dial=nowhere.json is no file" in refused.stderr
