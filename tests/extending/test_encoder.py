from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recsys.domain.errors import ArtefactError, SettingError
from recsys.domain.joined import Joined
from recsys.runs import doctor as surgery
from recsys.runs.help import help_text
from recsys.runs.load import compose, vocabulary
from recsys.runs.spec import Train
from recsys.towers import embed
from recsys.towers.encoder_laws import LAWS, Law, broken
from recsys.towers.fit import fit
from recsys.towers.resident import Window
from recsys.towers.spec import Pooled, TwoTower
from tests.builders import tiny_dataset
from tests.runs.starting import SMALL, verb
from tests.towers.shops import SMALL as TWO
from tests.towers.shops import Shop, job, shop_of, with_encoder


@pytest.fixture(scope="module")
def shop() -> Shop:
    return shop_of(tiny_dataset(members=40, days=8, sales_a_day=5))


def recurrent(**settings: float) -> Any:
    return import_module("noon_example").Recurrent(**settings)


def towers_of(encoder: Any) -> TwoTower:
    return TwoTower.model_validate({"encoder": encoder, "dim": 16, "epochs": 1})


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_example_keeps_the_public_laws(site: Path, law: Law) -> None:
    for settings in ({}, {"newest": 1}, {"newest": 50, "dropout": 0.0}):
        law(recurrent(**settings))


def test_an_encoder_of_a_package_is_a_kind_with_its_settings(site: Path) -> None:
    words = ["towers.encoder.kind=recurrent", "towers.encoder.newest=3"]
    towers = compose("train", Train, words).towers
    assert towers.encoder == recurrent(newest=3)
    assert TwoTower.model_validate(towers.model_dump(mode="json")) == towers
    known = vocabulary("train", Train)
    assert "\n  towers.encoder.kind=recurrent   noon-example 0.1.0\n" in help_text(
        known, ["--help"]
    )
    told = help_text(known, ["--help", "towers.encoder.kind=recurrent"])
    assert "towers.encoder.newest=8" in told
    assert ("package", True, "noon-example 0.1.0: towers.encoder.kind=recurrent") in list(
        surgery.packages()
    )
    with pytest.raises(SettingError, match="pooled, causal, recurrent"):
        compose("train", Train, ["towers.encoder.kind=recurrents"])


def test_untrained_the_example_moves_no_vector_and_no_weight_of_ours(
    site: Path, shop: Shop
) -> None:
    ours = shop.net(with_encoder(TWO, Pooled())).state_dict()
    theirs = shop.net(with_encoder(TWO, recurrent())).state_dict()
    new = theirs.keys() - ours.keys()
    assert new
    assert all(name.startswith("member_tower.reader.") for name in new)
    assert all(torch.equal(theirs[name], weight) for name, weight in ours.items())


OWN_DICE = torch.Generator().manual_seed(0)


class Planted(nn.Module):
    """A sum of what is kept, with one thing wrong."""

    def __init__(self, wrong: str, dim: int) -> None:
        super().__init__()
        self.wrong, self.steps = wrong, 0
        self.weight = nn.Parameter(torch.ones(dim))
        if wrong == "idle weight":
            self.idle = nn.Parameter(torch.ones(dim))
        if wrong == "own start":
            self.weight = nn.Parameter(torch.rand(dim, generator=OWN_DICE))

    def forward(self, x: Tensor, window: Window, keep: Tensor, **_given: object) -> Tensor:
        seen = window.valid if self.wrong == "all seen" else keep
        total, many = (x * seen[..., None]).sum(dim=1), keep.sum(dim=1, keepdim=True)
        if self.wrong == "steep at zero":
            total = total.square().sum(dim=1, keepdim=True).sqrt().expand_as(total)
        added: Tensor = total * self.weight
        self.steps += 1
        wrongs = {
            "mean of nothing": added / many,
            "narrow": added[:, 1:],
            "double": added.double(),
            "own dice": nn.functional.dropout(added, 0.5),
            "counts steps": added * self.steps,
            "hidden days": added + window.days.sum(dim=1, keepdim=True),
            "hidden count": added + window.so_far[:, None],
            "batch norm": added - added.sum(dim=0) / max(1, len(added)),
            "by row": added * torch.arange(len(added))[:, None],
            "by width": added * x.shape[1],
        }
        return wrongs.get(self.wrong, added)


def planted(wrong: str) -> Any:
    def module(_: object, *, dim: int, **_given: int) -> nn.Module:
        return Planted(wrong, dim)

    return type("Mine", (type(recurrent()),), {"module": module})()


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        ("mean of nothing", "what_is_added_is_finite"),
        ("narrow", "what_is_added_is_finite"),
        ("double", "what_is_added_is_finite"),
        ("own dice", "the_same_step_adds_the_same"),
        ("counts steps", "the_same_step_adds_the_same"),
        ("own start", "the_same_step_adds_the_same"),
        ("all seen", "hidden_events_have_no_effect"),
        ("hidden days", "hidden_events_have_no_effect"),
        ("hidden count", "hidden_events_have_no_effect"),
        ("batch norm", "no_request_depends_on_those_beside_it"),
        ("by row", "no_request_depends_on_those_beside_it"),
        ("by width", "no_request_depends_on_those_beside_it"),
        ("idle weight", "every_weight_learns"),
        ("steep at zero", "every_weight_learns"),
    ],
)
def test_a_planted_breach_is_named_and_not_trained_with(
    site: Path, shop: Shop, tmp_path: Path, wrong: str, law: str
) -> None:
    assert not broken(planted("nothing"))
    assert broken(planted(wrong)).startswith(f"{law}: ")
    run = tmp_path / "run"
    with pytest.raises(SettingError, match=rf"'recurrent' breaks a law of .*\.encoder_laws: {law}"):
        fit(job(shop, run, with_encoder(TWO, planted(wrong))))
    assert not run.exists()


def test_a_checkpoint_needs_the_package_again(
    site: Path, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fit(job(shop, tmp_path, towers_of(recurrent())))
    assert embed.load(made).spec.encoder == recurrent()
    monkeypatch.setattr(Joined, "names", lambda _: {})
    with pytest.raises(ArtefactError, match=r"'recurrent'.*\n.*package that is not installed"):
        embed.load(made)


@pytest.mark.slow
def test_a_whole_run_learns_with_it_and_is_refreshed(site: Path) -> None:
    work = Path.cwd()
    words = [*SMALL, "towers.encoder.kind=recurrent", "towers.epochs=1", "towers.dim=8"]
    trained = verb(work, "train", *words)
    assert trained.returncode == 0, trained.stderr
    for again in ("refresh", "export"):
        said = verb(work, again)
        assert (said.returncode, said.stderr) == (0, "")
