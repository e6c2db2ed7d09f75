from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.domain import manifest
from recsys.domain.errors import BrokenArtefactError, OldLayoutError
from recsys.domain.manifest import FileFact, Manifest, parse_manifest


@given(
    st.dictionaries(st.text(min_size=1), st.integers()),
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
def test_a_manifest_comes_back_as_it_was_said(counts: dict[str, int], spec: object) -> None:
    said = Manifest(
        kind="toy",
        files={"a.csv": FileFact(bytes=1, sha256="0" * 64)},
        made_at="2026-01-01T00:00:00+00:00",
        counts=counts,
        spec=spec,  # type: ignore[arg-type]  # hypothesis draws plain JSON
    )
    assert parse_manifest(said.to_bytes(), "here") == said


def whole() -> Manifest:
    return Manifest(
        kind="toy",
        files={"a.csv": FileFact(bytes=1, sha256="0" * 64)},
        made_at="2026-01-01T00:00:00+00:00",
    )


def resealed(**changed: Any) -> bytes:
    """A manifest that somebody wrote anew, seal and all."""
    said = json.loads(whole().to_bytes()) | changed
    del said["seal"]
    return manifest._canonical(said | {"seal": sha256(manifest._canonical(said)).hexdigest()})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"files": {"a.csv": {"bytes": -1, "sha256": "0" * 64}}}, "no size and hash"),
        ({"files": {"a.csv": {"bytes": 1, "sha256": "no hash"}}}, "no size and hash"),
        ({"files": {"a.csv": {"bytes": 1}}}, "sha256"),
        ({"files": ["a.csv"]}, "lacks what"),
        ({"made_at": "yesterday"}, "lacks what"),
        ({"made_at": "2026-01-01T00:00:00"}, "has no zone"),
        ({"parents": ["ab"]}, "names with values"),
        ({"counts": None}, "names with values"),
        ({"kind": "bundle"}, "than its fingerprint"),
        ({"fingerprint": "0" * 16}, "than its fingerprint"),
    ],
)
def test_a_manifest_with_a_right_seal_and_wrong_content_is_refused(
    changed: dict[str, Any], said: str
) -> None:
    assert parse_manifest(resealed(), "here") == whole()
    with pytest.raises(BrokenArtefactError, match=said):
        parse_manifest(resealed(**changed), "here")


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_of_a_manifest_can_be_changed(place: int, bit: int) -> None:
    data = bytearray(whole().to_bytes())
    data[place % len(data)] ^= 1 << bit
    with pytest.raises((BrokenArtefactError, OldLayoutError)):
        parse_manifest(bytes(data), "here")


def test_the_fingerprint_is_blind_to_when_and_with_what_it_was_made() -> None:
    said = whole()
    assert replace(said, made_at="2027-01-01T00:00:00+00:00", hmac="x").fingerprint == (
        said.fingerprint
    )
    assert replace(said, made_by={"recsys": "9"}).fingerprint == said.fingerprint
    for other in (
        replace(said, parents={"run": "ab"}),
        replace(said, counts={"members": 1}),
        replace(said, watermark=1),
        replace(said, decided_at=1),
        replace(said, spec={"seed": 1}),
        replace(said, self_test=[1]),
        replace(said, extra=[1]),
    ):
        assert other.fingerprint != said.fingerprint
