from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from recsys.domain.errors import SettingError
from recsys.runs import doctor as surgery
from recsys.runs.help import help_text
from recsys.runs.load import compose, vocabulary
from recsys.runs.spec import Train
from recsys.towers import laws
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.losses import Ask, Concrete, resolve
from recsys.towers.noise import Noise
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import Full, TwoTower
from tests.runs.starting import SMALL, verb
from tests.towers.test_losses import plan, planner_of, random_shop, window_of


def stride(draws: int = 256) -> Any:
    return import_module("noon_example").Stride(draws=draws)


def towers_of(loss: Any) -> TwoTower:
    return TwoTower.model_validate({"loss": loss})


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_the_example_keeps_the_public_laws(site: Path, law: laws.Law) -> None:
    for draws in (1, 7, 256):
        law(stride(draws))


def test_a_loss_of_a_package_is_a_kind_with_its_settings(site: Path) -> None:
    words = ["towers.loss.kind=stride", "towers.loss.draws=9", "towers.dim=8"]
    towers = compose("train", Train, words).towers
    assert towers.loss == stride(9)
    assert TwoTower.model_validate(towers.model_dump(mode="json")) == towers
    known = vocabulary("train", Train)
    assert "\n  towers.loss.kind=stride   noon-example 0.1.0\n" in help_text(known, ["--help"])
    assert "towers.loss.draws=256" in help_text(known, ["--help", "towers.loss.kind=stride"])
    assert ("package", True, "noon-example 0.1.0: towers.loss.kind=stride") in list(
        surgery.packages()
    )
    with pytest.raises(SettingError, match="auto, live_shelf, sampled, full, stride"):
        compose("train", Train, ["towers.loss.kind=strides"])


def test_with_room_for_the_whole_shelf_it_is_the_full_softmax(site: Path) -> None:
    requests, opens, history = random_shop(4)
    rows = np.arange(requests.rows(3).start, requests.rows(3).stop)
    window = window_of(requests, history, rows)
    source = torch.Generator().manual_seed(0)
    u = torch.randn(len(rows), 8, generator=source)
    v = torch.randn(len(opens), 8, generator=source)

    def total(loss: Concrete) -> float:
        columns = planner_of(requests, loss, opens)([Ask(3, rows, rows)], window, Noise.of(1))
        return float(
            chunked_softmax(
                u,
                ColumnVectors.of(v[columns.sales]),
                torch.ones(()),
                blocks=columns.blocks,
                kernel=Kernel(),
            )
        )

    assert total(stride(256)) == pytest.approx(total(Full()), rel=1e-6)
    assert total(stride(2)) != pytest.approx(total(Full()), rel=1e-3)


def test_no_sale_of_another_day_is_compared(site: Path) -> None:
    requests, opens, history = random_shop(5)
    for group in range(5):
        columns = plan(requests, stride(3), opens, history, group=group)
        there = np.isfinite(columns.offset)
        assert set(columns.sales[there]) <= set(requests.shelf(group).tolist())
        assert there.sum() == min(3, len(requests.shelf(group)))


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ("one behind", "columns_are_places_of_the_shelf"),
        ("no column", "columns_are_places_of_the_shelf"),
        ("own dice", "the_same_step_has_the_same_columns"),
        ("by slot", "the_same_step_has_the_same_columns"),
        ("no start", "the_columns_stand_for_the_whole_shelf"),
        ("no q", "the_columns_stand_for_the_whole_shelf"),
    ],
)
def test_a_planted_breach_is_named(site: Path, wrong: str, law: str) -> None:
    right = stride(7)
    kind = type(right)

    def by_slot(layout: Any, noise: Noise) -> Any:
        return (right.places(layout, noise) + layout.slot) % layout.length[layout.slot]

    planted: dict[str, tuple[str, Callable[..., Any]]] = {
        "one behind": ("places", lambda _, layout, _noise: layout.length[layout.slot]),
        "no column": ("width", lambda _, length: 0 * length),
        "own dice": (
            "places",
            lambda _, layout, _noise: (
                torch.rand(len(layout.slot)) * layout.length[layout.slot]
            ).long(),
        ),
        "by slot": ("places", lambda _, layout, noise: by_slot(layout, noise)),
        "no start": (
            "places",
            lambda _, layout, _noise: layout.within % layout.length[layout.slot],
        ),
        "no q": ("log_q", lambda _, layout: torch.zeros(len(layout.slot))),
    }
    name, body = planted[wrong]
    mine = type("Mine", (kind,), {name: body})(draws=7)
    assert laws.broken(mine).startswith(f"{law}: ")
    with pytest.raises(SettingError, match=r"'stride' breaks a law of recsys\.towers\.laws"):
        resolve(TwoTower().model_copy(update={"loss": mine}), random_shop(0)[0], "shelf")
    assert resolve(towers_of(right), random_shop(0)[0], "shelf") == right


@pytest.mark.slow
def test_a_whole_run_learns_with_it_and_sends_slates_of_the_re_ranker(site: Path) -> None:
    work = Path.cwd()
    words = [*SMALL, "rerank=max_sum", "towers.loss.kind=stride", "towers.loss.draws=9"]
    trained = verb(work, "train", *words, "towers.epochs=1", "towers.dim=8")
    assert trained.returncode == 0, trained.stderr
    plain = yaml.safe_load(next(work.glob("runs/*/config.yaml")).read_text())
    assert plain["rerank"]["diversity"] == {"kind": "max_sum", "weight": 0.1}
    assert plain["towers"]["loss"] == {"kind": "stride", "draws": 9}
    told = verb(work, "recommend", "member=m000042")
    assert (told.returncode, told.stderr) == (0, "")
