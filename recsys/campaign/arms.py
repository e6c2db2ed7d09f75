"""Which arm of an experiment a member is in, and whether the arms may be compared at all.

Layers follow Tang et al. 2010 (overlapping experiments): experiments of one layer share out its
members, experiments of different layers draw independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator
from scipy.special import chdtrc

from recsys.campaign.keys import BLOCK, U64, Ids, key_of, keys_of, salted
from recsys.domain.arrays import F64, I16, I64, Bool
from recsys.domain.errors import SettingError
from recsys.domain.spec import NonNegative, Share, Spec

HOLD_OUT = "hold_out"
"""Group of the members who are in no experiment, ever: they get what is popular or curated."""
OUTSIDE = "outside"
"""Group of the members of a layer whom an experiment does not ask for."""
HOLD_OUT_SHARE = 0.01
"""Constants, no settings: a hold-out that changed would measure nothing over the years."""
LEAST_P = 0.001
"""Below this chance under the weights, counts of arms are not believed (DECISION 7)."""
_SPACE = 2**53
_HOLD_OUT_SALT = key_of("hold-out")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]


class Arm(Spec):
    """One way of serving that is compared with others."""

    name: Name
    """As the slate log says it."""
    weight: NonNegative = 1.0
    """Members in proportion to the weights of all arms; 0 = nobody now."""


class Experiment(Spec):
    """Arms that share out the members of a stretch of a layer."""

    name: Name
    """Two experiments of different names draw independently."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=1, max_length=100)]
    """New weights move few members: as few as possible with two arms, or where arms grow at the
    cost of one that stays above an equal share. Keep the arms in their order."""
    salt: str = ""
    """Another text draws all members anew."""
    layer: Name = "default"
    """Experiments of one layer never share a member; those of different layers are independent."""
    first: Share = 0.0
    """Where the experiment's stretch of its layer starts."""
    last: Share = 1.0
    """Where it ends."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len({*names, HOLD_OUT, OUTSIDE}) < len(names) + 2:
            raise ValueError(
                f"arms {', '.join(names)}: names must differ, also from {HOLD_OUT} and {OUTSIDE}"
            )
        if not any(arm.weight for arm in self.arms):
            raise ValueError(f"experiment {self.name}: no arm has a weight above 0")
        if self.first >= self.last:
            raise ValueError(
                f"experiment {self.name} takes {self.first} to {self.last} of layer {self.layer}: "
                "nobody"
            )
        return self

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Name what the rows of `assign` stand for: the arms, then hold-out and outside."""
        return (*(arm.name for arm in self.arms), HOLD_OUT, OUTSIDE)

    @cached_property
    def weights(self) -> F64:
        """Weights of the arms, F64[A]."""
        return np.array([arm.weight for arm in self.arms])


class Experiments(Spec):
    """All experiments that run at one time."""

    experiments: tuple[Experiment, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        names = [experiment.name for experiment in self.experiments]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two experiments are called {twice[0]}: they would draw alike")
        in_order = sorted(self.experiments, key=lambda one: (one.layer, one.first))
        for one, other in pairwise(in_order):
            if one.layer == other.layer and other.first < one.last:
                raise ValueError(
                    f"{one.name} takes {one.first} to {one.last} of layer {one.layer}, "
                    f"{other.name} {other.first} to {other.last}: give one of them another layer"
                )
        return self


def read_experiment(path: Path) -> Experiment:
    """Read an experiment from a JSON file.

    Raises:
        SettingError: the file is not there, or says no experiment.
    """
    try:
        return Experiment.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingError(f"arms={path}: {error.strerror}", "name a JSON file") from None
    except ValidationError as refused:
        first = refused.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise SettingError(
            f"arms={path} says no experiment: {where}: {first['msg']}",
            'it reads like {"name": "dial", "arms": [{"name": "a"}, {"name": "b"}]}',
        ) from None


def held_out(ids: Ids) -> Bool:
    """Return who is in the permanent hold-out, Bool[M]: by their id alone, the same for good."""
    keys = keys_of(ids)
    blocks = [_held_out(keys[first : first + BLOCK]) for first in range(0, len(keys), BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.bool_)


def assign(ids: Ids, experiment: Experiment) -> I16:
    """Return each member's row of `experiment.groups`, I16[M], by id, name and salt alone.

    A member's row does not depend on who else is asked about, nor on their order.
    """
    keys = keys_of(ids)
    rows = np.empty(len(keys), dtype=np.int16)
    edges, arms = _spans(experiment.weights)
    layer, salt = key_of("layer", experiment.layer), key_of("arm", experiment.name, experiment.salt)
    first, last = (int(end * _SPACE) for end in (experiment.first, experiment.last))
    for start in range(0, len(keys), BLOCK):
        some = keys[start : start + BLOCK]
        found = arms[np.searchsorted(edges, salted(some, salt), side="right") - 1]
        if last - first < _SPACE:
            place = salted(some, layer)
            found[(place < first) | (place >= last)] = experiment.groups.index(OUTSIDE)
        found[_held_out(some)] = experiment.groups.index(HOLD_OUT)
        rows[start : start + BLOCK] = found
    return rows


def tally(rows: I16, experiment: Experiment) -> I64:
    """Count the members of each arm, I64[A], from what `assign` gave."""
    return np.bincount(rows, minlength=len(experiment.groups))[: len(experiment.arms)]


def _held_out(keys: U64) -> Bool:
    return salted(keys, _HOLD_OUT_SALT) < int(HOLD_OUT_SHARE * _SPACE)


def _spans(weights: F64) -> tuple[U64, I16]:
    """Cut the space of draws into spans: where each starts, U64[j] ascending, and whose it is.

    Every arm has a home, an equal stretch of the space, and keeps as much of it as it weighs, from
    its start. What homes have left goes to the arms that weigh more than a home. So arms that grow
    at the cost of one large arm take members from that one alone.
    """
    home = 1 / len(weights)
    share = weights / weights.sum()
    own = np.minimum(share, home)
    left, more = home - own, share - own
    line, claims = np.cumsum(left), np.cumsum(more)
    starts: list[float] = []
    whose: list[int] = []
    for arm in range(len(weights)):
        if own[arm] > 0:
            starts.append(arm * home)
            whose.append(arm)
        at = line[arm] - left[arm]
        for other in np.flatnonzero(more > 0):
            low = max(at, claims[other] - more[other])
            if low < min(line[arm], claims[other]):
                starts.append(arm * home + own[arm] + low - at)
                whose.append(int(other))
    starts[0] = 0.0
    edges = (np.array(starts) * _SPACE).astype(np.uint64)
    return edges, np.array(whose, dtype=np.int16)


@dataclass(frozen=True)
class Ratio:
    """Members counted in A arms beside what the weights ask for."""

    counts: I64
    """I64[A]."""
    expected: F64
    """F64[A]; the chance below is exact enough from about 5 a weighted arm."""
    chi_square: float
    p: float
    """Chance of counts at least so far off, were the weights kept."""


@dataclass(frozen=True)
class RatioRefused:
    """The arms do not hold the members they should: nothing may be read out of them.

    First find what loses or adds members.
    """

    why: str
    ratio: Ratio


def sample_ratio(
    counts: Sequence[int] | I64, weights: Sequence[float] | F64
) -> Ratio | RatioRefused:
    """Test counts of A arms against their weights (Pearson's chi-square); below 0.001 refuse.

    A lost page, a filter that differs by arm or a changed weight shows here, before any effect.

    Raises:
        ValueError: counts and weights do not match, or one is negative, or no weight is above 0.
    """
    seen, weight = np.asarray(counts, dtype=np.int64), np.asarray(weights, dtype=np.float64)
    if seen.shape != weight.shape or (seen < 0).any() or (weight < 0).any() or not weight.any():
        raise ValueError(f"counts {seen.tolist()} with weights {weight.tolist()}")
    expected = seen.sum() * weight / weight.sum()
    some = weight > 0
    off = np.where(some, (seen - expected) ** 2 / np.where(expected > 0, expected, 1.0), 0.0)
    chi_square = float(off.sum())
    p = float(chdtrc(int(some.sum()) - 1, chi_square)) if some.sum() > 1 else 1.0
    if seen[~some].any():
        p = 0.0
    ratio = Ratio(counts=seen, expected=expected, chi_square=chi_square, p=p)
    if p >= LEAST_P:
        return ratio
    saw = ", ".join(f"{int(n):,}" for n in seen)
    wanted = ", ".join(f"{n:,.1f}" for n in expected)
    why = f"arms hold {saw} members, wanted {wanted}: chance {p:.1e}, below {LEAST_P:g}"
    return RatioRefused(why=why, ratio=ratio)
