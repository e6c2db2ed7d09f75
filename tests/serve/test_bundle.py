from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest

from recsys.domain import verify
from recsys.domain.arrays import F32
from recsys.domain.artefact import current, publish
from recsys.domain.dataset import Dataset
from recsys.domain.disk import digest
from recsys.domain.errors import ArtefactError, BrokenArtefactError
from recsys.domain.manifest import Manifest
from recsys.evaluate import tradeoff
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Retrieval
from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from recsys.serve.parts import BundleParts
from tests.evaluate.materials import rival
from tests.serve.conftest import parts_of


def test_a_bundle_comes_back_as_it_was_published(parts: BundleParts, bundle: Bundle) -> None:
    back = bundle.parts
    assert bundle.generation == bundle.folder.name
    assert current(bundle.folder.parent) == bundle.folder
    for name in ("opens_at", "closes_at", "brand", "price", "stock_left", "curated_sale"):
        np.testing.assert_array_equal(getattr(back.shop, name), getattr(parts.shop, name))
    for name in ("sale", "at", "kind", "member_ptr"):
        np.testing.assert_array_equal(
            getattr(back.shop.history, name), getattr(parts.shop.history, name)
        )
    np.testing.assert_array_equal(back.members.vectors, parts.members.vectors)
    np.testing.assert_array_equal(back.sales.vectors, parts.sales.vectors)
    assert back.members.ids.tolist() == parts.members.ids.tolist()
    assert back.sales.ids.tolist() == parts.sales.ids.tolist()
    assert back.info.equals(parts.info)
    assert (back.zone, back.specs, back.watermark) == (parts.zone, parts.specs, parts.watermark)
    assert back.ranker.spec == parts.ranker.spec
    assert bundle.recall == pytest.approx(1.0)
    assert bundle.manifest.counts["members"] == 60


def test_an_opened_bundle_makes_the_slates_it_was_judged_with(
    parts: BundleParts, bundle: Bundle
) -> None:
    members = np.flatnonzero(parts.personalise)
    shelf = parts.shelves.at(parts.decided_at)
    before, after = (p.slates(members, shelf, slots=5) for p in (parts, bundle.parts))
    np.testing.assert_array_equal(before.sales, after.sales)
    np.testing.assert_array_equal(before.reason, after.reason)
    np.testing.assert_allclose(before.gains, after.gains, rtol=1e-6)


def test_what_settings_cost_comes_back_as_it_was_and_may_be_unknown(
    parts: BundleParts, bundle: Bundle, tmp_path: Path
) -> None:
    assert bundle.parts.dial is None
    assert not (bundle.folder / "curves").exists()
    rows = tradeoff.table([rival("boost", 0, 0.7, now=0.7), rival("slots", 0, 1)])
    judged = open_bundle(publish_bundle(replace(parts, dial=rows), tmp_path))
    assert judged.generation != bundle.generation
    assert judged.parts.dial is not None
    assert judged.parts.dial.equals(rows)
    with pytest.raises(ValueError, match="a table of settings has"):
        replace(parts, dial=rows.drop("hits"))


def test_publishing_twice_is_one_bundle_and_another_model_another(
    parts: BundleParts, dataset: Dataset, tmp_path: Path
) -> None:
    first = publish_bundle(parts, tmp_path)
    assert publish_bundle(parts, tmp_path) == first
    second = publish_bundle(parts_of(dataset, seed=2), tmp_path, make_current=False)
    assert second != first
    assert current(tmp_path) == first


@pytest.mark.parametrize("retrieval", [Exact(), Ivf(cells=4, probes=2), Hnsw()])
def test_every_kind_of_index_comes_back_with_its_recall(
    dataset: Dataset, tmp_path: Path, retrieval: Retrieval
) -> None:
    bundle = open_bundle(publish_bundle(parts_of(dataset, retrieval=retrieval), tmp_path))
    assert bundle.parts.index.spec == retrieval
    assert 0.5 < bundle.recall <= 1.0


def test_parts_that_do_not_belong_together_are_refused(
    parts: BundleParts, dataset: Dataset
) -> None:
    other = replace(parts.members, fingerprint="another model")
    with pytest.raises(ValueError, match="are of model another model"):
        replace(parts, members=other)
    with pytest.raises(ValueError, match="the shop has 80 sales"):
        replace(parts, info=parts.info[:-1])
    with pytest.raises(ValueError, match="the shop has 60 members"):
        replace(parts, personalise=parts.personalise[1:])
    with pytest.raises(ValueError, match="info lacks"):
        replace(parts, info=parts.info.drop("title"))
    with pytest.raises(ValueError, match="without consent"):
        replace(parts, personalise=np.zeros_like(parts.personalise))


def test_a_bundle_that_never_has_an_open_sale_is_not_published(
    parts: BundleParts, tmp_path: Path
) -> None:
    late = replace(parts, decided_at=int(parts.shop.closes_at.max()) + 1)
    with pytest.raises(ValueError, match="nothing to serve"):
        publish_bundle(late, tmp_path)
    assert not list(tmp_path.iterdir())


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip, remove])
def test_damage_in_any_file_is_caught_and_named(
    bundle: Bundle, tmp_path: Path, damage: Callable[[Path, random.Random], None]
) -> None:
    rng = random.Random(11)
    for file in [*bundle.manifest.files, "manifest.json"]:
        bad = shutil.copytree(bundle.folder, tmp_path / "bad")
        for path in bad.rglob("*.*"):
            path.chmod(0o644)
        damage(bad / file, rng)
        with pytest.raises(ArtefactError, match=Path(file).name):
            open_bundle(bad)
        shutil.rmtree(bad)


def resealed(bundle: Bundle, root: Path, change: Callable[[Path], None]) -> Path:
    """The same bundle with other content, whole by its hashes: made wrong, not damaged."""

    def write(draft: Path) -> None:
        shutil.copytree(bundle.folder, draft, dirs_exist_ok=True)
        (draft / "manifest.json").unlink()
        draft.chmod(0o700)
        for path in draft.rglob("*"):
            path.chmod(0o700)
        change(draft)

    said: Manifest = bundle.manifest
    return publish(
        root,
        "bundle",
        write,
        self_test=said.self_test,
        extra=said.extra,
        watermark=said.watermark,
        decided_at=said.decided_at,
    )


def rewritten(file: str, change: Callable[[F32], F32]) -> Callable[[Path], None]:
    def rewrite(draft: Path) -> None:
        np.save(draft / file, change(np.load(draft / file)))

    return rewrite


def other_weights(draft: Path) -> None:
    path = draft / "ranker" / "value.json"
    said = json.loads(path.read_text())
    said["logistic"]["offset"] += 0.1
    path.write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rewritten("members/vectors.npy", lambda v: v[::-1].copy()), "self-test differ"),
        (rewritten("sales/vectors.npy", lambda v: np.roll(v, 1, axis=0)), "another order or model"),
        (other_weights, "self-test differ"),
        (rewritten("members/vectors.npy", itemgetter(slice(-1))), "60 ids"),
        (rewritten("sales/vectors.npy", lambda v: v * 2), "lengths other than 1"),
        (rewritten("sales/vectors.npy", lambda v: v * np.nan), "not finite"),
        (rewritten("sales/vectors.npy", lambda v: v[:, :-1].copy()), "widths"),
        (rewritten("members/ids/row.npy", lambda v: v[::-1].copy()), "does not find the ids"),
        (rewritten("members/ids/key.npy", lambda v: v[::-1].copy()), "not in order"),
        (rewritten("members/ids/personalise.npy", itemgetter(slice(-1))), "60 members"),
        (rewritten("shop/engaged/maker_times.npy", itemgetter(slice(-1))), "by maker"),
        (rewritten("shop/engaged/sale_ptr.npy", itemgetter(slice(1, None))), "by sale"),
    ],
)
def test_a_whole_bundle_that_answers_otherwise_is_refused(
    bundle: Bundle, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    wrong = resealed(bundle, tmp_path, change)
    with pytest.raises(BrokenArtefactError, match=said):
        open_bundle(wrong)


def before_tables(draft: Path) -> None:
    for folder in ("members/ids", "shop/engaged"):
        shutil.rmtree(draft / folder)


def test_a_bundle_of_before_there_were_tables_still_opens(bundle: Bundle, tmp_path: Path) -> None:
    old = open_bundle(resealed(bundle, tmp_path, before_tables)).parts
    assert old.indexes is None
    assert old.members.ids.tolist() == bundle.parts.members.ids.tolist()
    assert old.member_ids.rows(["m0003", "nobody"]).tolist() == [3, -1]


def nothing(_draft: Path) -> None:
    return


def test_a_bundle_whose_content_is_the_same_passes(bundle: Bundle, tmp_path: Path) -> None:
    same = open_bundle(resealed(bundle, tmp_path, nothing))
    assert same.parts.zone == bundle.parts.zone


def test_ids_that_stand_there_twice_are_not_published(parts: BundleParts, tmp_path: Path) -> None:
    twice = np.asarray(parts.members.ids).copy()
    twice[7] = twice[3]
    with pytest.raises(ValueError, match="1 ids of members stand there twice"):
        publish_bundle(replace(parts, members=replace(parts.members, ids=twice)), tmp_path)
    assert list(tmp_path.glob("*")) == []


def test_a_worker_takes_the_bytes_on_trust_and_nothing_else(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def noted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(verify, "digest", noted)
    same = open_bundle(bundle.folder, verified=bundle.generation)
    assert hashed == []
    assert same.generation == bundle.generation
    assert len(open_bundle(bundle.folder).manifest.files) == len(hashed) > 20
    with pytest.raises(BrokenArtefactError, match=f"not the {'0' * 16} that was verified"):
        open_bundle(bundle.folder, verified="0" * 16)
    cut = shutil.copytree(bundle.folder, tmp_path / "cut")
    file = cut / "members" / "vectors.npy"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BrokenArtefactError, match=r"vectors\.npy has"):
        open_bundle(cut, verified=bundle.generation)
