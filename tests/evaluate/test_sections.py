from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from markupsafe import Markup

from recsys.evaluate import sections, wording
from recsys.evaluate.material import DialPoint
from tests.evaluate.materials import dial_point, estimate


def narrow(dial: float) -> DialPoint:
    """A dial that moves little, far from zero: 82.0 to 82.4 % of places, 100 to 99.6 % kept."""
    share, kept = 0.82 + 0.01 * dial, 1 - 0.01 * dial
    return replace(
        dial_point(dial),
        discovery_share=estimate(share, 0.0005),
        value_kept=estimate(kept, 0.0002),
        discovery_hits=estimate(0.33 + 0.01 * dial, 0.001),
    )


DIAL = [narrow(dial) for dial in (0, 0.1, 0.2, 0.3, 0.4)]


@pytest.mark.parametrize("chart", [sections.price, sections.outcome])
def test_a_dial_that_moves_little_fills_its_chart_all_the_same(
    chart: Callable[[Sequence[DialPoint], float], Markup],
) -> None:
    picture = chart(DIAL, 0.5)
    across = [float(x) for x in re.findall(r'cx="([\d.]+)%"', picture)]
    assert len(across) == len(DIAL)
    assert max(across) - min(across) > 40


def test_ticks_of_a_narrow_range_are_told_apart() -> None:
    picture = sections.price(DIAL, now=0.5)
    ticks = re.findall(r">([\d.]+)\N{NARROW NO-BREAK SPACE}%<", picture)
    assert len(ticks) >= 6
    assert len(ticks) == len(set(ticks))


def test_what_is_less_than_all_is_never_written_as_all() -> None:
    thin = "\N{NARROW NO-BREAK SPACE}%"
    assert wording.percent(1) == f"100{thin}"
    assert wording.percent(0.9997) == f"99.97{thin}"
    assert wording.percent(0.99999) == f"99.999{thin}"
    assert wording.percent(0.996, 0) == f"99.6{thin}"
    assert wording.plus_minus(estimate(0.9997, 0.0001), share=True).startswith("99.97 ")
