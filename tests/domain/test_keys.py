from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from recsys.domain.keys import key_of_one, keys_of

WHOLE = st.integers(-(2**65), 2**65).map(str)


@given(texts=st.lists(st.text(max_size=60) | WHOLE, min_size=1))
@example(texts=["0", "-0", "00", "+1", " 1", "1 ", "1_0", "٣", "-9223372036854775808"])
@example(texts=["9223372036854775807", "9223372036854775808", "-9223372036854775809", ""])
def test_one_id_alone_has_the_key_it_has_among_others(texts: list[str]) -> None:
    assert [key_of_one(text.encode()) for text in texts] == keys_of(texts).tolist()


def test_a_large_number_has_one_key_whatever_stands_beside_it() -> None:
    large = str(2**53 + 1)
    assert keys_of([large, "m1"])[0] == keys_of([large])[0] == keys_of([2**53 + 1])[0]
    assert keys_of([large, "m1"])[0] != keys_of([str(2**53)])[0]
