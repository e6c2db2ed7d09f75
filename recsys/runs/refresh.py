"""Noon: the same model, today's shelf, new vectors, new index, new bundle; no training."""

from __future__ import annotations

import os
from pathlib import Path

from recsys.data import encode
from recsys.domain.artefact import current, open_artefact, read_manifest
from recsys.domain.errors import ArtefactError, MissingArtefactError
from recsys.runs import tell
from recsys.runs.console import Console
from recsys.runs.folder import RunFolder, find, published
from recsys.runs.learn import Model
from recsys.runs.load import from_plain
from recsys.runs.prepare import prepare
from recsys.runs.publish import publish
from recsys.runs.serve import folder_of
from recsys.runs.spec import Refresh, Train
from recsys.serve.bundle import Bundle, open_bundle
from recsys.towers import embed
from recsys.towers.embed import Embedder


def refresh(spec: Refresh) -> None:
    """Read the run's source again and publish a bundle of its model over what is there now.

    Raises:
        MissingArtefactError: the run does not exist or did not finish.
        DataRefusedError: the new data break the contract.
    """
    console = Console(quiet=spec.quiet)
    folder = wanted(spec)
    facts = folder.facts()
    if "bundle" not in facts:
        raise MissingArtefactError(
            f"{folder.shown} published no bundle (status {facts['status']})",
            f"finish it: python train.py resume={folder.shown}",
            "or refresh with the model that is served: leave out run=...",
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
    judged = judged_by(folder, config.bundles_dir)
    model = Model(prepared, encoders, embedder, judged.parts.ranker)
    bundle = publish(model, config)
    folder.record(refreshed=bundle.name)
    console.fact("bundle", f"{os.path.relpath(bundle)}         now CURRENT")
    console.line("next")
    console.line("  python serve_index.py                 what members get and why, in a browser")
    console.line("  recsys export                         its vectors as parquet")
    if spec.quiet:
        console.result(os.path.relpath(bundle))


def wanted(spec: Refresh) -> RunFolder:
    """Return the run whose model is used: the one named, or the one behind what is served.

    Where nothing is served, that is the newest run which published a bundle.

    Raises:
        MissingArtefactError: no such run, or none that published.
    """
    root = Path(spec.runs_dir)
    if spec.run != "CURRENT":
        return find(spec.run, root)
    done = published(root)
    if not done:
        raise MissingArtefactError(
            f"no run in {root} has published a bundle", "make one: python train.py"
        )
    return next((folder for folder in done if is_served(folder)), done[0])


def judged_by(folder: RunFolder, bundles_dir: str) -> Bundle:
    """Open a bundle with the value model of a run: what is served, or what the run published.

    Raises:
        ArtefactError: none of them can be used.
    """
    facts, wrong = folder.facts(), []
    served = ["CURRENT"] if is_served(folder) else []
    for name in dict.fromkeys([*served, facts.get("refreshed"), facts["bundle"]]):
        try:
            return open_bundle(folder_of(name or facts["bundle"], bundles_dir))
        except ArtefactError as error:
            wrong.append(error)
    first = str(wrong[0]).splitlines()[0]
    way = f"make it again: python train.py resume={folder.shown}"
    raise type(wrong[0])(first, way) from wrong[0]


def is_served(folder: RunFolder) -> bool:
    """Tell whether the bundle that CURRENT names was made of a run's model."""
    checkpoint = folder.path / "checkpoints" / folder.facts()["checkpoint"]
    try:
        bundle = read_manifest(current(Path(folder.config()["bundles_dir"])))
        return bundle.parents.get("checkpoint") == read_manifest(checkpoint).fingerprint
    except ArtefactError:
        return False
