from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys.data.encode import encode, fit, save
from recsys.domain.events import DAY
from recsys.towers import embed, plain_files
from recsys.towers.carried import carried
from recsys.towers.embed import Embedder
from recsys.towers.spec import Causal, TwoTower
from tests.builders import tiny_dataset
from tests.towers.carrying import Made, made
from tests.towers.shops import SMALL, Shop
from tests.towers.told import Told, newcomers, past_of, rich_dataset

CLOSE = 1e-5
CONFIGS = {
    "small": SMALL,
    "one head that forgets": TwoTower(dim=10, history=4, decay_days=(3.0,), table_bits=9),
    "wide": TwoTower(dim=64, history=8, id="free"),
    "without own vectors": TwoTower(dim=16, id="off", decay_days=(0.5, 2.0, 9.0, 40.0)),
    "causal": TwoTower(dim=24, history=6, encoder=Causal(blocks=3, heads=3, gap_buckets=8)),
    "causal, one block": TwoTower(dim=16, encoder=Causal(blocks=1, heads=1)),
}


RICH = rich_dataset(40, 6)


@lru_cache
def rich(name: str, rank: int = 0) -> Made:
    return made(RICH, CONFIGS[name], rank=rank)


@pytest.mark.parametrize("name", CONFIGS)
@given(data=st.data(), late=st.sampled_from([0, DAY, 40 * DAY]))
@settings(max_examples=8, deadline=None)
def test_newcomers_are_what_the_towers_make_of_such_members(
    name: str, data: st.DataObject, late: int
) -> None:
    told = data.draw(newcomers(RICH))
    at = RICH.watermark + late
    expected = rich(name).torchs(told, at)
    found = rich(name).plains(told, at)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=CLOSE, rtol=0)
    for row, one in enumerate(told):  # alone as in company
        np.testing.assert_allclose(rich(name).plains([one], at)[0], expected[row], atol=CLOSE)


@given(told=newcomers(RICH))
@example(told=[Told({"likes": ["\x1f"]}, ())])  # space to Python, a value to a table
@settings(max_examples=8, deadline=None)
def test_spectral_coordinates_are_folded_in_as_those_of_members(told: list[Told]) -> None:
    wide, at = rich("small", 4), RICH.watermark
    expected = wide.torchs(told, at)
    assert expected.shape[1] == SMALL.dim + 4
    np.testing.assert_allclose(wide.plains(told, at), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_who_tells_nothing_has_a_vector_of_length_one(name: str) -> None:
    nobody = [Told({}, ())]
    found = rich(name).plains(nobody, RICH.watermark)
    np.testing.assert_allclose(found, rich(name).torchs(nobody, RICH.watermark), atol=CLOSE)
    assert np.linalg.norm(found[0, :-1]) == pytest.approx(1)
    assert found[0, -1] == 1
    assert rich(name).plains([], RICH.watermark).shape == (0, CONFIGS[name].dim)


@pytest.mark.parametrize("task", ["shelf", "endless"])
@pytest.mark.parametrize("name", ["small", "causal"])
def test_members_of_the_dataset_keep_their_exported_vectors(name: str, task: Any) -> None:
    one = made(tiny_dataset(members=50, days=9, task=task), CONFIGS[name])
    features = encode(one.encoders, one.dataset).members
    for back in (0, 3 * DAY + 123_456, 30 * DAY):
        at = one.dataset.watermark - back
        found = one.tower(one.dataset.history, features, at=at)
        np.testing.assert_allclose(
            found, one.embedder.members(np.arange(50), at), atol=CLOSE, rtol=0
        )


def test_a_trained_checkpoint_is_carried_as_it_is(
    shop: Shop, trained: Path, tmp_path: Path
) -> None:
    encoders = fit(shop.dataset, int(shop.blocks.towers.at.max()) + 1, 12)
    embedder = Embedder(embed.load(trained), shop.dataset, shop.encoded)
    tower = carried(embedder, encoders)
    assert tower is not None
    plain_files.save(tower, tmp_path / "towers")
    back = plain_files.load(tmp_path / "towers")
    assert back is not None
    at = shop.dataset.watermark
    expected = embedder.members(np.arange(shop.dataset.num_members), at)
    for one in (tower, back):
        found = one(shop.dataset.history, shop.encoded.members, at=at)
        np.testing.assert_allclose(found, expected, atol=CLOSE, rtol=0)
    told = [{"region": "never seen", "likes": ["category 1", "no such thing"]}, {}]
    nothing = past_of([Told({}, ()), Told({}, ())])
    np.testing.assert_array_equal(
        back(nothing, back.columns(told), at=at), tower(nothing, tower.columns(told), at=at)
    )


def test_what_comes_at_or_after_the_instant_is_not_read() -> None:
    at = RICH.watermark
    before = ((at - DAY, 3, 6, 0), (at - 1, 5, 1, 2))
    after = ((at, 7, 6, 0), (at + DAY, 8, 6, 0))
    both = [Told({}, before), Told({}, (*before, *after))]
    found = rich("causal").plains(both, at)
    np.testing.assert_array_equal(found[0], found[1])
    later = rich("causal").plains(both, at + 2 * DAY)
    assert np.abs(later[0] - later[1]).max() > 1e-3


def differs(told: Callable[[int], Told]) -> bool:
    found = rich("small").plains([told(0), told(1)], RICH.watermark)
    return bool(np.abs(found[0] - found[1]).max() > 1e-4)


def test_everything_a_newcomer_tells_counts() -> None:
    at = RICH.watermark - 10 * DAY
    assert differs(lambda one: Told({"region": f"region {one}"}, ()))
    assert differs(lambda one: Told({"region": f"never seen {one}"}, ()))
    assert differs(lambda one: Told({"spent": 3.0 + 90 * one}, ()))
    assert differs(lambda one: Told({"likes": ["category 1"] * one}, ()))
    assert differs(lambda one: Told({"face": [1.0, 2.0, one]}, ()))
    assert differs(lambda one: Told({}, ((at, 3 + one, 1, 0),)))
    assert differs(lambda one: Told({}, ((at, 3, 1 + 5 * one, 0),)))
    assert differs(lambda one: Told({}, ((at, 3, 1, one),)))
    assert differs(lambda one: Told({}, ((at - one * 5 * DAY, 3, 1, 0),)))


def test_an_encoder_of_an_installed_package_is_not_carried() -> None:
    one = rich("small")
    foreign = one.embedder.trained.spec.model_copy(update={"encoder": SMALL.loss})
    one.embedder.trained, kept = replace(one.embedder.trained, spec=foreign), one.embedder.trained
    assert carried(one.embedder, one.encoders) is None
    one.embedder.trained = kept


def test_a_folder_that_is_not_there_carries_nothing(tmp_path: Path) -> None:
    assert plain_files.load(tmp_path / "towers") is None


def test_weights_that_were_cut_are_refused(tmp_path: Path) -> None:
    plain_files.save(rich("small").tower, tmp_path / "towers")
    file = tmp_path / "towers" / "weights.npy"
    np.save(file, np.load(file)[:-1])
    with pytest.raises(ValueError, match="weights, their shapes take"):
        plain_files.load(tmp_path / "towers")


def test_the_encoders_of_sales_stay_where_they_are(tmp_path: Path) -> None:
    one = rich("small")
    (tmp_path / "whole").mkdir()
    save(one.encoders, tmp_path / "whole")
    plain_files.save(one.tower, tmp_path / "towers")
    carried_of = {path.name for path in (tmp_path / "towers" / "encoders").iterdir()}
    assert carried_of < {path.name for path in (tmp_path / "whole").iterdir()}
    assert not any(name.startswith("sale_") for name in carried_of)
