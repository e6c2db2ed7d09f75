from __future__ import annotations

import numpy as np
import pytest

from recsys.world import BANDS, FlashSales, Played, figures, make_world, respond
from recsys.world.policy import logging_policy


@pytest.fixture(scope="module")
def found(demo: Played) -> dict[str, float]:
    return figures(demo)


@pytest.mark.parametrize("figure", BANDS)
def test_a_figure_of_the_default_world_is_in_its_band(found: dict[str, float], figure: str) -> None:
    least, most = BANDS[figure]
    assert least <= found[figure] <= most


def test_new_brands_are_bought_more_with_every_fifth_of_appetite(
    found: dict[str, float],
) -> None:
    shares = [found[f"new_brand_share_{fifth}"] for fifth in range(1, 6)]
    assert (np.diff(shares) > 0).all()


def test_the_default_world_has_about_half_a_million_events(demo: Played) -> None:
    assert 400_000 < len(demo.log) < 700_000


def test_figures_of_a_past_without_days_are_not_there() -> None:
    world = make_world(FlashSales(members=50, days=3))
    day = respond(world, world.start, policy=logging_policy, days=1)
    assert np.isnan(figures(day)["appetite_between_halves"])
