"""Of whom nothing but a segment is known, the segment's taste is asked: the second rung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.arrays import F32, F64
from recsys.domain.dataset import Dataset
from recsys.domain.errors import BrokenArtefactError, SettingError
from recsys.domain.schema import Categorical, Schema
from recsys.domain.shelf import Shelf
from recsys.serve.asks import Touch
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.newcomer import Newcomer
from recsys.serve.parts import BundleParts
from recsys.serve.recommender import Recommender
from recsys.serve.segments import BELIEF, LEAST, Segments, segments_of
from tests.builders import tiny_dataset
from tests.serve.asking import Service, refused
from tests.serve.conftest import parts_of
from tests.serve.welcoming import whole
from tests.towers.carrying import made
from tests.towers.shops import SMALL

NORTH = {"region": "region 0"}
TRUE_OF_NO_PAST = {
    "nothing",
    "editor_pin",
    "trying_something_new",
    "curator_pick",
    "editor_boost",
    "popular_now",
}


@pytest.fixture(name="shop", scope="module")
def _shop() -> Dataset:
    return tiny_dataset(members=120, days=10, sales_a_day=8)


@pytest.fixture(name="known", scope="module")
def _known(shop: Dataset) -> BundleParts:
    """A bundle without a tower that knows segments."""
    parts = parts_of(shop)
    return replace(parts, segments=segments_of(shop, parts.members))


@pytest.fixture(name="root", scope="module")
def _root(known: BundleParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("segments")
    publish_bundle(known, root)
    return root


def segments(parts: BundleParts) -> Segments:
    assert parts.segments is not None
    return parts.segments


def vector(kept: Segments, **said: object) -> F32:
    found = kept.vector(said)
    assert found is not None
    return found


def mean_of(shop: Dataset, parts: BundleParts, region: str | None) -> F64:
    """The mean vector of those who consent, of a region or of all."""
    chosen = shop.members["consent_personalise"].to_numpy()
    if region is not None:
        chosen = chosen & (shop.members["region"] == region).to_numpy()
    mean: F64 = parts.members.vectors[chosen].astype(np.float64).mean(axis=0)
    return mean


def test_a_segment_leans_from_everyone_to_its_own_members(
    shop: Dataset, known: BundleParts
) -> None:
    kept = segments(known)
    everyone, north = mean_of(shop, known, None), mean_of(shop, known, "region 0")
    np.testing.assert_allclose(kept.everyone, everyone, atol=1e-6)
    size = int((shop.members.filter(pl.col("consent_personalise"))["region"] == "region 0").sum())
    expected = everyone + (north - everyone) * size / (size + BELIEF)
    np.testing.assert_allclose(vector(kept, **NORTH), expected, atol=1e-6)


def test_leanings_add_up_and_those_of_one_column_by_the_root_of_their_number() -> None:
    kept = Segments(
        ("region", "likes", "age"),
        (("region", "a"), ("likes", "x"), ("likes", "y"), ("age", "30"), ("age", "true")),
        np.array([1.0, 1.0], dtype=np.float32),
        np.array([[8, 0], [0, 2], [0, 4], [1, 1], [2, 2]], dtype=np.float32),
        ("likes",),
    )
    told: dict[str, object] = {"region": "a", "likes": ["x", "y", "y", "z"], "age": None}
    np.testing.assert_allclose(vector(kept, **told), [9, 1 + 6 / np.sqrt(2)], rtol=1e-6)
    for age in (30, 30.0, "30"):
        np.testing.assert_allclose(vector(kept, age=age), [2, 2])
    np.testing.assert_allclose(vector(kept, age=True), [3, 3])
    nobody: tuple[dict[str, object], ...] = (
        {},
        {"age": None},
        {"age": ""},
        {"likes": []},
        {"region": "b"},
    )
    for nothing in nobody:
        assert kept.vector(nothing) is None
    with pytest.raises(SettingError, match="no column 'reigon': 'region'"):
        kept.vector({"reigon": "a"})
    # as the tower reads them
    for wrong in ({"age": [30]}, {"age": {"x": 30}}, {"likes": [["x"]]}, {"region": "a" * 501}):
        with pytest.raises(SettingError, match="of a newcomer is"):
            kept.vector(wrong)


def test_segments_of_few_and_what_is_sensitive_are_not_kept(shop: Dataset) -> None:
    members = parts_of(shop).members
    kept = segments_of(shop, members)
    assert kept is not None
    consenting = shop.members.filter(pl.col("consent_personalise"))
    sizes = dict(consenting["region"].value_counts().iter_rows())
    assert {value for column, value in kept.named if column == "region"} == set(sizes)
    few = consenting["member"].to_list()[: LEAST + 1]
    for size, there in ((LEAST, True), (LEAST - 1, False)):
        # as many consent, and others beside them do not
        these = pl.col("member").is_in(few[:size]) | ~pl.col("consent_personalise")
        odd = pl.when(these).then(pl.lit("islands")).otherwise("region")
        kept = segments_of(replace(shop, members=shop.members.with_columns(region=odd)), members)
        assert kept is not None
        assert (("region", "islands") in kept.named) is there
    # who alone is outside a segment would be seen in what it leaves of everybody
    for size, there in ((LEAST, True), (LEAST - 1, False)):
        others = pl.col("member").is_in(few[:size])
        most = pl.when(others).then(pl.lit("islands")).otherwise(pl.lit("mainland"))
        kept = segments_of(replace(shop, members=shop.members.with_columns(region=most)), members)
        assert kept is not None
        assert (("region", "mainland") in kept.named) is there
    private = Schema(members=(Categorical(column="region", sensitive=True),))
    kept = segments_of(replace(shop, schema=private), members)
    assert kept is not None
    assert (kept.columns, kept.named) == (("region",), ())


def test_where_nobody_consents_there_are_no_segments(shop: Dataset) -> None:
    nobody = shop.members.with_columns(consent_personalise=pl.lit(value=False))
    assert segments_of(replace(shop, members=nobody), parts_of(shop).members) is None
    few = shop.members.with_columns(consent_personalise=pl.int_range(pl.len()) < LEAST - 1)
    assert segments_of(replace(shop, members=few), parts_of(shop).members) is None


def test_segments_come_back_with_a_bundle_and_wrong_ones_are_refused(
    known: BundleParts, root: Path
) -> None:
    back, kept = open_bundle(next(root.glob("*/"))).parts.segments, segments(known)
    assert back is not None
    assert (back.columns, back.named, back.bags) == (kept.columns, kept.named, kept.bags)
    np.testing.assert_array_equal(back.leaning, kept.leaning)
    np.testing.assert_array_equal(back.everyone, kept.everyone)
    with pytest.raises(ValueError, match="segments have 3 coordinates"):
        replace(known, segments=Segments((), (), np.zeros(3, "f4"), np.zeros((0, 3), "f4")))
    with pytest.raises(ValueError, match="leanings"):
        replace(kept, named=kept.named[1:])
    with pytest.raises(ValueError, match="not finite"):
        replace(kept, everyone=np.full_like(kept.everyone, np.nan))


def test_damaged_segments_keep_a_bundle_from_opening(known: BundleParts, tmp_path: Path) -> None:
    file = publish_bundle(known, tmp_path) / "segments" / "leaning.npy"
    file.chmod(0o644)
    raw = bytearray(file.read_bytes())
    raw[-2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(BrokenArtefactError, match=r"leaning\.npy"):
        open_bundle(file.parent.parent)


def test_what_a_segment_likes_best_comes_first(known: BundleParts) -> None:
    shelf = known.shelves.at(known.decided_at)
    plain = Shelf(shelf.at, shelf.sales, np.zeros_like(shelf.curated))
    firsts = set()
    for asked in ("region 0", "region 1", "region 2"):
        for liked in ([], ["category 1"], ["category 0", "category 2"]):
            told = {"region": asked, "likes": liked}
            leans = vector(segments(known), **told)
            # value rises with taste, and with nothing else of a member without a past
            best = int(plain.sales[(known.sales.vectors[plain.sales] @ leans).argmax()])
            found = known.by_segment(Newcomer(features=told), plain, slots=2, novelty=0.0)
            assert found is not None
            assert int(found.sales[0, 0]) == best
            firsts.add(best)
    assert len(firsts) > 2


def test_who_names_a_segment_gets_its_slate_and_is_told_so(root: Path) -> None:
    service = Service(root)
    answer = service.post("/v1/recommend", features=NORTH, member="nobody", slots=5).json()
    assert (answer["fallback"], answer["member"]) == ("segment", "nobody")
    assert "no member tower" in answer["because"]
    assert len(answer["sales"]) == 5
    on_shelf = {sale["sale"] for sale in service.client.get("/v1/shelf").json()["sales"]}
    assert {place["sale"] for place in answer["sales"]} <= on_shelf
    assert {place["reason"] for place in answer["sales"]} <= TRUE_OF_NO_PAST
    first = answer["sales"][0]["sale"]
    without = service.post("/v1/recommend", features=NORTH, exclude=[first], slots=5).json()
    assert first not in {place["sale"] for place in without["sales"]}
    assert 'recsys_fallback_total{rung="segment"} 2.0' in service.client.get("/metrics").text
    own = service.post("/v1/recommend", member="m0003").json()
    assert answer["policy"] not in {own["policy"], ""}
    said = answer.keys() | {"heard"}
    assert "region" not in str(answer), "answers repeat no attribute of a member"
    assert said == own.keys() | {"heard"}


def test_who_is_in_no_segment_gets_the_curated_slate(root: Path) -> None:
    service = Service(root)
    unknown: tuple[dict[str, object], ...] = ({}, {"region": "atlantis"}, {"likes": []})
    for features in unknown:
        answer = service.post("/v1/recommend", features=features, member="nobody").json()
        assert answer["fallback"] in {"curated", "newest"}, features
    assert service.post("/v1/recommend", member="nobody").json()["fallback"] != "segment"
    wrong = service.post("/v1/recommend", features={"reigon": "region 0"})
    assert "'region'?" in refused(wrong, 422, "invalid")


def test_without_consent_nobody_is_told_by_their_segment(shop: Dataset, root: Path) -> None:
    silent = shop.members.filter(~pl.col("consent_personalise"))["member"][0]
    answer = Service(root).post("/v1/recommend", member=silent, features=NORTH).json()
    assert answer["fallback"] in {"curated", "newest"}
    assert "not agreed" in answer["because"]


def test_a_tower_answers_before_a_segment_does(tmp_path: Path) -> None:
    one = made(tiny_dataset(members=120, days=10, sales_a_day=8), SMALL)
    parts = whole(one)
    parts = replace(parts, segments=segments_of(one.dataset, parts.members))
    asked = Newcomer(features=NORTH)
    able = Recommender(open_bundle(publish_bundle(parts, tmp_path / "able")))
    answer = able.welcome(asked, slots=4)
    assert (answer.fallback, answer.because) == ("personalised", "")
    unable = open_bundle(publish_bundle(replace(parts, towers=None), tmp_path / "unable"))
    assert Recommender(unable).welcome(asked, slots=4).fallback == "segment"
    told = Newcomer((Touch("view", "2026-03-25T12:00:00+01:00", "s0001"),))
    assert Recommender(unable).welcome(told, slots=4).fallback in {"curated", "newest"}
