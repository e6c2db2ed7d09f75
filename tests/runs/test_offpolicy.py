from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.evaluate.estimators import DrOs, Ips, Snips
from recsys.evaluate.offpolicy import PolicyValue, estimate
from recsys.public.hillstrom import ARMS
from recsys.public.open_bandit import OpenBandit
from recsys.public.open_bandit import logged as read_bandit
from recsys.runs.logs import SlateLog, logged
from recsys.runs.offpolicy import described
from recsys.serve.feedback import Feedback, Outcome, Told
from tests.runs import logs
from tests.runs.starting import verb


def asked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return verb(folder, "offpolicy", *words)


def source(folder: Path) -> SlateLog:
    return SlateLog(
        root=str(folder / "log"),
        outcomes=str(folder / "outcomes.parquet"),
        target=str(folder / "target.parquet"),
    )


def value_of(said: subprocess.CompletedProcess[str]) -> float:
    """The estimate as it was printed."""
    assert said.returncode == 0, said.stderr
    (found,) = re.findall(
        r"^  value    (\S+) \(\S+ to \S+\) a (?:row|slate)$", said.stdout, re.MULTILINE
    )
    return float(found)


def test_a_log_is_named_and_judged_within_eighty_columns(tmp_path: Path) -> None:
    logs.open_bandit(tmp_path)
    said = asked(tmp_path, f"data.root={tmp_path}", "method.kind=snips")
    found = estimate(read_bandit(OpenBandit(root=str(tmp_path))), Snips())
    assert isinstance(found, PolicyValue)
    assert value_of(said) == pytest.approx(found.value, rel=1e-3)
    lines = said.stdout.splitlines()
    # a path is not broken
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert "           6,000 rows" in lines
    assert sum("md5 of random_men.csv.gz: " in line for line in lines) == 1
    assert f"  weights  worth {found.ess:,.0f} of 6,000 rows (" in said.stdout
    assert "  left out 0.00% of the log, without a propensity" in lines
    assert "never a policy better" in " ".join(said.stdout.split())


def test_an_always_sent_mail_is_worth_what_it_brought_to_those_who_got_it(tmp_path: Path) -> None:
    made = logs.hillstrom(tmp_path)
    mens = made.filter(pl.col("segment") == ARMS["mens"])
    for method in ("snips", "dr"):
        said = asked(tmp_path, "data=hillstrom", f"data.root={tmp_path}", f"method={method}")
        close = 1e-3 if method == "snips" else 0.05
        assert value_of(said) == pytest.approx(mens["visit"].to_numpy().mean(), rel=close)
    spent = asked(tmp_path, "data=hillstrom", f"data.root={tmp_path}", "data.outcome=spend")
    assert value_of(spent) == pytest.approx(mens["spend"].to_numpy().mean(), rel=1e-3)


def test_a_refusal_prints_its_reasons_no_figure_and_ends_with_five(tmp_path: Path) -> None:
    logs.open_bandit(tmp_path, rows=1_200)
    said = asked(tmp_path, f"data.root={tmp_path}", "method=ips", "method.clip=1.2")
    assert said.returncode == 5
    assert said.stderr.startswith("error: the log cannot answer for this policy\n")
    for reason in ("effective sample size", "weights are clipped"):
        assert reason in said.stderr
    assert "  method   ips, weights=slot, clip=1.2\n" in said.stdout
    assert not re.search(r"^  (value|more|weights|support|left out)", said.stdout, re.MULTILINE)


def test_a_slate_log_under_its_own_chances_is_worth_what_it_brought(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    own = made["shown"].select("send_id", "member_id", "slot", target_log_prob="log_propensity")
    own.write_parquet(tmp_path / "own.parquet")
    said = asked(tmp_path, "data=slate_log", "data.target=own.parquet", "method.weights=prefix")
    frame, _ = logged(source(tmp_path))
    kept = frame.filter(~pl.col("log_propensity").is_null().any().over("member"))
    brought = kept["reward"].sum() / kept["member"].n_unique()
    assert value_of(said) == pytest.approx(brought, rel=1e-3)
    assert re.search(r"^  value .* a slate$", said.stdout, re.MULTILINE)
    assert "300 rows of members who were sent nothing, left out" in said.stdout
    repaired = 1 - kept["member"].n_unique() / frame["member"].n_unique()
    assert 0 < repaired < 0.01
    assert f"  left out {repaired:.2%} of the log, without a propensity\n" in said.stdout


def test_other_chances_weigh_the_slots_they_concern(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    said = asked(tmp_path, "data=slate_log", "method=ips", "data.reward=earned")
    log_propensity = made["shown"]["log_propensity"].cast(pl.Float64)
    weight = (made["target"]["target_log_prob"] - log_propensity).exp()
    paid = np.where(np.arange(made["shown"].height) % 3 == 0, 2.5, 0.0)
    by_hand = (weight.to_numpy() * paid)[weight.is_not_null().to_numpy()].mean()
    assert value_of(said) == pytest.approx(by_hand, rel=1e-3)
    assert re.search(r"^  value .* a row$", said.stdout, re.MULTILINE)


def test_text_tables_are_read_as_well(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    before = asked(tmp_path, "data=slate_log")
    for name in ("outcomes", "target"):
        made[name].write_csv(tmp_path / f"{name}.csv")
    words = ["data.outcomes=outcomes.csv", "data.target=target.csv"]
    after = asked(tmp_path, "data=slate_log", *words)
    assert value_of(before) == value_of(after)


def test_what_a_service_was_told_bit_by_bit_is_one_outcome_a_slot(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    whole = made["outcomes"].to_dicts()
    names = ("opened", "clicked", "visited", "bought", "unsubscribed")
    told = [
        # first the opening, then all of it, then all of it again by a caller who got no answer
        [Outcome(**{**row, **dict.fromkeys(names[1:], False), "margin": 0.0}) for row in whole],
        [Outcome(**row) for row in whole],
        [Outcome(**row) for row in whole],
    ]
    kept = Feedback(tmp_path / "feedback")
    for rows in told:
        for future in kept.store(Told(outcomes=tuple(rows)), now=datetime.now(UTC)):
            future.result(timeout=30)
    kept.close()
    plain = source(tmp_path)
    frame, notes = logged(plain.model_copy(update={"outcomes": str(tmp_path / "feedback")}))
    assert frame.equals(logged(plain)[0])
    assert any("outcomes-" in note for note in notes)


def test_what_fits_no_row_of_the_log_is_counted(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    strange = made["outcomes"][:4].with_columns(
        send_id=pl.Series(["monday", "monday", "friday", "friday"]),
        at=made["outcomes"]["at"][:4].dt.offset_by("-1d"),
    )
    pl.concat([strange, made["outcomes"][4:]]).write_parquet(tmp_path / "outcomes.parquet")
    more = made["target"][:5].with_columns(send_id=pl.lit("monday"))
    pl.concat([made["target"], more]).write_parquet(tmp_path / "target.parquet")
    said = " ".join(asked(tmp_path, "data=slate_log").stdout.split())
    assert "2 rows of outcomes whose slot is not in the log, left out" in said
    assert "2 rows of outcomes from before the send was delivered, left out" in said
    assert "5 rows of the target that are not in the log, left out" in said


def test_every_byte_of_the_log_is_in_its_digest(tmp_path: Path) -> None:
    logs.slate_log(tmp_path)
    before = logged(source(tmp_path))[1][0]
    assert before.startswith(f"md5 of 3 files of {tmp_path}/log: ")
    shard = sorted((tmp_path / "log").glob("*.parquet"))[1]
    rows = pl.read_parquet(shard)
    rows.with_columns(seed=pl.col("seed") + 1).write_parquet(shard)
    assert logged(source(tmp_path))[1][0] != before


def test_a_doubly_robust_method_takes_the_model_that_the_target_brings(tmp_path: Path) -> None:
    made = logs.slate_log(tmp_path)
    said = asked(tmp_path, "data=slate_log", "method=dr")
    assert (said.returncode, "q and q_target" in said.stderr) == (2, True)
    modelled = made["target"].with_columns(q=pl.lit(0.2), q_target=pl.lit(0.3))
    modelled.with_columns(unsupported=pl.lit(0.001)).write_parquet(tmp_path / "target.parquet")
    answer = asked(tmp_path, "data=slate_log", "method=dr")
    assert value_of(answer) > 0
    assert "  support  0.10% of the target is what the log could not show\n" in answer.stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["data.target=nowhere.parquet"], 2, "data.target=nowhere.parquet: no such file"),
        (["data.root=elsewhere"], 4, "no slate log in elsewhere"),
        (["data.target=few.parquet"], 3, "has no target_log_prob for"),
        (["data.target=twice.parquet"], 3, "share their key"),
        (["data.target=outcomes.parquet"], 3, "outcomes.parquet lacks target_log_prob"),
        (["data.target=text.csv"], 3, "text.csv cannot be read"),
        (["data.target=log/friday.00000.parquet"], 3, "lacks target_log_prob"),
        (["data.reward=opened"], 2, "data.reward"),
        (["method=dr", "data.kind=globo"], 2, "data.kind"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, words: list[str], code: int, text: str
) -> None:
    made = logs.slate_log(tmp_path, members=300)
    target = made["target"]
    target[:-1].write_parquet(tmp_path / "few.parquet")
    pl.concat([target, target[:1]]).write_parquet(tmp_path / "twice.parquet")
    target.select("send_id", "member_id", "slot", target_log_prob=pl.lit("likely")).write_csv(
        tmp_path / "text.csv"
    )
    said = asked(tmp_path, "data=slate_log", *words)
    assert (said.returncode, said.stdout) == (code, "")
    assert text in said.stderr
    assert "Traceback" not in said.stderr


def test_a_source_of_requests_is_no_log(tmp_path: Path) -> None:
    said = asked(tmp_path, "data=flash_sales")
    assert said.returncode == 2
    assert "data can be: hillstrom, open_bandit, slate_log" in said.stderr
    other = verb(tmp_path, "train", "data=open_bandit", "dry_run=true")
    assert other.returncode == 2
    assert "hillstrom" not in other.stderr


def test_a_method_is_written_with_its_settings() -> None:
    assert described(Ips()) == "ips, weights=slot, clip=inf"
    assert described(DrOs(shrink=50, weights="prefix")) == "dr_os, weights=prefix, shrink=50"
