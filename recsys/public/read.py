"""A public source in, its Tables out."""

from __future__ import annotations

from typing import assert_never

from recsys.domain.tables import Tables
from recsys.public import (
    beauty,
    citeulike,
    complete_journey,
    ebnerd,
    globo,
    gowalla,
    movielens,
    movielens_1m,
    online_retail,
)
from recsys.public.published import Beauty, CiteULike, Ebnerd, Gowalla, Movielens1M
from recsys.public.spec import CompleteJourney, Globo, Movielens, OnlineRetail, PublicSource


def read(source: PublicSource) -> Tables:
    """Read the tables of a public set.

    Raises:
        SettingError: its files are not where `source.root` says.
    """
    match source:
        case CompleteJourney():
            return complete_journey.tables(source)
        case Globo():
            return globo.tables(source)
        case OnlineRetail():
            return online_retail.tables(source)
        case Movielens():
            return movielens.tables(source)
        case _:
            return _published(source)


def _published(source: Gowalla | Movielens1M | Beauty | CiteULike | Ebnerd) -> Tables:
    match source:
        case Gowalla():
            return gowalla.tables(source)
        case Movielens1M():
            return movielens_1m.tables(source)
        case Beauty():
            return beauty.tables(source)
        case CiteULike():
            return citeulike.tables(source)
        case Ebnerd():
            return ebnerd.tables(source)
        case _:
            assert_never(source)
