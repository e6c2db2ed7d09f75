"""Settings of the built-in retailer whose truth is known."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from recsys.domain.source import Source
from recsys.domain.spec import CountOrNone, NonNegative, Positive

Size = Literal["small", "demo", "large"]

_MEMBERS: dict[Size, int] = {"small": 1_500, "demo": 20_000, "large": 5_000_000}
_DAYS: dict[Size, int] = {"small": 14, "demo": 30, "large": 60}
_BRANDS: dict[Size, int] = {"small": 400, "demo": 1_500, "large": 1_500}
_SALES_A_DAY: dict[Size, int] = {"small": 24, "demo": 40, "large": 40}


class FlashSales(Source):
    """Simulate a members-only retailer: sales open at noon and are gone in two days."""

    kind: Literal["flash_sales"] = "flash_sales"
    size: Size = "demo"
    """small (1,500 members, 14 days), demo (20,000, 30) or large (5,000,000, 60)."""
    members: CountOrNone = 0
    """Members, those who join on the way among them; 0 = by size."""
    days: Annotated[int, Field(ge=0, le=3_650)] = 0
    """Days from noon to noon; 0 = by size."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Another seed is another world: brands, members and luck."""
    zone: str = "Europe/Paris"
    """IANA name of the business time zone: noon is its noon."""
    logging_policy: Literal["random", "editors", "popular", "taste"] = "editors"
    """Who filled the slates of the past: chance, the editors' order, what sold lately, or an old
    model of taste; the last three leave a fifth of the places to chance."""
    discovery_value: NonNegative = 1.0
    """How much a pleasing first purchase of a brand raises later visits; 0 = not at all."""
    irritation: NonNegative = 1.0
    """How much mails without interest raise the chance to unsubscribe; 0 = not at all."""
    outcome_hours: Positive = 48.0
    """How long after a request its outcomes count: no sale lasts longer."""

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"no time zone {zone!r}; IANA names look like Europe/Paris") from None
        return zone

    @property
    def num_members(self) -> int:
        """Count the members, those who join on the way among them."""
        return self.members or _MEMBERS[self.size]

    @property
    def num_days(self) -> int:
        """Count the days from noon to noon."""
        return self.days or _DAYS[self.size]

    @property
    def num_brands(self) -> int:
        """Count the brands, those that enter or leave on the way among them."""
        return _BRANDS[self.size]

    @property
    def sales_a_day(self) -> int:
        """Sales that open on an ordinary day."""
        return _SALES_A_DAY[self.size]
