"""What a slate costs for who is not in the bundle: python -m benchmarks.newcomers [--quick].

The flash_sales shop, vectors of untrained towers, slates of six. Members with a past are asked for
as members, and as newcomers who tell that past and their features; alone and 64 at once, one
thread. A figure is microseconds of the processor for one of them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import numpy as np

from benchmarks import made_bundle
from benchmarks.turns import Clock, Row, Took, in_turn, line, middle
from recsys.data import encode
from recsys.domain.arrays import I64
from recsys.domain.dataset import Dataset
from recsys.domain.events import Channel, Kind
from recsys.retrieval.index import build
from recsys.retrieval.spec import Exact
from recsys.runs.prepare import prepare
from recsys.serve.asks import Touch
from recsys.serve.newcomer import Newcomer
from recsys.serve.parts import BundleParts, info_of
from recsys.towers.carried import carried
from recsys.towers.embed import Embedder, Trained
from recsys.towers.keys import sale_keys
from recsys.towers.resident import rows_in_use
from recsys.towers.spec import Causal, Encoder, Pooled, TwoTower
from recsys.towers.two_tower import Sizes, TwoTowerNet
from recsys.world.spec import FlashSales

ASKED, BATCH, SLOTS = 640, 64, 6


def parts_of(dataset: Dataset, encoder: Encoder) -> BundleParts:
    """Make a bundle of towers as they start."""
    spec = TwoTower(encoder=encoder)
    encoders = encode.fit(dataset, dataset.watermark, spec.table_bits)
    encoded = encode.encode(encoders, dataset)
    used, sizes = rows_in_use(encoded), Sizes.of(encoded)
    net = TwoTowerNet(spec, sizes, used=used, sales=dataset.num_sales, seed=0)
    trained = Trained(
        weights=dict(net.state_dict()),
        used=used,
        sale_keys=sale_keys(dataset.sales["sale"]).numpy(),
        spec=spec,
        sizes=sizes,
        seed=0,
        encoders=encoders.fingerprint,
        fingerprint="untrained",
        until=dataset.watermark,
    )
    embedder, at = Embedder(trained, dataset, encoded), dataset.watermark
    sales = embedder.embeddings_sales(np.arange(dataset.num_sales), at)
    return BundleParts(
        name=dataset.name,
        zone=dataset.zone,
        shop=dataset.shop,
        members=embedder.embeddings_members(np.arange(dataset.num_members), at),
        personalise=dataset.members["consent_personalise"].to_numpy(),
        sales=sales,
        info=info_of(dataset),
        index=build(Exact(), sales.vectors),
        ranker=made_bundle.ranker(),
        specs={},
        watermark=at,
        decided_at=at,
        of_the_past=True,
        towers=carried(embedder, encoders),
    )


def told(dataset: Dataset, member: int) -> Newcomer:
    """Describe a member as somebody nobody knows."""
    history, row = dataset.history, dataset.members.row(member, named=True)
    past = range(int(history.member_ptr[member]), int(history.member_ptr[member + 1]))
    return Newcomer(
        history=tuple(
            Touch(
                kind=Kind(history.kind[event]).name.lower(),
                at=int(history.at[event]),
                sale=str(dataset.sales["sale"][int(history.sale[event])]),
                channel=Channel(history.channel[event]).name.lower(),
            )
            for event in past
        ),
        features={f.column: row[f.column] for f in dataset.schema.members},
    )


def runs(
    parts: BundleParts, members: I64, newcomers: list[Newcomer]
) -> dict[str, Callable[[], Took]]:
    """Return what is timed: all of them in turn, alone or in batches."""
    shelf = parts.shelves.at(parts.decided_at)

    def timed(size: int, ask: Callable[[slice], object]) -> Callable[[], Took]:
        def run() -> Took:
            clock = Clock()
            for first in range(0, len(members), size):
                ask(slice(first, first + size))
            return clock.took(len(members))

        return run

    def known(some: slice) -> object:
        return parts.slates(members[some], shelf, slots=SLOTS)

    def new(some: slice) -> object:
        return parts.welcome(newcomers[some], shelf, slots=SLOTS)

    def odd(some: slice) -> object:
        return parts.welcome(strange[some], shelf, slots=SLOTS)

    strange = [Newcomer(one.history, one.features | {"region": "atlantis"}) for one in newcomers]
    return {
        "member, alone": timed(1, known),
        "newcomer, alone": timed(1, new),
        "newcomer, a value never seen": timed(1, odd),
        f"member, {BATCH} at once": timed(BATCH, known),
        f"newcomer, {BATCH} at once": timed(BATCH, new),
    }


def main() -> None:
    """Print one table an encoder, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the newcomers, once")
    quick = parser.parse_args().quick
    dataset, rows, carries = prepare(FlashSales()).dataset, list[Row](), dict[str, int]()
    active = np.flatnonzero(np.diff(dataset.history.member_ptr))
    members = active[:: len(active) // ASKED][: ASKED // 5 if quick else ASKED]
    newcomers = [told(dataset, member) for member in members.tolist()]
    for encoder in (Pooled(), Causal()):
        parts = parts_of(dataset, encoder)
        carried_here = () if parts.towers is None else parts.towers.arrays
        carries[encoder.kind] = sum(int(array.nbytes) for array in carried_here)
        found = in_turn(runs(parts, members, newcomers), pairs=1 if quick else 5)
        for name, took in found.items():
            spread = middle(1e6 / one.processor_rate for one in took)
            rows.append(Row.of(f"{encoder.kind}: {name}", spread, "us"))
    print(f"  {'us of one core, each':40}{'median':>9}   least to most")
    for row in rows:
        print(f"  {row.name:40}{row.value:>9.1f}   {row.low:.1f} to {row.high:.1f}")
    print("  bytes a bundle carries: " + ", ".join(f"{k} {n:,}" for k, n in carries.items()))
    print(line("newcomers", rows, bytes=carries, load=round(os.getloadavg()[0], 2)))


if __name__ == "__main__":
    main()
