"""Settings in, a retailer whose truth is known out."""

from recsys.world.days import Totals
from recsys.world.figures import BANDS, figures
from recsys.world.play import Played, play, respond, simulate
from recsys.world.policy import Chosen, Noon, Policy
from recsys.world.retailer import World, make_world
from recsys.world.shards import write_tables
from recsys.world.spec import FlashSales
from recsys.world.spread import processes
from recsys.world.state import State
from recsys.world.stream import Past, stream
from recsys.world.truth import Truth

__all__ = [
    "BANDS",
    "Chosen",
    "FlashSales",
    "Noon",
    "Past",
    "Played",
    "Policy",
    "State",
    "Totals",
    "Truth",
    "World",
    "figures",
    "make_world",
    "play",
    "processes",
    "respond",
    "simulate",
    "stream",
    "write_tables",
]
