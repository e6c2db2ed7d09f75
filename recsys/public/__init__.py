"""Public sets in, Tables out."""

from recsys.public.published import Gowalla
from recsys.public.read import read
from recsys.public.spec import CompleteJourney, Globo, Movielens, OnlineRetail

__all__ = ["CompleteJourney", "Globo", "Gowalla", "Movielens", "OnlineRetail", "read"]
