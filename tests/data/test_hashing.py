from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from recsys.data.hashing import MISSING, Hasher, table_row

SCRIPT = """
from recsys.data.hashing import table_row
print([table_row("sale.brand", f"b{value}", 18) for value in range(9)])
"""


def rows_in_a_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout


def test_every_process_hashes_alike_whatever_its_hash_seed() -> None:
    here = str([table_row("sale.brand", f"b{value}", 18) for value in range(9)])
    assert rows_in_a_process("1").strip() == rows_in_a_process("2").strip() == here


def test_a_row_never_changes_between_versions() -> None:
    # the bytes of models in use hang on this number: it may never move
    assert table_row("sale.brand", "acme", 18) == 135091


@given(st.text(min_size=1), st.integers(8, 24))
def test_rows_lie_in_the_table(value: str, bits: int) -> None:
    assert 0 <= table_row("member.city", value, bits) < 1 << bits


def test_the_same_value_in_another_field_is_another_row() -> None:
    values = [f"v{number}" for number in range(50)]
    hasher = Hasher(24)
    assert not set(hasher.rows("member.city", values)) & set(hasher.rows("sale.city", values))


def test_not_known_is_a_value_of_its_own() -> None:
    known = ["", "missing", "null", "None", "0"]
    assert table_row("f", MISSING, 30) not in {table_row("f", value, 30) for value in known}


@given(st.integers(4, 9), st.integers(1, 60))
def test_the_share_of_collisions_is_counted_over_distinct_values(bits: int, number: int) -> None:
    hasher = Hasher(bits)
    for _ in range(2):
        hasher.rows("f", [f"v{value}" for value in range(number)])
    rows = Counter(table_row("f", f"v{value}", bits) for value in range(number))
    colliding = sum(count for count in rows.values() if count > 1)
    assert hasher.collision_share() == colliding / number
