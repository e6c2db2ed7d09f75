from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.domain.errors import ArtefactError, SettingError
from recsys.rerank.diversity import Mmr, Reranker
from recsys.rerank.laws import LAWS, Law
from recsys.rerank.ranker import load as load_ranker
from recsys.rerank.spec import Blend
from recsys.runs import doctor as surgery
from recsys.runs.command import chosen_kinds
from recsys.runs.help import help_text
from recsys.runs.load import arguments, compose, vocabulary
from recsys.runs.spec import Train
from tests.extending.installed import RERANKERS, install, on_path
from tests.rerank.hand import asks, drawn_shop, info_of, ranker_of, slates_of

MODULE = "noon_example"


def max_sum(**settings: float) -> Reranker[Any]:
    made: Reranker[Any] = import_module(MODULE).MaxSum(**settings)
    return made


def variety(*words: str) -> object:
    rerank = compose("train", Train, words).rerank
    assert isinstance(rerank, Blend)
    return rerank.diversity


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_example_keeps_the_public_laws(site: Path, law: Law) -> None:
    law(max_sum())
    law(max_sum(weight=2.0))


def test_a_re_ranker_of_a_package_is_an_option_and_a_kind(site: Path) -> None:
    assert variety("rerank=max_sum") == max_sum()
    assert variety("rerank.diversity.kind=max_sum") == max_sum()
    assert variety("rerank=max_sum", "rerank.diversity.weight=0.5") == max_sum(weight=0.5)
    words = ["rerank=spaced", "rerank.diversity.kind=max_sum", "rerank.diversity.weight=0.5"]
    spaced = compose("train", Train, words).rerank
    assert spaced.model_dump()["diversity"] == {"kind": "max_sum", "weight": 0.5}
    assert variety() == Mmr()


def test_settings_survive_plain_data(site: Path) -> None:
    spec = compose("train", Train, ["rerank=max_sum", "rerank.diversity.weight=0.5"])
    plain = spec.model_dump(mode="json")
    assert plain["rerank"]["diversity"] == {"kind": "max_sum", "weight": 0.5}
    assert Train.model_validate(plain) == spec


def test_an_option_file_of_ones_own_may_choose_it(site: Path) -> None:
    own = Path("configs/rerank")
    own.mkdir(parents=True)
    mine = {"kind": "blend", "diversity": {"kind": "max_sum", "weight": 0.7}, "novelty": 0.1}
    (own / "mine.yaml").write_text(yaml.safe_dump(mine))
    assert variety("rerank=mine", "rerank.diversity.weight=0.5") == max_sum(weight=0.5)
    known = vocabulary("train", Train)
    assert chosen_kinds(["rerank=mine"], known)["rerank.diversity"] == "max_sum"
    # a file stands before the package's own option
    (own / "max_sum.yaml").write_text(yaml.safe_dump(mine))
    assert variety("rerank=max_sum") == max_sum(weight=0.7)


def test_a_sweep_goes_over_it_too(site: Path) -> None:
    words = ["-m", "rerank=pure,max_sum", "rerank.slots=3"]
    assert arguments("train", Train, words)[0] == "rerank=pure,max_sum"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rerank=maxsum"], "did you mean: rerank=max_sum"),
        (["rerank.diversity.kind=maxsum"], "it can be: topk, mmr, dpp, ssd, calibrated, max_sum"),
        (["rerank=max_sum", "rerank.diversity.wieght=1"], "did you mean:  rerank.diversity.weight"),
        (["rerank=max_sum", "rerank.diversity.weight=-1"], "rerank.diversity.weight=-1 is less"),
    ],
)
def test_mistakes_are_told_as_those_of_our_own(site: Path, words: list[str], said: str) -> None:
    with pytest.raises(SettingError, match=said.replace(".", r"\.")):
        compose("train", Train, words)


def test_help_and_doctor_name_it_and_import_nothing_of_it(site: Path) -> None:
    known = vocabulary("train", Train)
    told = help_text(known, ["--help"])
    assert "\n  blend  pure  spaced  max_sum\n" in told
    assert "\n  rerank.diversity.kind=max_sum   noon-example 0.1.0\n" in told
    line = "noon-example 0.1.0: rerank.diversity.kind=max_sum"
    assert ("package", True, line) in list(surgery.packages())
    compose("train", Train, ["rerank=pure"])
    assert MODULE not in sys.modules
    assert "Price of likeness 1 to each" in help_text(known, ["--help", "rerank=max_sum"])
    assert MODULE in sys.modules


def test_a_saved_ranker_needs_the_package_again(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = drawn_shop(2)
    ranker = ranker_of(Blend.model_validate({"diversity": {"kind": "max_sum"}}))
    ranker.save(tmp_path / "ranker")
    back = load_ranker(tmp_path / "ranker", info_of(shop))
    assert back.spec == ranker.spec
    shown = slates_of(back, shop, asks(shop, 40)).sales
    assert shown.tolist() == slates_of(ranker, shop, asks(shop, 40)).sales.tolist()
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
    with pytest.raises(ArtefactError, match=r"'max_sum'.*\n.*package that is not installed here"):
        load_ranker(tmp_path / "ranker", info_of(shop))


SPEC = """
from typing import Literal
import numpy as np
from recsys.domain.spec import Spec

class Mine(Spec):
    kind: Literal["mine"] = "mine"
    weight: float = 0.1
    \"\"\"Price.\"\"\"

    def init(self, view): return np.zeros(view.shape, dtype=np.float32)
    def gains(self, state): return state
    def update(self, state, view, chosen): return state
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Yours = 1", "AttributeError: module 'noon_mine' has no attribute 'Mine'"),
        ("class Mine: kind = 'mine'", "it is no subclass of recsys.domain.spec.Spec"),
        (SPEC.replace('"mine"', '"other"'), "it needs the field  kind: Literal['mine'] = 'mine'"),
        (SPEC.replace("weight: float = 0.1", "weight: float"), "refused: weight: Field required"),
        (SPEC.replace("def update", "def renew"), "it lacks update"),
        (SPEC + "    model_config = {'frozen': False}\n", "undoes what Spec sets"),
    ],
    ids=lambda text: text.strip().partition("\n")[0][:40],
)
def test_a_broken_package_is_named_with_what_failed_once_it_is_chosen(
    site: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    install(site, "noon-mine", {RERANKERS: {"mine": "noon_mine:Mine"}}, code)
    on_path(site, monkeypatch)
    assert "mine" in help_text(vocabulary("train", Train), ["--help"])
    with pytest.raises(SettingError) as refused:
        compose("train", Train, ["rerank=mine"])
    first, where, what_to_do = str(refused.value).splitlines()
    assert first.startswith("'mine' of the package noon-mine 0.1.0 cannot be used: ")
    assert said in first
    assert "noon_mine:Mine, entry point of recsys.rerankers" in where
    assert "choose another kind" in what_to_do


def test_a_re_ranker_that_breaks_a_law_is_not_trained_with(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = SPEC.replace("return state\n", "return state + np.random.random()\n", 1)
    install(site, "noon-mine", {RERANKERS: {"mine": "noon_mine:Mine"}}, code)
    on_path(site, monkeypatch)
    assert variety("rerank=max_sum") == max_sum()
    with pytest.raises(SettingError, match=r"'mine' breaks a law of recsys\.rerank\.laws: "):
        compose("train", Train, ["rerank=mine"])


def test_a_name_that_is_taken_is_never_replaced_in_silence(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("noon-mine", "noon-other"):
        module = name.replace("-", "_")
        offers = {"mine": f"{module}:Mine", "mmr": f"{module}:Mine"}
        install(site, name, {RERANKERS: offers}, SPEC)
    gone_or_garbled = {"gone": "noon_nowhere:Gone", "garbled": "? ?"}
    install(site, "noon-gone", {RERANKERS: gone_or_garbled}, "")
    on_path(site, monkeypatch)
    with pytest.raises(SettingError, match=r"several packages offer 'mine': noon-mine 0\.1\.0, "):
        compose("train", Train, ["rerank=mine"])
    assert variety("rerank.diversity.kind=mmr") == Mmr()
    assert "mmr" not in vocabulary("train", Train).groups["rerank"]
    told = {text: good for _, good, text in surgery.packages()}
    both = "noon-mine 0.1.0, noon-other 0.1.0"
    assert not told[f"{both}: rerank.diversity.kind=mmr is ours; its own is never used"]
    assert not told[f"rerank.diversity.kind=mine is in several, keep one: {both}"]
    for kind in gone_or_garbled:
        gone = f"no module for rerank.diversity.kind={kind}; install it again"
        assert not told[f"noon-gone 0.1.0: {gone}"]
        with pytest.raises(SettingError, match="of the package noon-gone"):
            compose("train", Train, [f"rerank={kind}"])
