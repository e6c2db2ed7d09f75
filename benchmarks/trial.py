"""Train and judge one experiment with one seed, every part measured."""

from __future__ import annotations

from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.cells import Cell, Meter, fingerprint, kept, load_now, machine, written
from benchmarks.cold import cold_rivals
from benchmarks.page import Board
from recsys.domain.report import Report
from recsys.evaluate.baselines import baselines
from recsys.evaluate.judge import judge
from recsys.evaluate.learned import learned_baselines
from recsys.evaluate.spec import Evaluate
from recsys.public.files import packaged, present
from recsys.public.spec import CompleteJourney
from recsys.runs.folder import git_state, utc_now
from recsys.runs.judge import rankings, test_slates
from recsys.runs.load import compose, from_plain
from recsys.runs.notebook import Fitted, fit, prepare
from recsys.runs.spec import Train

COLD = "citeulike_cold"
"""The experiment that DropoutNet and Heater are run beside."""
QUICK_REQUESTS = 500
"""Judged requests of a run that only shows that everything works."""


def spec_of(name: str, seed: int, *, root: str | None, quick: bool) -> Train:
    """Compose an experiment's settings.

    Raises:
        SettingError: there is none of that name.
    """
    spec = compose("train", Train, [f"experiment={name}", f"seed={seed}"])
    plain = spec.model_dump(mode="json")
    if root is not None:
        plain["data"]["root"] = root
    if quick:
        plain["towers"]["epochs"] = 1
        plain["data"]["judged_requests"] = QUICK_REQUESTS
        plain["evaluate"] |= {"baselines": ["random", "popular"], "bootstrap_draws": 100}
    return from_plain(plain, Train)


def settings_of(spec: Train) -> dict[str, Any]:
    """Return the settings that make figures comparable: all but the seed, names and paths."""
    plain = spec.model_dump(mode="json")
    for name in ("seed", "name", "resume", "quiet", "dry_run", "runs_dir", "bundles_dir"):
        del plain[name]
    plain["data"].pop("root", None)
    return plain


def digest_of(spec: Train, file: str) -> str:
    """Return the md5 of the file that holds the test of a set.

    Raises:
        SettingError: it is not there, or the data are a package that is not installed.
    """
    data, root = spec.data, str(getattr(spec.data, "root", ""))
    folder = packaged() if isinstance(data, CompleteJourney) and not root else Path(root)
    (path,) = present(folder, (file,), data=data.kind)
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def judged(
    model: Fitted, evaluate: Evaluate, *, with_slates: bool, with_rivals: bool = False
) -> Report:
    """Judge towers and baselines on the test block; slates and cold rivals where asked for."""
    task, learned = model.learned.task, model.learned
    blocks, taste = task.blocks, learned.embedder.scorer()
    fitted = baselines(task.dataset, blocks.learned, blocks.learned_until, spec=evaluate)
    fitted |= learned_baselines(task.dataset, blocks.learned, spec=evaluate)
    if with_rivals:
        fitted |= cold_rivals(task.dataset, blocks)
    return judge(
        task.dataset,
        blocks.test,
        rankings(learned, taste) | {name: known.scorer for name, known in fitted.items()},
        spec=evaluate,
        slates={"slates": test_slates(learned, taste)} if with_slates else {},
        seconds={f"fit {name}": known.seconds for name, known in fitted.items()},
    )


def cell(name: str, spec: Train, *, board: Board, digest: str) -> Cell:
    """Run one cell; the run's folder is thrown away. `digest` is the md5 of the test file.

    Raises:
        SettingError: the data are not there.
        DataRefusedError: they break the data contract.
    """
    at, load = utc_now(), load_now()
    rest = spec.model_dump(mode="json", exclude={"data", "quiet"})
    with TemporaryDirectory() as aside:
        with Meter() as reading:
            shop = prepare(spec.data)
        with Meter() as training:
            model = fit(shop, **rest | {"runs_dir": f"{aside}/runs", "quiet": False})
        with Meter() as judging:
            report = judged(
                model,
                spec.evaluate,
                with_slates="slates" in board.ours,
                # a quick run asks for no baseline that learns content
                with_rivals=name == COLD and "content_knn" in spec.evaluate.baselines,
            )
    blocks = model.learned.task.blocks
    of_blocks = ["towers", "validation", "value", "calibration", "test"]
    of_blocks += ["refit"] if blocks.refit is not None else []
    return Cell(
        experiment=name,
        seed=spec.seed,
        made_at=at.isoformat(timespec="seconds"),
        machine=machine(torch.__version__),
        load=load,
        commit=git_state(),
        written=written(name),
        settings=fingerprint(settings_of(spec)),
        file=board.file,
        md5=digest,
        requests={block: len(getattr(blocks, block)) for block in of_blocks},
        epochs=len(model.epochs),
        best_epoch=max((row.epoch for row in model.epochs if row.best), default=1),
        reading=reading.cost,
        training=training.cost,
        judging=judging.cost,
        fits={k.removeprefix("fit "): round(v, 2) for k, v in report.seconds.items() if "fit" in k},
        figures=kept(report.scorers),
    )
