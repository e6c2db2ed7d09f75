"""What slates look up in a whole shop, sorted when a bundle is published and mapped when opened.

Sorting the engagements of a million members takes longer than anything else that a server does
before it answers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recsys.data.popularity import Popularity
from recsys.domain.events import Events
from recsys.domain.shop import Shop
from recsys.rerank.appetite import Appetite
from recsys.rerank.desk import Desk
from recsys.serve.mapped import mapped, save

FOLDER = "engaged"
"""Below the shop's: engagements by sale and by maker, two arrays each, see `Popularity`."""


def write(desk: Desk, shop: Path) -> None:
    """Write the indexes of a desk that answers for any instant."""
    arrays = dict[str, np.ndarray]()
    for whose, engaged in (("sale", desk.popularity), ("maker", desk.maker_popularity)):
        if not isinstance(engaged, Popularity):
            raise TypeError("a desk that stands at one instant cannot be published")
        arrays |= {f"{whose}_ptr": engaged.sale_ptr, f"{whose}_times": engaged.times}
    save(shop / FOLDER, **arrays)


def read(shop: Shop, appetite: Appetite, folder: Path) -> Desk | None:
    """Lay the desk of a shop with the indexes in its folder; None where there are none.

    Raises:
        ValueError: they are of another shop.
    """
    if not (folder / FOLDER).is_dir():  # published before they were kept
        return None
    # all but the engagements is of sales, and made anew
    bare = Desk.of(replace(shop, history=_nothing()), appetite)
    return replace(
        bare,
        shop=shop,
        popularity=_engaged(shop, folder / FOLDER, "sale", keys=shop.num_sales),
        maker_popularity=_engaged(
            shop, folder / FOLDER, "maker", keys=int(bare.maker.max(initial=0)) + 1
        ),
    )


def _engaged(shop: Shop, folder: Path, whose: str, *, keys: int) -> Popularity:
    ptr, times = (mapped(folder, f"{whose}_{part}") for part in ("ptr", "times"))
    if len(ptr) != keys + 1 or {int(ptr[-1]), len(times)} != {len(shop.history)}:
        raise ValueError(f"engagements by {whose} are not those of the shop")
    return Popularity(ptr, times)


def _nothing() -> Events:
    none = np.zeros(0, dtype=np.int64)
    byte = none.astype(np.uint8)
    return Events(
        sale=none.astype(np.int32),
        at=none,
        kind=byte,
        channel=byte,
        flags=byte,
        value=none.astype(np.float32),
        member_ptr=np.zeros(1, dtype=np.int64),
    )
