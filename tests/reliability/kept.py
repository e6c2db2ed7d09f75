"""All that is kept on a disk, small: how a version of it is put there, and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from recsys.campaign.slate_log import rows_of
from recsys.campaign.slate_shards import write_shard
from recsys.data import encode
from recsys.data.encoders import Encoders
from recsys.domain.artefact import current, open_artefact, publish
from recsys.domain.ledger import Ledger, ShardPlan, put
from recsys.domain.manifest import JSON
from recsys.domain.packed import Packing, read_vectors
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.parts import BundleParts
from recsys.towers import checkpoint
from tests.builders import tiny_dataset
from tests.campaign.logged import offered_for, send_of, slates_of
from tests.reliability import publisher
from tests.serve.conftest import parts_of


@dataclass(frozen=True)
class Kept:
    """One kind of artefact: the same number puts the same bits."""

    name: str
    put: Callable[[Path, int], Path]
    """Puts version `number` below a root, where version number - 1 is, if any; returns its path."""
    opens: Callable[[Path], str]
    """Opens all of it as its reader does; returns what tells versions apart."""
    found: Callable[[Path], Path]
    """Returns the one below a root that a reader would take."""


@cache
def parts(number: int) -> BundleParts:
    """Return the parts of a small bundle."""
    return parts_of(tiny_dataset(members=60, days=10, sales_a_day=8), seed=number)


@cache
def fitted() -> Encoders:
    """Return encoders of a small shop."""
    dataset = tiny_dataset()
    return encode.fit(dataset, dataset.watermark, 8)


def _put_bundle(root: Path, number: int) -> Path:
    return publish_bundle(parts(number), root)


def _put_checkpoint(root: Path, number: int) -> Path:
    rng = torch.Generator().manual_seed(number)
    state = {"net": {f"layer {n}": torch.randn(40, 60, generator=rng) for n in range(4)}}
    saved = checkpoint.save(
        root, f"step-{number:08d}", {**state, "step": number}, parents={}, spec=None
    )
    checkpoint.prune(root, set())
    return saved


def _found_checkpoint(root: Path) -> Path:
    folder = checkpoint.newest(root)
    assert folder is not None
    return folder


def _put_encoders(root: Path, number: int) -> Path:
    return publish(
        root,
        "encoders",
        lambda draft: encode.save(fitted(), draft),
        name=f"fitted-{number}",
        parents={"dataset": f"{number:016x}"},
    )


def _opens_encoders(folder: Path) -> str:
    encode.load(folder)
    return open_artefact(folder, "encoders").fingerprint


def _put_export(root: Path, number: int) -> Path:
    """Write vectors as an export does: shards of a ledger, then one artefact of them."""
    vectors = {"members": parts(number).members, "sales": parts(number).sales}
    packing = Packing("fp16", parts(number).unit_dims)
    places = {
        f"{what}/part-{n:05}.parquet": (what, slice(25 * n, 25 * n + 25))
        for what, one in vectors.items()
        for n in range(-(-len(one.ids) // 25))
    }

    def write(what: str, rows: slice, path: Path) -> dict[str, JSON]:
        frame = packing.frame(vectors[what], rows)
        frame.write_parquet(path)
        return {"rows": frame.height}

    plan = ShardPlan("export", {"number": number}, tuple(places))
    with Ledger.open(root, plan) as ledger:
        for shard in ledger.missing():
            put(ledger.folder, shard, partial(write, *places[shard]))
        return ledger.finish(
            name=f"{number}_export",
            counts={what: len(one.ids) for what, one in vectors.items()},
            extra={"unit_dims": packing.unit_dims, "dtype": packing.dtype, "model": "model"},
        )


def _opens_export(folder: Path) -> str:
    said = [read_vectors(folder, "members"), read_vectors(folder, "sales")]
    assert all(np.isfinite(one.vectors).all() for one in said)
    return open_artefact(folder, "export").fingerprint


def _put_shard(root: Path, number: int) -> Path:
    slates = slates_of(number, np.arange(40))
    rows = rows_of(slates, send_of("friday"), offered_for(slates, number))
    return write_shard(rows, root, shard=0)


def _opens_shard(path: Path) -> str:
    return str(pl.read_parquet(path).hash_rows(seed=0).sum())


def _opens_toy(folder: Path) -> str:
    return str(publisher.read_one(folder))


def _last(pattern: str) -> Callable[[Path], Path]:
    return lambda root: max(root.glob(pattern))


STORE = Kept("store", publisher.publish_one, _opens_toy, current)
BUNDLE = Kept("bundle", _put_bundle, lambda folder: open_bundle(folder).generation, current)
CHECKPOINT = Kept(
    "checkpoint", _put_checkpoint, lambda folder: checkpoint.load(folder)[1], _found_checkpoint
)
ENCODERS = Kept("encoders", _put_encoders, _opens_encoders, _last("fitted-*"))
EXPORT = Kept("export", _put_export, _opens_export, _last("*_export*"))
LOG = Kept("slate log", _put_shard, _opens_shard, _last("*.parquet"))
EVERYTHING = (STORE, BUNDLE, CHECKPOINT, ENCODERS, EXPORT, LOG)
