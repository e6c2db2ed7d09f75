"""How a slate is made of what a member likes, what is new to them and what an editor picked."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar, assert_never

from pydantic import AfterValidator, Field

from recsys.domain.joined import Joined
from recsys.domain.spec import Count, CountOrNone, NonNegative, Positive, Share, Spec
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.ssd import Ssd

Diversity = Annotated[
    TopK | Mmr | Dpp | Ssd | Calibrated,
    Field(discriminator="kind"),
    Joined("recsys.rerankers", ("weight", "init", "gains", "update")),
]
"""What variety is worth, chosen by `kind`; installed packages may join (docs/extending.md)."""


FIFTHS = 5
T = TypeVar("T")


def five_or_none(dials: tuple[T, ...]) -> tuple[T, ...]:
    """Return numbers for fifths of the members as they are.

    Raises:
        ValueError: there are neither five nor none.
    """
    if len(dials) not in {0, FIFTHS}:
        raise ValueError(f"{len(dials)} numbers, wanted five, one for each fifth, or none")
    return dials


Fifths = Annotated[tuple[NonNegative, ...], AfterValidator(five_or_none)]
"""A number for each fifth of the members, or none."""


class Slate(Spec):
    """What every kind of slate shares."""

    slots: Annotated[int, Field(ge=1, le=100)] = 6
    """Sales on a slate."""
    value: Literal["auto", "logistic", "boosted"] = "auto"
    """Model of the chance of a purchase. auto takes boosted trees above 5,000 purchases of at least
    1,000 sales, and only if their calibrated log-loss wins by two standard errors, by sale."""
    worth: Literal["purchase", "price"] = "purchase"
    """What a purchase counts for: each alike, or by the price of its sale, in purchases at the
    shop's median price. price brings more money and fewer purchases."""
    candidates: Annotated[int, Field(ge=10)] = 200
    """On longer shelves only so many sales are valued for a member: those curated, those the
    member engaged with most often, then the highest taste."""


class Mixed(Slate):
    """Settings of slates that are more than the most valuable sales."""

    novelty: NonNegative = 0.7
    """The dial: a sale new to the member counts as if it were worth (1 + novelty) times as much.
    0 ranks by value alone."""
    novelty_short: Fifths = ()
    """The dial of members with a short past, shorter than half of the pasts there are: five
    numbers, of the fifth who least like what is new first. [] = `novelty`, which is also the dial
    of members without a past; recsys dial finds them."""
    novelty_long: Fifths = ()
    """The same of members with a longer past."""
    novelty_drawn: Share = 0.0
    """Share of slates whose dial is drawn from 0, .35, .7, 1.4, 2.8, each alike, so that recsys
    dial can tell which is best for whom; the log propensity knows of it."""
    newness: Literal["soft", "strict"] = "soft"
    """soft: a brand becomes new again with time; strict: new until the member first engages."""
    half_life_days: Positive = 180.0
    """Soft newness: days without engagement after which a brand is half new again."""
    curated_boost: Annotated[float, Field(ge=0.25, le=4.0)] = 1.25
    """What an editor's pick multiplies a sale's value by."""
    diversity: Diversity = Mmr()
    """What variety is worth beside value."""
    fatigue: Annotated[float, Field(gt=0, le=1)] = 0.8
    """What a sale is worth, as a share, for each time in 14 days that the member was shown its
    brand without engaging with it since; 1 = nothing tires."""
    most_new: CountOrNone = 1
    """Sales new to the member on a slate, beside editors' picks and pins, for the fifth of the
    members who least like what is new, where the shelf has others to fill it; 0 = any number."""
    explore_share: Share = 0.1
    """Chance that the last slot is drawn from sales of which little is known, each alike; the log
    propensity says how likely each was. 0 = never."""
    explore_below: Count = 50
    """A sale of which fewer engagements are known may be explored."""
    max_per_brand: CountOrNone = 1
    """Sales of one brand on a slate; 0 = any number."""
    temperature: NonNegative = 0.0
    """0 takes the best; above, sales are drawn by softmax of gain over this many standard
    deviations of the member's values, and the log propensity says how likely each was."""

    @property
    def dials(self) -> tuple[float, ...]:
        """Where the dial stands without a past, then by fifth of short and of long pasts: 11."""
        same = (self.novelty,) * FIFTHS
        return (self.novelty, *(self.novelty_short or same), *(self.novelty_long or same))


class Pure(Slate):
    """The sales of highest expected value, nothing else."""

    kind: Literal["pure"] = "pure"


class Blend(Mixed):
    """Value, novelty to the member, editors' picks and variety in one utility."""

    kind: Literal["blend"] = "blend"


class Spaced(Mixed):
    """A blend whose neighbours differ: sales of one category stand apart where the shelf allows."""

    kind: Literal["spaced"] = "spaced"
    apart: Count = 3
    """Sales of one category are at least so many slots apart; 1 = may be neighbours."""


Rerank = Annotated[Pure | Blend | Spaced, Field(discriminator="kind")]
"""How slates are made, chosen by `kind`."""


def plan_of(spec: Rerank) -> Blend | Spaced:
    """Return the settings as a mix: pure is a blend with every dial at zero."""
    match spec:
        case Pure():
            return Blend(
                slots=spec.slots,
                value=spec.value,
                worth=spec.worth,
                candidates=spec.candidates,
                novelty=0.0,
                curated_boost=1.0,
                diversity=TopK(),
                fatigue=1.0,
                most_new=0,
                explore_share=0.0,
                max_per_brand=0,
            )
        case Blend() | Spaced():
            return spec
        case _:
            assert_never(spec)
