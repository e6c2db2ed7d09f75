"""Noon: the same model, today's shelf, new vectors, new index, new bundle; no training."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from recsys.data import encode
from recsys.domain.artefact import open_artefact
from recsys.domain.errors import ArtefactError, MissingArtefactError
from recsys.evaluate import tradeoff
from recsys.evaluate.dials import BOOST
from recsys.rerank.dial import dialled, dials_said, read_table
from recsys.rerank.spec import plan_of
from recsys.runs import tell
from recsys.runs.console import Console
from recsys.runs.earlier import is_served, wanted
from recsys.runs.folder import RunFolder
from recsys.runs.house import housed
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
        SettingError: the file of dials cannot be used.
    """
    console = Console(quiet=spec.quiet)
    table = None if spec.dial is None else read_table(Path(spec.dial))
    folder = wanted(spec.run, spec.runs_dir)
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
    ranker = judged.parts.ranker
    rerank = dialled(ranker.spec, ranker.appetite, table=table)
    config = config.model_copy(update={"rerank": rerank})
    ranker = replace(ranker, spec=rerank)
    ranker = housed(ranker, embedder, spec=config.campaign, tell=console.line)
    model = Model(prepared, encoders, embedder, ranker)
    curves, dials = tradeoff.kept(folder.path), dials_said(plan_of(rerank))
    if dials:
        console.fact("dial", dials)
    if dials and curves is not None:
        curves = tradeoff.without_published(curves, BOOST)
    bundle = publish(model, config, dial=curves)
    folder.record(refreshed=bundle.name)
    console.fact("bundle", f"{os.path.relpath(bundle)}         now CURRENT")
    console.line("next")
    console.line("  python serve_index.py                 what members get and why, in a browser")
    console.line("  recsys export                         its vectors as parquet")
    if spec.quiet:
        console.result(os.path.relpath(bundle))


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
