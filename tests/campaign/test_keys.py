from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.campaign.keys import BLOCK, eligible_hash, key_of, keys_of, salted

MURMUR = {
    "": 0x0,
    "a": 0x85555565F6597889,
    "m0000042": 0x4BB718BE094AD788,
    "0123456789abcde": 0xA62DD5F6C0BF2351,
    "0123456789abcdef": 0x4BE06D94CF4AD1A7,
    "0123456789abcdefg": 0x8E32612DAA45F9DE,
    "Élodie-8f14e45f-ceea-467f-a8b5-7c2d0e1f9b3a": 0x172A80725F55DEED,
    "042": 0x62C01FA4DD51C97F,
    "+42": 0x2BECB6597304F601,
    "x" * 100: 0x404E50288596AE2,
}
"""What mmh3 5.3.1 gives: hash64(text, signed=False)[0]."""
WORDS = st.lists(st.text(max_size=40), max_size=30)


def test_a_text_has_the_key_that_other_programs_compute() -> None:
    assert keys_of([*MURMUR]).tolist() == [*MURMUR.values()]
    for text, key in MURMUR.items():
        assert keys_of([text]).tolist() == [key]


def test_a_number_has_the_key_of_splitmix64() -> None:
    # the first output of the generator seeded with 0 (Steele et al. 2014)
    assert keys_of([0]).tolist() == [0xE220A8397B1DCDAF]


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_an_id_read_as_a_number_or_as_text_has_one_key(numbers: list[int]) -> None:
    as_text = keys_of([str(number) for number in numbers])
    np.testing.assert_array_equal(as_text, keys_of(numbers))
    small = [number % 1000 for number in numbers]
    np.testing.assert_array_equal(
        keys_of(np.array(small, dtype=np.uint16)), keys_of(pl.Series(small, dtype=pl.Int32))
    )


def test_texts_that_only_look_like_a_number_are_other_ids() -> None:
    alike = ["42", "042", "+42", " 42", "42 ", "42.0", "-0", "0", "4_2"]
    assert len(set(keys_of(alike).tolist())) == len(alike)


@given(words=WORDS)
@settings(max_examples=50)
def test_a_key_is_that_of_the_id_alone(words: list[str]) -> None:
    alone = [int(keys_of([word])[0]) for word in words]
    assert keys_of(words).tolist() == alone
    assert keys_of(pl.Series(words, dtype=pl.String)[::-1]).tolist() == alone[::-1]
    assert len(set(alone)) == len(set(words))


def test_keys_do_not_depend_on_blocks() -> None:
    many = [f"member-{number}" for number in range(2 * BLOCK + 3)]
    keys = keys_of(many)
    assert len(set(keys.tolist())) == len(many)
    np.testing.assert_array_equal(keys[BLOCK - 5 : BLOCK + 5], keys_of(many[BLOCK - 5 : BLOCK + 5]))
    numbers = np.arange(2 * BLOCK + 3)
    np.testing.assert_array_equal(keys_of(numbers)[-3:], keys_of(numbers[-3:]))


@pytest.mark.parametrize(
    ("ids", "error", "said"),
    [
        (["a", None, None], ValueError, "2 of 3 ids are missing"),
        ([1.0, 2.0], TypeError, "Float64"),
        ([True], TypeError, "Boolean"),
        (np.array([2**63], dtype=np.uint64), ValueError, "above"),
    ],
)
def test_what_is_no_id_is_refused(ids: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        keys_of(ids)  # type: ignore[arg-type]


def test_no_ids_have_no_keys() -> None:
    assert keys_of([]).shape == (0,)
    assert keys_of(pl.Series([], dtype=pl.String)).shape == (0,)


def test_salts_draw_apart_and_evenly() -> None:
    keys = keys_of(np.arange(40_000))
    one, other = salted(keys, key_of("a", "b")), salted(keys, key_of("ab"))
    assert int(max(one.max(), other.max())) < 2**53
    assert abs(np.corrcoef(one, other)[0, 1]) < 3.3 / np.sqrt(len(keys))
    for draws in (one, other):
        shares = np.bincount((draws >> np.uint64(50)).astype(np.int64), minlength=8) / len(keys)
        assert np.abs(shares - 1 / 8).max() < 4 * np.sqrt(1 / 8 * 7 / 8 / len(keys))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 6), c=st.integers(0, 12))
@settings(max_examples=60)
def test_eligible_sales_hash_alike_in_any_order_and_otherwise_not(
    seed: int, n: int, c: int
) -> None:
    rng = np.random.default_rng(seed)
    keys = keys_of([f"sale-{number}" for number in range(c)])
    eligible = rng.random((n, c)) < 0.7
    hashed = eligible_hash(keys, eligible)
    order = rng.permutation(c)
    np.testing.assert_array_equal(eligible_hash(keys[order], eligible[:, order]), hashed)
    own = rng.permuted(np.tile(np.arange(c), (n, 1)), axis=1)
    lined_up = np.take_along_axis(eligible, own, axis=1)
    np.testing.assert_array_equal(eligible_hash(keys[own], lined_up), hashed)
    sets = {tuple(row) for row in eligible.tolist()}
    assert len(set(hashed.tolist())) == len(sets)
    if c and n:
        other = eligible.copy()
        other[0, 0] = ~other[0, 0]
        assert eligible_hash(keys, other)[0] != hashed[0]
    assert (hashed[~eligible.any(axis=1)] == 0).all()
