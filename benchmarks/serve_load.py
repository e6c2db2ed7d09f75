"""How many requests a second a service answers, and how soon: python -m benchmarks.serve_load.

The load comes from `benchmarks.flood` (ours, asyncio over plain sockets, a process of its own that
shares the machine). The service is `python serve_index.py`, one process, held to one core where
there are two. Search: 100,000 sales of 64 numbers, k = 20, the whole archive, against the search
alone and against `benchmarks.plain_server` (FastAPI and faiss as a tutorial has them), in turn.
Flood: searches of the archive without one sale, which no two share, asked ten times as often as
they can be answered. Slates: six of about 40 open sales, with mmr and reasons.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.cells import load_now
from benchmarks.flood import post
from benchmarks.made_bundle import DAYS, DIM, START, parts
from benchmarks.opening import memory
from benchmarks.served import SECONDS, Load, Service, asked, ours, plain
from benchmarks.turns import Row, Spread, line, middle, verdict
from recsys.domain.events import DAY
from recsys.retrieval.index import Index
from recsys.runs.environment import before_imports
from recsys.serve.bundle import publish_bundle

ARCHIVE, K = 100_000, 20
SHOP, MEMBERS = 2_400, 20_000
"""Sales of half a year, of which about 40 are open at once; and who asks for slates."""
CALLERS = (1, 16, 64)
CROWD = 480
"""Callers of the flood: nearly as many as the service lets in."""
TOO_MUCH = 10
"""Times as many requests as can be answered."""
DEADLINE_MS, REFUSAL_MS = 1_000.0, 20.0
AT = START + DAYS * DAY - DAY // 2


def alone(index: Index, queries: np.ndarray) -> list[float]:
    """Return the ms of each search in this process."""
    found = []
    for query in queries:
        since = perf_counter()
        index.search(query[None], K)
        found.append(1000 * (perf_counter() - since))
    return found


def search(root: Path, turns: int) -> list[Row]:
    """Compare searching over HTTP with the search alone, and with the tutorial's server."""
    made = parts(1_000, sales=ARCHIVE)
    publish_bundle(made, root / "archive")
    rng = np.random.default_rng(3)
    queries = rng.standard_normal((500, DIM + 1), dtype=np.float32)
    body: dict[str, object] = {"k": K, "scope": "archive"}
    files = {"ours": root / "ours.json", "plain": root / "plain.json"}
    asks = [post("/v1/similar", {"vector": each.tolist(), **body}) for each in queries]
    files["ours"].write_text(json.dumps(asks), encoding="utf-8")
    asks = [post("/similar", {"vector": each.tolist(), "k": K}) for each in queries]
    files["plain"].write_text(json.dumps(asks), encoding="utf-8")
    found: dict[tuple[str, int], list[Load]] = {}
    by_itself = []
    with ours(root / "archive", at=AT) as our, plain(made.sales.vectors, root) as theirs:
        alone(made.index, queries)
        ways = [
            (name, service, callers)
            for callers in CALLERS
            for name, service in (("ours", our), ("plain", theirs))
        ]
        for _ in range(turns):
            by_itself.append(float(np.median(alone(made.index, queries))))
            for name, service, callers in ways:
                load = asked(service, files[name], callers)
                found.setdefault((name, callers), []).append(load)
        body |= {"exclude": ["s0000001"]}
        asks = [post("/v1/similar", {"vector": each.tolist(), **body}) for each in queries]
        flooded = _flood(our, root / "flood.json", asks, turns=turns)
    return [*_waits(by_itself, found), *_rates(found), *flooded]


def _flood(service: Service, file: Path, asks: Sequence[str], *, turns: int) -> list[Row]:
    """Ask for ten times what can be answered, and see what becomes of everybody."""
    file.write_text(json.dumps(asks), encoding="utf-8")
    usual = [asked(service, file, 16) for _ in range(turns)]
    rate = middle(load.rate for load in usual).value
    asked(service, file, CROWD, rate=rate / 2)  # what so many callers take without a flood
    held = memory(service.process)[0]
    much = [asked(service, file, CROWD, rate=TOO_MUCH * rate) for _ in range(turns)]
    grown = 100 * (memory(service.process)[0] / held - 1)
    after = asked(service, file, 16)
    told = middle((load.answered + load.others) / load.heard.seconds / rate for load in much)
    late = [len(load.heard.waits.get(504, ())) / load.heard.seconds for load in much]
    return [
        Row.of("flood, could be answered", middle([rate]), "requests/s"),
        Row.of("flood, told : could be answered", told, "x"),
        Row.of("flood, answered", middle(load.rate for load in much), "requests/s"),
        _bound("flood, answered, p99", [load.ms(0.99) for load in much], DEADLINE_MS, unit="ms"),
        _bound(
            "flood, refused (503), p99",
            [load.ms(0.99, 503) for load in much],
            REFUSAL_MS,
            unit="ms",
        ),
        Row.of("flood, late (504)", middle(late), "requests/s"),
        _bound("flood, anonymous memory", [grown], 5.0, unit="%"),
        Row.of("after it, 16 callers, p50", middle([after.ms(0.5)]), "ms"),
        Row.of("before it, 16 callers, p50", middle(load.ms(0.5) for load in usual), "ms"),
    ]


def _waits(by_itself: Sequence[float], found: dict[tuple[str, int], list[Load]]) -> list[Row]:
    rows = [Row.of("search alone, p50", middle(by_itself), "ms")]
    for share, bar in ((0.5, 1.3), (0.99, 4.0)):
        name = f"1 caller, p{100 * share:.0f} : search alone, p50"
        one = zip(found["ours", 1], by_itself, strict=True)
        rows.append(_bound(name, [load.ms(share) / each for load, each in one], bar))
    for (name, callers), loads in found.items():
        each = [load.ms(0.5) for load in loads]
        rows.append(Row.of(f"{name}, {callers} callers, p50", middle(each), "ms"))
        each = [load.ms(0.99) for load in loads]
        rows.append(Row.of(f"{name}, {callers} callers, p99", middle(each), "ms"))
    return rows


def _rates(found: dict[tuple[str, int], list[Load]]) -> list[Row]:
    rows = [
        Row.of(f"{name}, {callers} callers", middle(load.rate for load in loads), "requests/s")
        for (name, callers), loads in found.items()
    ]
    for callers in CALLERS:
        pairs = zip(found["ours", callers], found["plain", callers], strict=True)
        ratios = middle(our.rate / their.rate for our, their in pairs)
        name, bar = f"{callers} callers, ours : plain", 2.5 if callers == CALLERS[-1] else None
        judged = None if bar is None else verdict(ratios, bar)
        rows.append(Row.of(name, ratios, "x", bar=bar, verdict=judged))
    bad = sum(
        load.others + load.heard.broken
        for (name, _), many in found.items()
        for load in many
        if name == "ours"
    )
    return [*rows, _bound("errors of ours", [bad], 0.0, unit="")]


LEAST_SLATES = 3_000.0
"""Slates a second that are asked for."""


def slates(root: Path, turns: int) -> list[Row]:
    """Ask for slates: as many as can be had, at half of that, and in a crowd."""
    made = parts(MEMBERS, sales=SHOP)
    publish_bundle(made, root / "shop")
    file = root / "slates.json"
    some = np.random.default_rng(5).integers(0, MEMBERS, 4_000).tolist()
    asks = [post("/v1/recommend", {"member": f"m{row:07d}"}) for row in some]
    file.write_text(json.dumps(asks), encoding="utf-8")
    shelf = len(made.shelves.at(AT))
    with ours(root / "shop", at=AT) as service:
        asked(service, file, 64)
        full = [asked(service, file, 64) for _ in range(turns)]
        rate = middle(load.rate for load in full).value
        half = [asked(service, file, 64, rate=rate / 2) for _ in range(turns)]
        asked_for = [asked(service, file, 64, rate=LEAST_SLATES / 2) for _ in range(turns)]
        crowd = asked(service, file, CROWD)
    a_core = [(load.answered + load.others) * (1 + 1 / SECONDS) / load.processor for load in full]
    return [
        Row("open sales", shelf, "", shelf, shelf, 1),
        _least("slates, 64 callers", [load.rate for load in full], LEAST_SLATES),
        Row.of("slates a second of the processor", middle(a_core), "requests/s"),
        Row.of("slates, 64 callers, p99", middle(load.ms(0.99) for load in full), "ms"),
        _bound("half of that, p99", [load.ms(0.99) for load in half], 10.0, unit="ms"),
        _bound(
            f"{LEAST_SLATES / 2:,.0f} requests/s, p99",
            [load.ms(0.99) for load in asked_for],
            10.0,
            unit="ms",
        ),
        Row.of(f"slates, {CROWD} callers", middle([crowd.rate]), "requests/s"),
        Row.of(f"slates, {CROWD} callers, p99", middle([crowd.ms(0.99)]), "ms"),
    ]


def _bound(name: str, values: Iterable[float], bar: float, *, unit: str = "x") -> Row:
    spread: Spread = middle(values)
    judged = verdict(spread, bar, at_most=True)
    return Row.of(name, spread, unit, bar=bar, verdict=judged)


def _least(name: str, values: Iterable[float], bar: float) -> Row:
    spread = middle(values)
    return Row.of(name, spread, "requests/s", bar=bar, verdict=verdict(spread, bar))


def table(rows: Iterable[Row]) -> str:
    """Return a line a figure: bar, median, range and verdict."""
    head = f"  {'':36}{'bar':>8}{'median':>11}   least to most"
    lines = [
        f"  {row.name:36}{'' if row.bar is None else f'{row.bar:g}':>8}{row.value:>11,.2f} "
        f"{row.unit:<10} {row.low:,.2f} to {row.high:,.2f}   {row.verdict or ''}".rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Print two tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once")
    parser.add_argument("--only", choices=("search", "slates"), help="one of the two")
    wanted = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    before_imports(1)
    turns, rows, before = (1 if wanted.quick else 3), list[Row](), load_now()
    with TemporaryDirectory() as folder:
        for name, measured in (("search", search), ("slates", slates)):
            if wanted.only in {None, name}:
                rows += (found := measured(Path(folder), turns))
                print(table(found), flush=True)
    facts = {"sales": ARCHIVE, "generator": "benchmarks.flood", "load_before": before}
    print(line("serve_load", rows, threads=1, load=load_now(), **facts))


if __name__ == "__main__":
    main()
