"""Public sets in, Tables out."""

from recsys.public.hillstrom import Hillstrom
from recsys.public.open_bandit import OpenBandit
from recsys.public.published import Beauty, CiteULike, Ebnerd, Gowalla, Movielens1M
from recsys.public.read import read
from recsys.public.spec import CompleteJourney, Globo, Movielens, OnlineRetail

__all__ = [
    "Beauty",
    "CiteULike",
    "CompleteJourney",
    "Ebnerd",
    "Globo",
    "Gowalla",
    "Hillstrom",
    "Movielens",
    "Movielens1M",
    "OnlineRetail",
    "OpenBandit",
    "read",
]
