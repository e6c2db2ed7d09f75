"""A bundle at rest: publish its parts, open them again, and ask it what it answered before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from recsys.campaign.slate_log import policy_id
from recsys.domain.artefact import open_artefact, point, publish
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import BrokenArtefactError
from recsys.domain.events import DAY, Events
from recsys.domain.idtable import IdTable
from recsys.domain.manifest import Manifest
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.evaluate import tradeoff
from recsys.rerank import ranker
from recsys.rerank.fatigue import WINDOW_DAYS
from recsys.rerank.spec import Rerank
from recsys.retrieval import index
from recsys.retrieval.spec import Retrieval
from recsys.serve import company, desk, ids, segments
from recsys.serve.asked_again import check_recall, found, mapping, questions, self_test
from recsys.serve.mapped import mapped
from recsys.serve.parts import INFO, BundleParts
from recsys.towers import plain_files

KIND = "bundle"
PLAIN = "plain"
"""Stands for a value model in the name of the policy that needs none."""
SEGMENT = "segment"
"""Stands before it in the name of the policy that knows nothing but segments."""
VALUE_FILES = ("ranker/value.json", "ranker/trees.txt")
"""The value model: with the settings of slates it is what names a policy."""

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
    """Share of the exact best that its index finds, measured when it was published."""

    @property
    def generation(self) -> str:
        """The fingerprint that every answer carries."""
        return self.manifest.fingerprint

    def policy(
        self,
        slots: int,
        novelty: float | None = None,
        *,
        plain: bool = False,
        by_segment: bool = False,
    ) -> str:
        """Return the name of the policy that makes such slates, as the slate log has it.

        `plain`: that of the slate that is for all. `by_segment`: that of members of whom nothing
        but their segments is known.
        """
        return self.named(
            self.parts.as_asked(slots, novelty).spec, plain=plain, by_segment=by_segment
        )

    def named(self, rerank: Rerank, *, plain: bool = False, by_segment: bool = False) -> str:
        """Return what `policy` does, of slates made in some way."""
        if plain:
            return policy_id(rerank, PLAIN)
        files = self.manifest.files
        value = "".join(files[name].sha256 for name in VALUE_FILES if name in files)
        return policy_id(rerank, SEGMENT + value if by_segment else value)


def publish_bundle(parts: BundleParts, root: Path, *, make_current: bool = True) -> Path:
    """Publish a bundle below `root` and make CURRENT name it; return its folder.

    Raises:
        ValueError: no sale is ever open, so nothing could be asked of it.
        GateError: its index finds less of the exact best than its spec promises.
        NoRoomError, ArtefactError: see `recsys.domain.artefact.publish`.
    """
    folder = publish(
        root,
        KIND,
        lambda draft: _write(parts, draft),
        bytes_needed=_bytes_of(parts),
        parents=parts.parents,
        counts={
            "members": parts.shop.num_members,
            "sales": parts.shop.num_sales,
            "events": len(parts.shop.history),
        },
        watermark=parts.watermark,
        decided_at=parts.decided_at,
        self_test=questions(parts),
        extra={
            "name": parts.name,
            "zone": parts.zone,
            "model": parts.sales.fingerprint,
            "unit_dims": parts.unit_dims,
            "dim": parts.sales.dim,
            "shelf_hours": parts.shop.shelf_hours,
            "of_the_past": parts.of_the_past,
            "retrieval": parts.index.spec.model_dump(mode="json"),
            **found(parts),
            "company": None if parts.company is None else company.promised(parts.company),
        },
    )
    if make_current:
        point(root, folder.name)
    return folder


def open_bundle(folder: Path, *, verified: str | None = None) -> Bundle:
    """Verify a bundle, open its parts and ask it again what it answered when it was published.

    What there is of each member or event is mapped into memory, not read. `verified` spares a
    worker the hashing that its driver has just done: see `recsys.domain.verify.open_artefact`.

    Raises:
        MissingArtefactError, BrokenArtefactError, OldLayoutError: it cannot be used; the text
            names the file or the member row.
    """
    folder = Path(folder)
    manifest = open_artefact(folder, KIND, verified=verified)
    try:
        parts = _read(folder, manifest)
        _ = parts.member_ids, parts.sale_ids  # refuses ids that stand there twice
        self_test(parts, manifest, folder)
        recall = float(mapping(manifest.extra)["recall"])
        check_recall(parts, recall)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BrokenArtefactError(
            f"{folder} is whole, but its parts do not fit together",
            str(error)[:300],
            "publish it again with this version, or name an older one",
        ) from error
    return Bundle(folder=folder, manifest=manifest, parts=parts, recall=recall)


def _bytes_of(parts: BundleParts) -> int:
    """Return about how many bytes its files have: vectors, the index, what is kept of the past."""
    arrays = [parts.members.vectors, parts.sales.vectors, parts.sales.vectors]
    arrays += [getattr(parts.shop.history, name) for name in _EVENTS]
    arrays += [getattr(parts.shop.shown, name) for name in _SHOWN]
    arrays += [] if parts.towers is None else parts.towers.arrays
    arrays += [] if parts.segments is None else [parts.segments.leaning]
    # the engagements once more by sale and by maker
    # a graph over sales has links beside them
    graph = 300 * parts.shop.num_sales
    return sum(int(array.nbytes) for array in arrays) + 2 * parts.shop.history.at.nbytes + graph


def _write(parts: BundleParts, draft: Path) -> None:
    for name in ("members", "sales", "shop", "shop/history", "shop/shown"):
        (draft / name).mkdir()
    consents = ids.Consents(parts.personalise, parts.mail)
    ids.write(parts.member_ids, consents, draft / "members")
    np.save(draft / "members" / "vectors.npy", parts.members.vectors)
    parts.info.select(INFO).write_parquet(draft / "sales" / "info.parquet")
    np.save(draft / "sales" / "vectors.npy", parts.sales.vectors)
    for name in _SHOP:
        np.save(draft / "shop" / f"{name}.npy", getattr(parts.shop, name))
    for name in _EVENTS:
        np.save(draft / "shop" / "history" / f"{name}.npy", getattr(parts.shop.history, name))
    desk.write(parts.desk, draft / "shop")
    lately = parts.shop.shown.at >= parts.decided_at - round(WINDOW_DAYS * DAY)
    for name in _SHOWN:
        kept = getattr(parts.shop.shown.where(lately), name)
        np.save(draft / "shop" / "shown" / f"{name}.npy", kept)
    index.write(parts.index, draft / "index.faiss")
    if parts.company is not None:
        index.write(parts.company, draft / "members" / company.FILE)
    parts.ranker.save(draft / "ranker")
    if parts.dial is not None:
        (draft / "curves").mkdir()
        parts.dial.write_parquet(draft / "curves" / tradeoff.FILE)
    if parts.towers is not None:
        plain_files.save(parts.towers, draft / "towers")
    segments.write(parts.segments, draft)
    (draft / "specs.json").write_text(json.dumps(parts.specs, indent=1), encoding="utf-8")


def _read(folder: Path, manifest: Manifest) -> BundleParts:
    said = mapping(manifest.extra)
    members, consents = ids.read(folder / "members")
    info = pl.read_parquet(folder / "sales" / "info.parquet")
    retrieval: Retrieval = TypeAdapter(Retrieval).validate_python(said["retrieval"])
    history = Events(**{name: mapped(folder / "shop" / "history", name) for name in _EVENTS})
    shop = Shop(
        history=history,
        shown=Shown(**{name: mapped(folder / "shop" / "shown", name) for name in _SHOWN}),
        shelf_hours=said["shelf_hours"],
        **{name: mapped(folder / "shop", name) for name in _SHOP},
    )
    vectors = _embeddings(members, folder / "members", said)
    ranks = ranker.load(folder / "ranker", info)
    sales = _embeddings(info["sale"].to_numpy(), folder / "sales", said)
    return BundleParts(
        name=said["name"],
        zone=said["zone"],
        shop=shop,
        members=vectors,
        personalise=consents.personalise,
        mail=consents.mail,
        sales=sales,
        info=info,
        index=index.read(folder / "index.faiss", retrieval, sales.vectors),
        ranker=ranks,
        specs=json.loads((folder / "specs.json").read_bytes()),
        watermark=int(manifest.watermark or 0),
        decided_at=int(manifest.decided_at or 0),
        parents=manifest.parents,
        of_the_past=bool(said["of_the_past"]),
        dial=tradeoff.kept(folder / "curves"),
        indexes=desk.read(shop, ranks.appetite, folder / "shop"),
        company=company.read(folder / "members", said.get("company"), vectors.unit),
        towers=plain_files.load(folder / "towers"),
        segments=segments.read(folder),
    )


def _embeddings(named: np.ndarray | IdTable, folder: Path, said: Mapping[str, Any]) -> Embeddings:
    return Embeddings(
        ids=named,
        vectors=mapped(folder, "vectors"),
        unit_dims=int(said["unit_dims"]),
        fingerprint=str(said["model"]),
    )
