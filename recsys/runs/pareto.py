"""A run's test block again under many settings: what novelty, variety and picks cost."""

from __future__ import annotations

import os
from collections.abc import Sequence

from recsys.data import encode
from recsys.data.requests import blocks
from recsys.domain.artefact import open_artefact
from recsys.domain.errors import DataRefusedError, MissingArtefactError
from recsys.domain.report import Estimate
from recsys.evaluate import tradeoff
from recsys.evaluate.dials import name_of
from recsys.evaluate.material import DialCurve, DialPoint
from recsys.evaluate.pareto import sweep
from recsys.evaluate.report import redraw
from recsys.evaluate.ways import Ways
from recsys.runs.console import Console
from recsys.runs.earlier import named
from recsys.runs.folder import RunFolder
from recsys.runs.load import from_plain
from recsys.runs.prepare import Prepared, prepare
from recsys.runs.refresh import judged_by
from recsys.runs.spec import Pareto, Train
from recsys.towers import embed
from recsys.towers.embed import Embedder


def pareto(spec: Pareto) -> None:
    """Make the slates of a run's test block by every way, print and keep what each costs.

    Raises:
        MissingArtefactError: there is no such run, or it published no bundle.
        DataRefusedError: the run's source holds other data now.
    """
    console = Console()
    folder = named(spec.run, Train(runs_dir=spec.runs_dir, bundles_dir=spec.bundles_dir))
    console.fact("run", folder.shown)
    curves = swept(console, folder)
    console.table([
        ["", "value kept", "new hits", "new places", "with picks", "unlike"],
        *rows(curves),
    ])
    console.line("  * as published; of a hundred slates, hits on brands new to the member; of a")
    console.line("  hundred places, those; slates with an editor's pick; 1 - cosine times 100")
    console.line("  ± half of a 95 % interval, members drawn anew")
    told(console, folder, curves, called=spec.run)


def swept(console: Console, folder: RunFolder) -> tuple[DialCurve, ...]:
    """Open what a run learned and judge its slates under every setting.

    Raises:
        MissingArtefactError: the run published no bundle.
        DataRefusedError: the run's source holds other data now.
    """
    config, facts = from_plain(folder.config(), Train), folder.facts()
    if "bundle" not in facts:
        raise MissingArtefactError(
            f"{folder.shown} published no bundle (status {facts['status']})",
            f"finish it: python train.py resume={folder.shown}",
        )
    prepared = prepare(config.data)
    same(prepared, folder)
    embedder = opened(prepared, folder)
    ranker = judged_by(folder, config.bundles_dir).parts.ranker
    test, dataset = blocks(prepared.dataset, config.data).test, prepared.dataset
    console.fact("requests", f"{len(test):,} of the test block, by every way")
    return sweep(
        Ways(ranker, every=True),
        dataset.shop,
        test,
        taste=embedder.scorer(),
        unit_of=lambda sales: embedder.sales(sales, dataset.watermark)[:, : embedder.unit_dims],
    )


def same(prepared: Prepared, folder: RunFolder) -> None:
    """Refuse other data than the run learned from: its test block would be another.

    Raises:
        DataRefusedError: they are others.
    """
    before, now = folder.facts()["data_fingerprint"], prepared.dataset.fingerprint
    if before != now:
        raise DataRefusedError(
            f"{folder.shown} learned from data {before}, its source now holds {now}",
            "the test block it was judged on is gone",
            "train on what is there now: python train.py",
        )


def opened(prepared: Prepared, folder: RunFolder) -> Embedder:
    """Open the towers of a run on its data.

    Raises:
        ArtefactError: they cannot be used.
    """
    facts = folder.facts()
    encoders = folder.path / "encoders" / facts["encoders"]
    open_artefact(encoders, "encoders")
    encoded = encode.encode(encode.load(encoders), prepared.dataset)
    return Embedder(
        embed.load(folder.path / "checkpoints" / facts["checkpoint"]), prepared.dataset, encoded
    )


def rows(curves: Sequence[DialCurve]) -> list[list[str]]:
    """Return a line of figures a setting."""
    return [row(curve, at) for curve in curves for at in curve.points]


def row(curve: DialCurve, at: DialPoint) -> list[str]:
    """Write a setting, and its figures of a hundred."""
    figures = (at.value_kept, at.discovery_hits, at.discovery_share, at.curated_reach, at.ild)
    name = f"{name_of(curve, at)}{' *' * (at.dial == curve.now)}"
    return [name, *(hundredfold(one) for one in figures)]


def hundredfold(found: Estimate) -> str:
    """Write a hundred times a figure with half of its interval."""
    return f"{100 * found.value:.1f} ±{50 * (found.high - found.low):.1f}"


def told(console: Console, folder: RunFolder, curves: Sequence[DialCurve], *, called: str) -> None:
    """Keep the curves in the run's folder and its report, and say what was written.

    `called` is how the run was named on the command line.
    """
    file = tradeoff.keep(curves, folder.path)
    console.fact("written", os.path.relpath(file))
    if redraw(folder.path, curves):
        console.fact("report", f"{folder.shown}/report.html: what novelty costs")
    console.line("next")
    run = called if called in {"latest", "CURRENT"} else folder.shown
    console.line(f"  {f'recsys refresh run={run}':<36}  a bundle that holds these curves")
