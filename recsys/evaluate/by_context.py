"""A log whose dials were drawn in, where the dial should stand in each context out (DECISION 8).

Each slate of the log knows the chance of each of its slots at every dial of the grid, so one log
answers for all of them. Half of the members choose, the other half judge what was chosen: the
largest of many estimates is too large, and only members who did not choose can say by how much.

Columns of the frame, a row a slot: member, send, slot, reward, log_propensity, context, and the log
chance of the slot with the dial unmoved (`own`) and at each of GRID (`dial_0` to `dial_4`).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import polars as pl

from recsys.campaign.keys import key_of, keys_of, salted
from recsys.evaluate.logged import TARGET
from recsys.evaluate.offpolicy import PolicyValue, Snips, difference
from recsys.evaluate.support import Refused
from recsys.rerank.dial import CONTEXTS, GRID

OWN = "own"
AT_DIAL = tuple(f"dial_{place}" for place in range(len(GRID)))
METHOD = Snips(weights="prefix")
_COMPARED = len(GRID) * (1 + len(CONTEXTS))  # the contexts, and the rest of them together
STRICT = NormalDist().inv_cdf(1 - 0.05 / _COMPARED) / NormalDist().inv_cdf(0.975)
"""How much farther than a 95 % interval a gain must reach to be sure among so many compared at
once: by Bonferroni, one false gain in twenty logs."""


@dataclass(frozen=True)
class Choice:
    """What is known of the dial in one context, or for all."""

    context: str
    slates: int
    """Of the members who choose."""
    more: tuple[PolicyValue | Refused, ...]
    """What each dial of GRID brings a slate more than the one that stands, or why it is unknown."""

    @property
    def place(self) -> int | None:
        """Which of GRID is best, None = the one that stands.

        Only dials that are for sure better are better.
        """
        better = {
            place: found.value
            for place, found in enumerate(self.more)
            if isinstance(found, PolicyValue) and sure(found) > 0
        }
        return max(better, key=lambda place: better[place]) if better else None


@dataclass(frozen=True)
class Choices:
    """What is known of the dial, for all members together and in each of CONTEXTS."""

    all: Choice
    contexts: tuple[Choice, ...]
    rest: Choice
    """Of the contexts in which no dial is best by itself, together."""

    @property
    def places(self) -> tuple[int | None, ...]:
        """Which of GRID is taken in each context, None = the dial that stands.

        The best there; where no dial is, the best of these contexts together, unless its interval
        there lies below nothing.
        """
        return tuple(
            one.place if one.place is not None else self._of_rest(one) for one in self.contexts
        )

    @property
    def dials(self) -> tuple[float | None, ...]:
        """The dials taken."""
        return tuple(None if place is None else GRID[place] for place in self.places)

    def _of_rest(self, here: Choice) -> int | None:
        place = self.rest.place
        found = None if place is None else here.more[place]
        return None if isinstance(found, PolicyValue) and found.high < 0 else place


def sure(found: PolicyValue) -> int:
    """Return 1 where the gain is for sure above nothing, -1 where it is below, 0 where neither."""
    low = found.value - STRICT * (found.value - found.low)
    high = found.value + STRICT * (found.high - found.value)
    return int(low > 0) - int(high < 0)


def halves(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the members of a log in two by a hash of their ids, whatever else is in it."""
    # a salt of its own: members are dealt into shards and arms by the same ids
    chooses = pl.Series(salted(keys_of(frame["member"]), key_of("who chooses a dial")) % 2 == 0)
    return frame.filter(chooses), frame.filter(~chooses)


def choose(frame: pl.DataFrame, *, num_draws: int, seed: int) -> Choices:
    """Compare each dial with the one that stands, for all members and context by context.

    Raises:
        DataRefusedError: a column is missing, or holds what no log can.
    """

    def about(name: str, here: pl.DataFrame) -> Choice:
        more = tuple(_more(here, pl.col(dial), num_draws=num_draws, seed=seed) for dial in AT_DIAL)
        return Choice(name, here.select("member", "send").n_unique(), more)

    contexts = tuple(about(one, frame.filter(pl.col("context") == one)) for one in CONTEXTS)
    others = [one.context for one in contexts if one.place is None]
    return Choices(
        all=about("all", frame),
        contexts=contexts,
        rest=about("rest", frame.filter(pl.col("context").is_in(others))),
    )


def judged(
    frame: pl.DataFrame, choices: Choices, *, num_draws: int, seed: int
) -> PolicyValue | Refused:
    """Return what all choices together bring a slate more than the dials that stand.

    Raises:
        DataRefusedError: a column is missing, or holds what no log can.
    """
    target = pl.col(OWN)
    for context, place in zip(CONTEXTS, choices.places, strict=True):
        if place is not None:
            here = pl.col("context") == context
            target = pl.when(here).then(pl.col(AT_DIAL[place])).otherwise(target)
    return _more(frame, target, num_draws=num_draws, seed=seed)


def _more(
    frame: pl.DataFrame, target: pl.Expr, *, num_draws: int, seed: int
) -> PolicyValue | Refused:
    aimed = frame.with_columns(target.alias(TARGET))
    return difference(aimed, METHOD, than=OWN, num_draws=num_draws, seed=seed)
