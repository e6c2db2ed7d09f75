from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from recsys.world.packed import pack, unpack

ARRAYS = st.dictionaries(
    st.text(max_size=80),
    st.sampled_from([
        np.bool_,
        np.uint8,
        np.int16,
        np.int32,
        np.int64,
        np.float32,
        np.uint64,
    ]).flatmap(
        lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=0, max_dims=2, min_side=0))
    ),
    max_size=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=ARRAYS)
def test_what_is_packed_is_unpacked(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    pack(tmp_path / "file", arrays)
    found = unpack(tmp_path / "file")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape


def test_what_is_mapped_stays_when_its_file_is_replaced(tmp_path: Path) -> None:
    pack(tmp_path / "file", {"a": np.arange(100_000)})
    old = unpack(tmp_path / "file")["a"]
    pack(tmp_path / "file", {"a": np.zeros(1)})
    np.testing.assert_array_equal(old, np.arange(100_000))
    with pytest.raises(ValueError, match="read-only"):
        old[0] = 1
