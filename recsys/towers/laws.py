"""The public laws of losses, callable by the tests of a package of one's own.

Each law takes a loss and raises AssertionError, with what it found, where it is broken:

    @pytest.mark.parametrize("law", LAWS)
    def test_mine_keeps_the_public_laws(law):
        law(Mine())
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from recsys.domain.arrays import F64, I64
from recsys.domain.joined import first_broken, silent
from recsys.domain.requests import Requests
from recsys.towers.choice import Choice
from recsys.towers.columns import Layout
from recsys.towers.noise import Noise

Law = Callable[[Choice], None]
LENGTHS = (1, 3, 40, 700)
"""Sales on the shelves that the laws look at."""
STEPS = 300
"""Over which the chances of draws are counted."""


def settings_say_what_they_mean(loss: Choice) -> None:
    """Each setting has a meaning, and plain data make the same loss again."""
    _must(holds=not silent(loss), wanted=silent(loss))


def columns_are_places_of_the_shelf(loss: Choice) -> None:
    """Every shelf gets a column or more, all on it, with finite log Q."""
    length = np.array(LENGTHS)
    width = loss.width(length)
    _must(
        holds=width.shape == length.shape and width.dtype == np.int64 and bool((width >= 1).all()),
        wanted=f"width is int64 [G] and at least 1, found {width!r}",
    )
    layout = _layout(loss, np.arange(len(LENGTHS)))
    place, likely = loss.places(layout, Noise.of(1)), loss.log_q(layout)
    _must(
        holds=place.dtype == torch.int64 and place.shape == layout.slot.shape,
        wanted=f"places are int64 [{len(layout.slot)}], found {place.dtype} {list(place.shape)}",
    )
    _must(
        holds=likely.dtype == torch.float32 and likely.shape == layout.slot.shape,
        wanted=f"log_q is float32 [{len(layout.slot)}], found {likely.dtype} {list(likely.shape)}",
    )
    on = (place >= 0) & (place < layout.length[layout.slot])
    _must(holds=bool(on[layout.real].all()), wanted="every column stands on its shelf")
    finite = torch.isfinite(likely[layout.real])
    _must(holds=bool(finite.all()), wanted="log_q is finite where a column is somebody's")


def the_same_step_has_the_same_columns(loss: Choice) -> None:
    """A step is a pure function of its noise, and each group of itself alone."""
    groups = np.arange(len(LENGTHS))
    layout, noise = _layout(loss, groups), Noise.of(5)
    place = loss.places(layout, noise)
    loss.places(layout, Noise.of(6))
    again = loss.places(layout, noise)
    _must(holds=torch.equal(place, again), wanted="the same columns when asked again")
    for group in groups:
        alone = _layout(loss, groups[group : group + 1])
        mine = layout.real & (layout.slot == int(group))
        _must(
            holds=torch.equal(place[mine], loss.places(alone, noise)[alone.real]),
            wanted="a group's columns are the same whichever groups are beside it",
        )


def the_columns_stand_for_the_whole_shelf(loss: Choice) -> None:
    """Columns weighed by 1 / Q count each sale of the shelf once, on average over the steps.

    So the sum over the columns estimates that over the shelf: the full softmax (Horvitz and
    Thompson 1952). Held within five standard errors.
    """
    for group, length in enumerate(LENGTHS[:3]):
        layout = _layout(loss, np.array([group]))
        counts = np.stack([_counted(loss, layout, length, step=step) for step in range(STEPS)])
        mean, error = counts.mean(axis=0), counts.std(axis=0) / np.sqrt(STEPS)
        off = np.abs(mean - 1) - 5 * error - 1e-4
        worst = int(off.argmax())
        _must(
            holds=bool(off[worst] <= 0),
            wanted=f"place {worst} of {length} counts once on average, found {mean[worst]:.3f}",
        )


LAWS: tuple[Law, ...] = (
    settings_say_what_they_mean,
    columns_are_places_of_the_shelf,
    the_same_step_has_the_same_columns,
    the_columns_stand_for_the_whole_shelf,
)
"""All of them."""


def broken(loss: Choice) -> str:
    """Return the first law that a loss breaks and what was found, or an empty text."""
    return first_broken(LAWS, loss)


def _must(*, holds: bool, wanted: str) -> None:
    if not holds:
        raise AssertionError(wanted)


def _counted(loss: Choice, layout: Layout, length: int, *, step: int) -> F64:
    """Return the sum of 1 / Q of each place of one shelf in one step, F64[length]."""
    place = loss.places(layout, Noise.of(9, step))[layout.real]
    weight = torch.exp(-loss.log_q(layout)[layout.real].double())
    sums = np.zeros(length, dtype=np.float64)
    np.add.at(sums, place.numpy(), weight.numpy())
    return sums


def _layout(loss: Choice, groups: I64) -> Layout:
    """Lay out the columns of some decision times, whose shelves are as long as LENGTHS says."""
    ends = np.cumsum(LENGTHS)
    starts = ends - np.array(LENGTHS)
    none = np.zeros(0, dtype=np.int64)
    requests = Requests(
        group_at=np.arange(len(LENGTHS), dtype=np.int64),
        shelf_start=starts,
        shelf_end=ends,
        shelf_sale=np.arange(ends[-1], dtype=np.int32),
        shelf_curated=np.zeros(ends[-1], dtype=np.bool_),
        member=none.astype(np.int32),
        at=none,
        group=none.astype(np.int32),
        history_end=none,
        target_ptr=np.zeros(1, dtype=np.int64),
        target_sale=none.astype(np.int32),
        target_kind=none.astype(np.uint8),
        target_weight=none.astype(np.float32),
        outcome_us=1,
    )
    width = loss.width(np.array(LENGTHS)[groups])
    return Layout.of(requests, groups, width, device=torch.device("cpu"))
