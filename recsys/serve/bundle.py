"""A bundle at rest: publish its parts, open them again, and ask it what it answered before."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.artefact import open_artefact, point, publish
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import BrokenArtefactError
from recsys.domain.events import DAY, Events
from recsys.domain.manifest import JSON, Manifest
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.domain.slates import Slates
from recsys.evaluate import tradeoff
from recsys.rerank import ranker
from recsys.rerank.fatigue import WINDOW_DAYS
from recsys.retrieval import index
from recsys.retrieval.spec import Exact, Retrieval
from recsys.serve.parts import INFO, BundleParts

KIND = "bundle"
SELF_TEST_MEMBERS = 16
RECALL_QUERIES = 200
TOLERANCE = 1e-5
"""Within which the gains of the self-test must come back."""
SEARCHING = threading.Lock()
"""faiss's settings are process-wide: one thread searches at a time (PERF 2)."""

_EVENTS = tuple(f.name for f in fields(Events))
_SHOWN = tuple(f.name for f in fields(Shown))
_SHOP = tuple(f.name for f in fields(Shop) if f.name not in {"history", "shown", "shelf_hours"})


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: what it says of itself, and its parts."""

    folder: Path
    manifest: Manifest
    parts: BundleParts
    recall: float
    """Share of the exact 10 best that its index finds, measured when it was published."""

    @property
    def generation(self) -> str:
        """The fingerprint that every answer carries."""
        return self.manifest.fingerprint


def publish_bundle(parts: BundleParts, root: Path, *, make_current: bool = True) -> Path:
    """Publish a bundle below `root` and make CURRENT name it; return its folder.

    Raises:
        ValueError: no sale is ever open, so nothing could be asked of it.
        NoRoomError, ArtefactError: see `recsys.domain.artefact.publish`.
    """
    folder = publish(
        root,
        KIND,
        lambda draft: _write(parts, draft),
        bytes_needed=3 * (parts.members.vectors.nbytes + parts.sales.vectors.nbytes),
        parents=parts.parents,
        counts={
            "members": parts.shop.num_members,
            "sales": parts.shop.num_sales,
            "events": len(parts.shop.history),
        },
        watermark=parts.watermark,
        decided_at=parts.decided_at,
        self_test=_questions(parts),
        extra={
            "name": parts.name,
            "zone": parts.zone,
            "model": parts.sales.fingerprint,
            "unit_dims": parts.unit_dims,
            "dim": parts.sales.dim,
            "shelf_hours": parts.shop.shelf_hours,
            "of_the_past": parts.of_the_past,
            "retrieval": parts.index.spec.model_dump(mode="json"),
            "recall": _recall(parts),
        },
    )
    if make_current:
        point(root, folder.name)
    return folder


def open_bundle(folder: Path) -> Bundle:
    """Verify a bundle, open its parts and ask it again what it answered when it was published.

    Raises:
        MissingArtefactError, BrokenArtefactError, OldLayoutError: it cannot be used; the text
            names the file or the member row.
    """
    folder = Path(folder)
    manifest = open_artefact(folder, KIND)
    try:
        parts = _read(folder, manifest)
        _ = parts.member_ids, parts.sale_ids  # refuses ids that stand there twice
        _self_test(parts, manifest, folder)
        recall = float(_mapping(manifest.extra)["recall"])
        _check_recall(parts, recall)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BrokenArtefactError(
            f"{folder} is whole, but its parts do not fit together",
            str(error)[:300],
            "publish it again with this version, or name an older one",
        ) from error
    return Bundle(folder=folder, manifest=manifest, parts=parts, recall=recall)


def gains(slates: Slates) -> F32:
    """Return the gain each slot was won with, F32[m, n]: the ordered sum of its parts."""
    total = np.zeros(slates.parts.shape[:2], dtype=np.float32)
    for part in range(slates.parts.shape[2]):
        total = total + slates.parts[:, :, part]
    return total


def _questions(parts: BundleParts) -> JSON:
    """Ask for a few slates, so that whoever opens the bundle can ask for them again."""
    at = _probe(parts)
    members = _evenly(np.flatnonzero(parts.personalise), SELF_TEST_MEMBERS)
    if not len(members):
        return {"at": at, "members": []}
    slates = parts.slates(members, parts.shelves.at(at), slots=6)
    return {
        "at": at,
        "members": members.tolist(),
        "sales": slates.sales.tolist(),
        "gains": gains(slates).astype(np.float64).tolist(),
    }


def _write(parts: BundleParts, draft: Path) -> None:
    for name in ("members", "sales", "shop", "shop/history", "shop/shown"):
        (draft / name).mkdir()
    pl.DataFrame({
        "member": pl.Series(parts.members.ids, dtype=pl.String),
        "personalise": parts.personalise,
    }).write_parquet(draft / "members" / "ids.parquet")
    np.save(draft / "members" / "vectors.npy", parts.members.vectors)
    parts.info.select(INFO).write_parquet(draft / "sales" / "info.parquet")
    np.save(draft / "sales" / "vectors.npy", parts.sales.vectors)
    for name in _SHOP:
        np.save(draft / "shop" / f"{name}.npy", getattr(parts.shop, name))
    for name in _EVENTS:
        np.save(draft / "shop" / "history" / f"{name}.npy", getattr(parts.shop.history, name))
    lately = parts.shop.shown.at >= parts.decided_at - round(WINDOW_DAYS * DAY)
    for name in _SHOWN:
        kept = getattr(parts.shop.shown.where(lately), name)
        np.save(draft / "shop" / "shown" / f"{name}.npy", kept)
    index.write(parts.index, draft / "index.faiss")
    parts.ranker.save(draft / "ranker")
    if parts.dial is not None:
        (draft / "curves").mkdir()
        parts.dial.write_parquet(draft / "curves" / tradeoff.FILE)
    (draft / "specs.json").write_text(json.dumps(parts.specs, indent=1), encoding="utf-8")


def _read(folder: Path, manifest: Manifest) -> BundleParts:
    said = _mapping(manifest.extra)
    ids = pl.read_parquet(folder / "members" / "ids.parquet")
    info = pl.read_parquet(folder / "sales" / "info.parquet")
    retrieval: Retrieval = TypeAdapter(Retrieval).validate_python(said["retrieval"])
    history = Events(**{name: _array(folder / "shop" / "history", name) for name in _EVENTS})
    return BundleParts(
        name=said["name"],
        zone=said["zone"],
        shop=Shop(
            history=history,
            shown=Shown(**{name: _array(folder / "shop" / "shown", name) for name in _SHOWN}),
            shelf_hours=said["shelf_hours"],
            **{name: _array(folder / "shop", name) for name in _SHOP},
        ),
        members=_embeddings(ids["member"], folder / "members", said),
        personalise=ids["personalise"].to_numpy(),
        sales=_embeddings(info["sale"], folder / "sales", said),
        info=info,
        index=index.read(folder / "index.faiss", retrieval),
        ranker=ranker.load(folder / "ranker", info),
        specs=json.loads((folder / "specs.json").read_bytes()),
        watermark=int(manifest.watermark or 0),
        decided_at=int(manifest.decided_at or 0),
        parents=manifest.parents,
        of_the_past=bool(said["of_the_past"]),
        dial=tradeoff.kept(folder / "curves"),
    )


def _embeddings(ids: pl.Series, folder: Path, said: Mapping[str, Any]) -> Embeddings:
    return Embeddings(
        ids=ids.to_numpy(),
        vectors=_array(folder, "vectors"),
        unit_dims=int(said["unit_dims"]),
        fingerprint=str(said["model"]),
    )


def _array(folder: Path, name: str) -> Any:
    path = folder / f"{name}.npy"
    if not np.load(path, mmap_mode="r", allow_pickle=False).size:
        return np.load(path, allow_pickle=False)  # nothing cannot be mapped
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _self_test(parts: BundleParts, manifest: Manifest, folder: Path) -> None:
    said = _mapping(manifest.self_test)
    members = np.array(said["members"], dtype=np.int64)
    if not len(members):
        return
    sales = np.array(said["sales"])
    slates = parts.slates(members, parts.shelves.at(int(said["at"])), slots=sales.shape[1])
    away = np.abs(gains(slates) - np.array(said["gains"])) > TOLERANCE
    # another sale is right only where it ties with the one that was expected
    other = (slates.sales != sales) & ((slates.margin > TOLERANCE) | (slates.sales == NONE))
    wrong = (away | other).any(axis=1)
    if wrong.any():
        raise BrokenArtefactError(
            f"{folder} answers otherwise than when it was published: "
            f"{int(wrong.sum())} of {len(members)} slates of its self-test differ",
            f"first: member row {int(members[wrong][0])}",
            "publish it again with this version, or name an older one",
        )


def _recall(parts: BundleParts) -> float:
    if isinstance(parts.index.spec, Exact):
        return 1.0
    rows = _evenly(np.arange(parts.shop.num_members), RECALL_QUERIES)
    with SEARCHING:
        return index.measured_recall(
            parts.index, parts.sales.vectors, parts.members.vectors[rows], k=10
        )


def _check_recall(parts: BundleParts, recorded: float) -> None:
    found = _recall(parts)
    if found < recorded - 0.005:
        raise ValueError(f"its index finds {found:.3f} of the best, {recorded:.3f} when made")


def _probe(parts: BundleParts) -> int:
    """Return an instant at which something is open: the bundle's own, or the next opening."""
    at = parts.decided_at
    if not len(parts.shelves.at(at)):
        later = parts.shelves.next_opening(at)
        if later is None:
            raise ValueError(f"no sale is open at {at} or opens later: nothing to serve")
        at = later
    return at


def _evenly(rows: I64, count: int) -> I64:
    """Return up to `count` of some rows, evenly spread."""
    place = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)
    return np.unique(rows[place])


def _mapping(said: JSON) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        raise TypeError(f"wanted named facts, found {type(said).__name__}")
    return said
