"""Settings in, a retailer whose truth is known out."""

from recsys.world.days import Totals
from recsys.world.play import Played, play
from recsys.world.policy import Chosen, Noon, Policy
from recsys.world.spec import FlashSales
from recsys.world.truth import Truth

__all__ = ["Chosen", "FlashSales", "Noon", "Played", "Policy", "Totals", "Truth", "play"]
