"""Finished towers in, the same with spectral coordinates out: their weight chosen on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsys.domain.artefact import open_artefact
from recsys.domain.errors import ArtefactError, MissingArtefactError
from recsys.domain.requests import Requests
from recsys.towers import checkpoint, embed
from recsys.towers.embed import Embedder
from recsys.towers.job import TowerJob
from recsys.towers.monitor import each_weight
from recsys.towers.spectral import Spectrum
from recsys.towers.vectors import Vectors

_SAMPLE = 64
"""Requests of each decision time by which the spread of scores is measured."""


def widen(job: TowerJob, best: Path) -> Path:
    """Fit the coordinates, choose their weight, publish the checkpoint that holds both.

    One that is there already is returned as it is. Where no weight helps, the one published adds no
    coordinate.

    Raises:
        NoRoomError: the disk is full; the towers' own checkpoints stand.
    """
    folder = job.checkpoints / f"spectral-{best.name}"
    if _whole(job, folder):
        return folder
    trained = embed.load(best)
    vectors = Embedder(trained, job.dataset, job.encoded).vectors
    fitted = Spectrum.of(job.dataset, job.train, job.towers.spectral)
    weight, tried = (job.chosen.weight, []) if job.chosen else _chosen(job, vectors, fitted)
    width = fitted.sale.shape[1] if weight else 0
    state, fingerprint = checkpoint.load(best)
    state["spectral"] = {
        "past": fitted.past[:, :width],
        "sale": fitted.sale[:, :width],
        "weight": weight,
        "tried": [list(pair) for pair in tried],
    }
    return checkpoint.save(
        job.checkpoints,
        folder.name,
        state,
        parents={
            "dataset": job.data_fingerprint,
            "encoders": job.encoded.fingerprint,
            "towers": fingerprint,
        },
        spec=job.towers.model_dump(mode="json"),
    )


def _whole(job: TowerJob, folder: Path) -> bool:
    try:
        open_artefact(folder, checkpoint.KIND)
    except MissingArtefactError:
        return False
    except ArtefactError as error:
        job.tell(str(error))
        return False
    return True


def _chosen(
    job: TowerJob, vectors: Vectors, fitted: Spectrum
) -> tuple[float, list[tuple[float, float]]]:
    """Try all weights; return the best of them, and each with what it gives."""
    tried = _try(job, vectors, fitted)
    # of equals the smaller weight
    weight, found = max(tried, key=lambda pair: (pair[1], -pair[0]))
    _tell(job, tried[0][1], (weight, found, fitted.sale.shape[1] if weight else 0))
    return weight, tried


def _try(job: TowerJob, vectors: Vectors, fitted: Spectrum) -> list[tuple[float, float]]:
    """Return each weight, 0 first, with the nDCG@10 of whole validation shelves it gives.

    Not the headline of shelves: sales of the day have no coordinates, whatever the weight.
    """
    whole = vectors.widened(embed.columns(fitted, job.dataset))
    unit = _unit(whole, job.validation)
    weights = (0.0, *(share * unit for share in job.towers.spectral.weights if unit))
    found = each_weight(whole, job.validation, weights, seed=job.seed)
    return [(weight, score.ndcg) for weight, score in zip(weights, found, strict=True)]


def _unit(whole: Vectors, requests: Requests) -> float:
    """Return the weight at which both parts spread the scores of a request alike, on average."""
    dim, spreads = whole.net.spec.dim, np.zeros(2)
    for group in np.unique(requests.group).tolist():
        rows = requests.rows(group)
        some = slice(rows.start, min(rows.stop, rows.start + _SAMPLE))
        u = whole.requests(requests, some)
        v = whole.sales(requests.shelf(group).astype(np.int64), int(requests.group_at[group]))
        for side, part in enumerate((slice(0, dim), slice(dim, None))):
            spread = (u[:, part] @ v[:, part].T).std(dim=1, correction=0)
            spreads[side] += float(spread.sum())
    return float(spreads[0] / spreads[1]) if spreads[1] > 0 else 0.0


def _tell(job: TowerJob, before: float, chosen: tuple[float, float, int]) -> None:
    weight, found, width = chosen
    job.tell(
        f"  spectral {width} coordinates, weight {weight:.3g}: nDCG@10 {before:.4f} to {found:.4f}"
        if weight
        else f"  spectral no weight helps, nDCG@10 stays {before:.4f}: no coordinate is added"
    )
