from __future__ import annotations

import json
import math
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.errors import BrokenArtefactError, MissingArtefactError
from recsys.towers import checkpoint

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.floats(), st.just(torch.arange(3.0))
)
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=3),
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        kinds = type(one) is type(other) and len(one) == len(other)
        return kinds and all(starmap(same, zip(one, other, strict=True)))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=200, deadline=None)
@given(state=states)
def test_any_plain_state_comes_back_as_it_went(state: object) -> None:
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(checkpoint.pack(state, tensors), allow_nan=False)
    assert same(state, checkpoint.unpack(json.loads(text), tensors))


@pytest.mark.parametrize("state", [{1, 2}, object(), {(1, 2): 3}, {True: 1}, b"bytes", print])
def test_nothing_else_can_be_kept(state: object) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        checkpoint.pack(state, {})


def save(root: Path, name: str, **state: object) -> Path:
    return checkpoint.save(root, name, state, parents={}, spec=None)


def test_a_checkpoint_holds_tensors_and_text_and_no_pickle(tmp_path: Path) -> None:
    folder = save(tmp_path, "step-00000001", weights=torch.ones(3), rate=0.5)
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}
    for file in folder.iterdir():
        # how pickles and torch's zips of pickles begin
        assert not file.read_bytes().startswith((b"\x80", b"PK"))
    state, fingerprint = checkpoint.load(folder)
    assert torch.equal(state["weights"], torch.ones(3))
    assert state["rate"] == pytest.approx(0.5)
    assert len(fingerprint) == 16


def test_the_newest_whole_checkpoint_is_found_and_damaged_ones_are_named(tmp_path: Path) -> None:
    folders = [save(tmp_path, f"step-{n:08d}", step=n, w=torch.ones(50)) for n in (9, 10, 11, 12)]
    assert checkpoint.newest(tmp_path) == folders[3]
    tensors = folders[3] / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    state = folders[2] / "state.json"
    state.write_text(state.read_text().replace("11", "12"))
    told: list[str] = []
    assert checkpoint.newest(tmp_path, told.append) == folders[1]
    assert len(told) == 2
    assert str(tensors) in told[0]
    assert str(state) in told[1]
    with pytest.raises(BrokenArtefactError, match=r"tensors\.safetensors"):
        checkpoint.load(folders[3])


def test_no_checkpoint_is_none_and_none_can_be_loaded(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "nowhere") is None
    with pytest.raises(MissingArtefactError):
        checkpoint.load(tmp_path / "nowhere")


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for n in range(1, 7):
        save(tmp_path, f"step-{n:08d}", step=n)
    checkpoint.prune(tmp_path, {"step-00000002"})
    left = sorted(folder.name for folder in tmp_path.glob("step-*"))
    assert left == ["step-00000002", "step-00000005", "step-00000006"]
