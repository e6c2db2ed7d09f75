from __future__ import annotations

from recsys.evaluate import wording
from tests.evaluate.materials import estimate


def test_what_is_less_than_all_is_never_written_as_all() -> None:
    thin = "\N{NARROW NO-BREAK SPACE}%"
    assert wording.percent(1) == f"100{thin}"
    assert wording.percent(0.9997) == f"99.97{thin}"
    assert wording.percent(0.99999) == f"99.999{thin}"
    assert wording.percent(0.996, 0) == f"99.6{thin}"
    assert wording.plus_minus(estimate(0.9997, 0.0001), share=True).startswith("99.97 ")
