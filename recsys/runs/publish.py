"""Everything learned in, a verified bundle out, and CURRENT that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.data import encode
from recsys.domain.artefact import read_manifest, retain
from recsys.retrieval.index import build
from recsys.runs.folder import comparable
from recsys.runs.learn import Model
from recsys.runs.spec import Train
from recsys.serve.bundle import publish_bundle
from recsys.serve.company import gathered
from recsys.serve.parts import BundleParts, info_of
from recsys.serve.segments import segments_of
from recsys.towers.carried import carried


def publish(model: Model, spec: Train, *, dial: pl.DataFrame | None = None) -> Path:
    """Embed all members and sales as of the end of the data, index them, publish, point CURRENT.

    `dial` is what settings of the slates cost, where it is known (`recsys.evaluate.tradeoff`).
    """
    dataset, embedder = model.prepared.dataset, model.embedder
    at = dataset.watermark
    everyone = np.arange(dataset.num_members, dtype=np.int64)
    sales = embedder.embeddings_sales(np.arange(dataset.num_sales, dtype=np.int64), at)
    members = embedder.embeddings_members(everyone, at)
    parts = BundleParts(
        name=dataset.name,
        zone=dataset.zone,
        shop=dataset.shop,
        members=members,
        personalise=dataset.members["consent_personalise"].to_numpy(),
        mail=dataset.members["consent_mail"].to_numpy(),
        sales=sales,
        info=info_of(dataset),
        index=build(spec.retrieval, sales.vectors),
        ranker=model.ranker,
        specs=comparable(spec.model_dump(mode="json")),
        watermark=dataset.watermark,
        decided_at=at,
        parents={
            "dataset": dataset.fingerprint,
            "checkpoint": embedder.fingerprint,
            "encoders": read_manifest(model.encoders).fingerprint,
        },
        of_the_past=model.prepared.of_the_past,
        company=gathered(members),
        segments=segments_of(dataset, members),
        dial=dial,
        towers=carried(embedder, encode.load(model.encoders)),
    )
    root = Path(spec.bundles_dir)
    folder = publish_bundle(parts, root)
    retain(root)
    return folder
