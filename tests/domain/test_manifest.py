from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
