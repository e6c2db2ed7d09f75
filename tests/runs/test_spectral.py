"""A whole journey with spectral coordinates and a refit: train, publish, export, refresh."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.artefact import open_artefact
from recsys.serve.asks import AskSimilar
from recsys.serve.bundle import Bundle, open_bundle
from recsys.serve.recommender import Recommender
from tests.runs.starting import SMALL, only, verb

pytestmark = pytest.mark.slow

DIM, RANK, GROUPS, SALES = 8, 6, 5, 40
WORDS = (
    "data=shop",
    f"towers.dim={DIM}",
    "towers.epochs=2",
    f"towers.spectral.rank={RANK}",
    "towers.refit=true",
    *SMALL[1:],
)


def lived() -> pl.DataFrame:
    """A shop whose sales stay: each member buys among the sales of their own group, again too."""
    rng = np.random.default_rng(0)
    members, events = 60, 3_000
    member = rng.integers(members, size=events)
    group = np.where(rng.random(events) < 0.8, member % GROUPS, rng.integers(GROUPS, size=events))
    sale = group + GROUPS * rng.integers(SALES // GROUPS, size=events)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    minutes = np.sort(rng.choice(60 * 24 * 60, events, replace=False)).tolist()
    return pl.DataFrame({
        "member": [f"m{row}" for row in member.tolist()],
        "sale": [f"s{row}" for row in sale.tolist()],
        "kind": "purchase",
        "at": [first + timedelta(minutes=minute) for minute in minutes],
    })


@dataclass(frozen=True)
class Journey:
    folder: Path
    said: str
    bundle: Bundle
    """The first one: a later test publishes another."""


def current(folder: Path) -> Bundle:
    root = folder / "bundles"
    return open_bundle(root / (root / "CURRENT").read_text().strip())


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("spectral")
    (folder / "shop").mkdir()
    lived().write_parquet(folder / "shop" / "events.parquet")
    begun = verb(folder, "init", "path=shop/", "zone=UTC")
    assert begun.returncode == 0, begun.stderr
    said = verb(folder, "train", *WORDS)
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    return Journey(folder, said.stdout, current(folder))


def test_the_weight_that_validation_chose_is_told_in_one_line(journey: Journey) -> None:
    (line,) = [line for line in journey.said.splitlines() if "spectral" in line]
    told = rf"  spectral {RANK} coordinates, weight \d\.\d+: nDCG@10 (0\.\d{{4}}) to (0\.\d{{4}})"
    found = re.fullmatch(told, line)
    assert found is not None, line
    assert float(found[2]) > float(found[1])
    assert len(line) <= 80


def test_the_report_says_what_the_coordinates_bring(journey: Journey) -> None:
    told = json.loads(only(journey.folder, "runs/2*/report.json").read_text())["report"]["scorers"]
    assert told["taste_alone"].keys() == told["taste"].keys()
    assert told["taste_alone"]["all"] != told["taste"]["all"]


def test_the_bundle_holds_the_coordinates_behind_the_unit_ones(journey: Journey) -> None:
    bundle = journey.bundle
    said = bundle.manifest.extra
    assert isinstance(said, dict)
    assert (said["unit_dims"], said["dim"]) == (DIM - 1, DIM + RANK)
    for part in (bundle.parts.members, bundle.parts.sales):
        assert part.vectors.shape[1] == DIM + RANK
        assert part.vectors[:, DIM:].any(axis=0).all()
    assert (bundle.parts.members.vectors[:, DIM - 1] == 1).all()
    assert bundle.parts.index.vectors.shape == (SALES, DIM + RANK)


def test_the_service_answers_and_likens_sales_by_the_unit_part_alone(journey: Journey) -> None:
    bundle = journey.bundle
    recommender = Recommender(bundle, clock=lambda: bundle.parts.decided_at)
    (answer,) = recommender.recommend(["m7"], slots=4)
    assert (answer.fallback, len(answer.sales)) == ("personalised", 4)
    unit = bundle.parts.sales.unit
    rows = {sale: row for row, sale in enumerate(bundle.parts.sales.ids.tolist())}
    for near in recommender.similar(AskSimilar(sale="s3", k=5)):
        assert near.score == pytest.approx(
            float(unit[rows["s3"]] @ unit[rows[near.sale]]), abs=1e-5
        )
    member = bundle.parts.members.vectors[bundle.parts.members.ids.tolist().index("m7")]
    for near in recommender.similar(AskSimilar(member="m7", k=5)):
        whole = float(member @ bundle.parts.sales.vectors[rows[near.sale]])
        assert near.score == pytest.approx(whole, abs=1e-4)
    (near,) = recommender.similar(AskSimilar(vector=tuple(member.tolist()), k=1))
    assert near.sale == recommender.similar(AskSimilar(member="m7", k=1))[0].sale


def test_the_export_is_as_wide_as_the_bundle(journey: Journey) -> None:
    said = verb(journey.folder, "export", f"bundle={journey.bundle.folder.name}")
    assert said.returncode == 0, said.stderr
    folder = only(journey.folder, "exports/*_export")
    extra = open_artefact(folder, "export").extra
    assert isinstance(extra, dict)
    assert (extra["unit_dims"], extra["dim"]) == (DIM - 1, DIM + RANK)
    frame = pl.read_parquet(folder / "sales" / "*.parquet")
    assert np.array_equal(frame["vector"].to_numpy(), journey.bundle.parts.sales.vectors)


def test_a_refresh_and_a_run_judged_again_keep_fit_and_weight(journey: Journey) -> None:
    before = journey.bundle.folder.name
    refreshed = verb(journey.folder, "refresh", "quiet=true")
    assert refreshed.stdout == f"bundles/{before}\n", refreshed.stderr
    run = only(journey.folder, "runs/*")
    facts = json.loads((run / "run.json").read_text())
    assert facts["checkpoint"].startswith("refit/spectral-step-")
    again = verb(journey.folder, "train", f"resume=runs/{run.name}")
    assert (again.returncode, again.stderr) == (0, "")
    assert "coordinates" not in again.stdout
    assert "refit    epoch" not in again.stdout
    assert current(journey.folder).folder.name == before


def test_sales_that_came_after_the_fit_have_no_coordinates(journey: Journey) -> None:
    path = journey.folder / "shop" / "events.parquet"
    events = pl.read_parquet(path)
    newer = events.tail(200).with_columns(
        sale=pl.lit("tomorrow"), at=pl.col("at") + timedelta(days=4)
    )
    pl.concat([events, newer]).sort("at").write_parquet(path)
    try:
        refreshed = verb(journey.folder, "refresh")
        assert refreshed.returncode == 0, refreshed.stderr
        sales = current(journey.folder).parts.sales
        is_new = np.asarray(sales.ids) == "tomorrow"
        assert is_new.sum() == 1
        assert not sales.vectors[is_new, DIM:].any()
        assert sales.vectors[~is_new, DIM:].any(axis=1).all()
    finally:
        events.write_parquet(path)
