"""Noon: the same model, today's shelf, new vectors, new index, new bundle; no training."""

from __future__ import annotations

import os
from pathlib import Path

from recsys.data import encode
from recsys.domain.artefact import open_artefact
from recsys.domain.errors import MissingArtefactError
from recsys.runs import tell
from recsys.runs.console import Console
from recsys.runs.folder import find
from recsys.runs.learn import Model
from recsys.runs.load import from_plain
from recsys.runs.prepare import prepare
from recsys.runs.publish import publish
from recsys.runs.serve import folder_of
from recsys.runs.spec import Refresh, Train
from recsys.serve.bundle import open_bundle
from recsys.towers import embed
from recsys.towers.embed import Embedder


def refresh(spec: Refresh) -> None:
    """Read the run's source again and publish a bundle of its model over what is there now.

    Raises:
        MissingArtefactError: the run does not exist or did not finish.
        DataRefusedError: the new data break the contract.
    """
    console = Console(quiet=spec.quiet)
    folder = find(spec.run, Path(spec.runs_dir))
    facts = folder.facts()
    if "bundle" not in facts:
        raise MissingArtefactError(
            f"{folder.shown} published no bundle (status {facts['status']})",
            f"finish it: python train.py resume={folder.shown}",
        )
    config = from_plain(folder.config(), Train)
    console.line(f"refresh with the model of {folder.shown}")
    prepared = prepare(config.data, folder=folder.path)
    tell.data(console, prepared)
    encoders = folder.path / "encoders" / facts["encoders"]
    open_artefact(encoders, "encoders")
    encoded = encode.encode(encode.load(encoders), prepared.dataset)
    checkpoint = folder.path / "checkpoints" / facts["checkpoint"]
    embedder = Embedder(embed.load(checkpoint), prepared.dataset, encoded)
    judged = open_bundle(folder_of(facts["bundle"], config.bundles_dir))
    model = Model(prepared, encoders, embedder, judged.parts.ranker)
    bundle = publish(model, config)
    console.fact("bundle", f"{os.path.relpath(bundle)}         now CURRENT")
    if spec.quiet:
        console.result(os.path.relpath(bundle))
