"""Trained towers as numpy vectors: what every package above speaks of (MODEL 2.4)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from recsys.data.asof import history_end
from recsys.domain.arrays import F32, I32, I64
from recsys.domain.dataset import Dataset
from recsys.domain.embeddings import Embeddings
from recsys.domain.encoded import Encoded
from recsys.domain.errors import ArtefactError
from recsys.domain.idtable import IdTable
from recsys.domain.requests import Requests
from recsys.towers import checkpoint
from recsys.towers.keys import sale_keys
from recsys.towers.resident import Past, Resident
from recsys.towers.spec import TwoTower
from recsys.towers.spectral import Columns, Spectrum
from recsys.towers.two_tower import Sizes, TwoTowerNet, initial_rows
from recsys.towers.vectors import Vectors

Scorer: TypeAlias = Callable[[Requests, slice], F32]
"""Scores F32[n, s] of some requests of one group against that group's shelf; higher is better."""


@dataclass(frozen=True)
class Trained:
    """Averaged weights of a checkpoint and what they are of."""

    weights: dict[str, Tensor]
    used: I64
    """Rows of the shared table that were trained, ascending."""
    sale_keys: I64
    """Hashed id of each row of the own vectors, I64[S]."""
    spec: TwoTower
    sizes: Sizes
    seed: int
    encoders: str
    """Fingerprint of the encoders."""
    fingerprint: str
    """Of the checkpoint: it goes into everything made of it."""
    until: int
    """UTC us: the last decision time that was learned from."""
    spectrum: Spectrum | None = None
    """Coordinates beside the towers', rows as in `sale_keys`."""

    def net(self, used: I64, dataset: Dataset) -> TwoTowerNet:
        """Build the net for a dataset, maybe with later sales and members than it was trained on.

        `used` are the rows of the shared table in use there, I64[R], ascending.
        Values never seen keep their untrained rows; sales never seen have no own vector.

        Raises:
            ArtefactError: an earlier version of this code trained other weights.
        """
        net = TwoTowerNet(
            self.spec,
            self.sizes,
            used=used,
            sales=dataset.num_sales,
            seed=self.seed,
        )
        weights = dict(self.weights)
        table = initial_rows(self.sizes, used, dim=self.spec.dim, seed=self.seed)
        weights["table"] = _moved(weights["table"], self.used, used, into=table)
        keys = sale_keys(dataset.sales["sale"]).numpy()
        for name in ("sale_input.own", "sale_input.known"):
            if name in weights:
                blank = torch.zeros(len(keys), *weights[name].shape[1:])
                weights[name] = _moved(weights[name], self.sale_keys, keys, into=blank)
        if weights.keys() != net.state_dict().keys():
            raise ArtefactError(
                f"the towers {self.fingerprint} were trained by an earlier version of this code",
                f"their encoder ({self.spec.encoder.kind}) has other weights now",
                "train again",
            )
        net.load_state_dict(weights)
        return net.requires_grad_(requires_grad=False)

    def columns(self, dataset: Dataset) -> Columns | None:
        """Put the spectral coordinates on a dataset: 0 for sales the fit has not seen."""
        if self.spectrum is None:
            return None
        keys = sale_keys(dataset.sales["sale"]).numpy()

        def moved(rows: Tensor) -> Tensor:
            return _moved(rows, self.sale_keys, keys, into=torch.zeros(len(keys), rows.shape[1]))

        past, sale = moved(self.spectrum.past), moved(self.spectrum.sale)
        return columns(replace(self.spectrum, past=past, sale=sale), dataset)


def columns(spectrum: Spectrum, dataset: Dataset) -> Columns:
    """Return the coordinates of a dataset whose sales the rows of `spectrum` are."""
    past = spectrum.past.numpy() * np.float32(spectrum.weight)
    return Columns(dataset.history, past, spectrum.sale.numpy())


def _moved(rows: Tensor, keys: I64, wanted: I64, *, into: Tensor) -> Tensor:
    """Put the rows whose key is wanted where it is wanted; the others of `into` stay."""
    order = np.argsort(keys, kind="stable")
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    found = keys[place] == wanted
    into[torch.from_numpy(found)] = rows[torch.from_numpy(place[found])]
    return into


def load(folder: Path) -> Trained:
    """Verify and open a checkpoint.

    Raises:
        MissingArtefactError: there is none.
        BrokenArtefactError: a file of it is damaged; the message names it.
        ArtefactError: it needs a package that is not installed here.
    """
    state, fingerprint = checkpoint.load(folder)
    said: dict[str, Any] = state["meta"]
    try:
        spec = TwoTower.model_validate(said["spec"])
    except ValidationError as refused:
        first = refused.errors()[0]
        raise ArtefactError(
            f"the towers of {folder} cannot be built here: {first['msg']}",
            "were they trained with a package that is not installed? recsys doctor lists what is",
        ) from None
    beside = state.get("spectral")
    return Trained(
        weights=state["averaged"],
        used=state["used"].numpy(),
        sale_keys=state["sale_keys"].numpy(),
        spec=spec,
        sizes=Sizes(**state["sizes"]),
        seed=said["seed"],
        encoders=said["encoders"],
        fingerprint=fingerprint,
        until=state.get("until", 0),
        spectrum=Spectrum(beside["past"], beside["sale"], beside["weight"]) if beside else None,
    )


class Embedder:
    """Vectors of one dataset's members and sales: float32, no dropout, own vectors where known."""

    def __init__(self, trained: Trained, dataset: Dataset, encoded: Encoded) -> None:
        """Put the weights on the dataset.

        Raises:
            ArtefactError: the dataset was encoded by other encoders than the towers know.
        """
        if encoded.fingerprint != trained.encoders:
            raise ArtefactError(
                f"the towers {trained.fingerprint} know encoders {trained.encoders}",
                f"the data was encoded by {encoded.fingerprint}",
                "encode it with the encoders of the run that trained the towers",
            )
        self.trained, self.dataset = trained, dataset
        resident = Resident.of(dataset, encoded, torch.device("cpu"))
        self.vectors = Vectors(
            trained.net(resident.used, dataset), resident, trained.columns(dataset)
        )

    @property
    def tau(self) -> float:
        """Temperature of the training logits; a positive constant, of use in calibration alone."""
        return float(self.vectors.net.tau)

    @property
    def unit_dims(self) -> int:
        """The first unit_dims coordinates have length 1."""
        return self.vectors.unit_dims

    @property
    def fingerprint(self) -> str:
        """Of the model: vectors of two models never meet."""
        return self.trained.fingerprint

    def sales(self, rows: I32 | I64, at: int) -> F32:
        """Return v of sales as of an instant (UTC us), F32[n, D]; spectral coordinates add to D."""
        return _numpy(self.vectors.sales(np.asarray(rows, dtype=np.int64), at))

    def members(self, rows: I32 | I64, at: int) -> F32:
        """Return u of members whose past ends before an instant (UTC us), F32[n, D]."""
        member = np.asarray(rows, dtype=np.int64)
        instants = np.full(len(member), at, dtype=np.int64)
        end = history_end(self.dataset.history, member.astype(np.int32), instants)
        return _numpy(self.vectors.members(Past(member, end, instants)))

    def requests(self, requests: Requests, rows: slice) -> F32:
        """Return u of some requests, each with the past it was made with, F32[n, D]."""
        return _numpy(self.vectors.requests(requests, rows))

    def alone(self) -> Embedder | None:
        """Return the towers without their spectral coordinates; None where there are none."""
        if self.vectors.columns is None or not self.vectors.columns.width:
            return None
        bare = copy(self)
        bare.vectors = self.vectors.widened(None)
        return bare

    def scorer(self) -> Scorer:
        """Return the exact scores <u, v> of requests against their shelf, -inf on no candidates.

        The vectors of the shelf asked for last are kept.
        """
        kept: dict[tuple[int, int], tuple[Requests, F32]] = {}

        def score(requests: Requests, rows: slice) -> F32:
            group = int(requests.group[rows.start])
            key = (id(requests), group)
            if key not in kept:
                kept.clear()
                shelf, at = requests.shelf(group), int(requests.group_at[group])
                # the requests are kept too, so that their id stays theirs
                kept[key] = (requests, self.sales(shelf, at))
            scores: F32 = self.requests(requests, rows) @ kept[key][1].T
            return requests.unseen(scores, rows, self.dataset.history)

        return score

    def embeddings_sales(self, rows: I32 | I64, at: int) -> Embeddings:
        """Return sales as of an instant with their outside ids."""
        return self._embeddings("sale", rows, self.sales(rows, at))

    def embeddings_members(self, rows: I32 | I64, at: int) -> Embeddings:
        """Return members as of an instant with their outside ids."""
        return self._embeddings("member", rows, self.members(rows, at))

    def _embeddings(self, column: str, rows: I32 | I64, vectors: F32) -> Embeddings:
        frame = self.dataset.sales if column == "sale" else self.dataset.members
        named = frame[column].gather(rows)
        return Embeddings(
            # of members there may be millions: no Python object for each
            ids=named.to_numpy() if column == "sale" else IdTable.of(named, column),
            vectors=vectors,
            unit_dims=self.unit_dims,
            fingerprint=self.fingerprint,
        )


def _numpy(vectors: Tensor) -> F32:
    array: F32 = vectors.cpu().numpy()
    return array
