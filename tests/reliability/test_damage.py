"""Promise 2: damage is never used, it is named, and what stood before goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from recsys.domain.errors import ArtefactError
from recsys.serve.bundle import open_bundle
from recsys.serve.live import Live
from recsys.serve.recommender import Recommender
from recsys.serve.spec import Serve
from recsys.towers import checkpoint
from tests.reliability.conftest import Shown
from tests.reliability.damage import CHANGES, OTHERS, Damage, damaged
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import BUNDLE, CHECKPOINT, EXPORT, Kept, parts

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
KINDS = {change.__name__ for change in CHANGES} | set(OTHERS)


def named(error: str, damage: Damage) -> bool:
    return any(file in error for file in damage.files)


def told(seen: Counter[str]) -> str:
    return f"{seen.total():,} of {seen.total():,} refused by the file's name, in {len(seen)} ways"


def test_a_service_goes_on_with_the_bundle_before_a_damaged_one(
    tmp_path: Path, shown: Shown
) -> None:
    def load(folder: Path) -> Recommender:
        return Recommender(open_bundle(folder))

    said: list[str] = []
    old = BUNDLE.put(tmp_path, 1)
    live = Live(Serve(bundles_dir=str(tmp_path)), load, said=lambda _, what: said.append(what))
    members = parts(1).members.ids.tolist()[:5]
    answers = live.generation.recommend(members, slots=6)
    new = BUNDLE.put(tmp_path, 2)
    rng, seen = drawn("damaged bundles"), Counter[str]()
    for _ in range(times(2) // 2):
        with damaged(new, old, rng) as damage:
            live.wake()
            assert not live.look(), damage
            assert named(said[-1], damage), (damage, said[-1])
            assert live.folder == old
            assert live.generation.recommend(members, slots=6) == answers
        seen[damage.how] += 1
    assert live.failures.total() == seen.total()
    assert seen.keys() == KINDS
    assert BUNDLE.opens(old) == old.name
    live.wake()
    assert live.look()  # repaired: so nothing but the damage was refused
    shown(seen.total(), f"bundle: {told(seen)}, the one before answers as ever")


@pytest.mark.parametrize("kept", [CHECKPOINT, EXPORT], ids=lambda kept: kept.name)
def test_a_damaged_artefact_is_refused_by_the_name_of_the_file(
    tmp_path: Path, kept: Kept, shown: Shown
) -> None:
    old, new = kept.put(tmp_path, 1), kept.put(tmp_path, 2)
    right = kept.opens(old), kept.opens(new)
    rng, seen = drawn(f"damaged {kept.name}"), Counter[str]()
    for _ in range(times(2) // 4):
        with damaged(new, old, rng) as damage:
            with pytest.raises(ArtefactError) as refused:
                kept.opens(new)
            assert named(str(refused.value), damage), (damage, refused.value)
            if kept is CHECKPOINT:
                assert checkpoint.newest(tmp_path) == old
            else:
                assert kept.opens(old) == right[0]
        seen[damage.how] += 1
    assert seen.keys() == KINDS
    assert (kept.opens(old), kept.opens(new)) == right
    shown(seen.total(), f"{kept.name}: {told(seen)}")
