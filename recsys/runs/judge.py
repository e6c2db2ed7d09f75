"""Everything learned in, one report's material out: ours beside baselines, and what slates do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.report import Report
from recsys.domain.requests import Requests
from recsys.domain.slates import Slates
from recsys.evaluate.baselines import baselines
from recsys.evaluate.judge import judge as judge_all
from recsys.evaluate.learned import learned_baselines
from recsys.evaluate.material import DialCurve, EpochRow, Material
from recsys.evaluate.pareto import slates_of, sweep
from recsys.evaluate.scorer import Scorer
from recsys.evaluate.ways import Ways
from recsys.rerank.dial import dial_for_all
from recsys.rerank.spec import Pure, plan_of
from recsys.runs.exhibits import data_facts, reach_of, sale_map, strata_of
from recsys.runs.folder import RunFolder
from recsys.runs.learn import Learned
from recsys.runs.spec import Train
from recsys.runs.stories import stories
from recsys.world.truth import Truth


@dataclass(frozen=True)
class Oracle:
    """Scores by what the simulated world knows; `visible` leaves out hidden quality and luck."""

    truth: Truth
    members: np.ndarray
    """Outside ids, str[m]."""
    sales: np.ndarray
    visible: bool

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Return the expected engagement if shown, F32[n, s]."""
        group = int(requests.group[rows.start])
        return self.truth.scores(
            self.members[requests.member[rows]],
            self.sales[requests.shelf(group)],
            int(requests.group_at[group]),
            visible=self.visible,
            what="engage",
        )


def oracles(dataset: Dataset, truth: Truth | None) -> dict[str, Scorer]:
    """Return what no log can give, where the world is simulated."""
    if truth is None:
        return {}
    members, sales = dataset.members["member"].to_numpy(), dataset.sales["sale"].to_numpy()
    return {
        "visible_oracle": Oracle(truth, members, sales, visible=True),
        "oracle": Oracle(truth, members, sales, visible=False),
    }


def polled(scorer: Scorer, pause: Callable[[], None]) -> Scorer:
    """Return a scorer that calls `pause` before each piece of work, so that a signal is heard."""

    def score(requests: Requests, rows: slice) -> F32:
        pause()
        return scorer(requests, rows)

    return score


def test_slates(learned: Learned, taste: Scorer) -> Slates:
    """Make a slate for each request of the test block."""
    return slates_of(
        learned.ranker,
        learned.task.dataset.shop,
        learned.task.blocks.test,
        taste=taste,
        unit_of=learned.unit,
    )


def rankings(learned: Learned, taste: Scorer) -> dict[str, Scorer]:
    """Return how the towers rank, and how they would without their spectral coordinates."""
    alone = learned.embedder.alone()
    return {"taste": taste} | ({"taste_alone": alone.scorer()} if alone else {})


def compare(learned: Learned, spec: Train, *, taste: Scorer, slates: Slates) -> Report:
    """Judge towers, slates, baselines and oracles on the test block."""
    task, blocks = learned.task, learned.task.blocks
    fitted = baselines(task.dataset, blocks.learned, blocks.learned_until, spec=spec.evaluate)
    fitted |= learned_baselines(task.dataset, blocks.learned, spec=spec.evaluate)
    return judge_all(
        task.dataset,
        blocks.test,
        rankings(learned, taste)
        | {name: known.scorer for name, known in fitted.items()}
        | oracles(task.dataset, task.prepared.truth),
        spec=spec.evaluate,
        slates={"slates": slates},
        seconds={f"fit {name}": known.seconds for name, known in fitted.items()},
    )


def dial(learned: Learned, spec: Train, taste: Scorer) -> tuple[DialCurve, ...]:
    """Sweep the novelty dial, and places kept for what is new beside it; `recsys pareto` does all.

    Nothing is swept where slates know no novelty.
    """
    if isinstance(spec.rerank, Pure):
        return ()
    return sweep(
        Ways(learned.ranker),
        learned.task.dataset.shop,
        learned.task.blocks.test,
        taste=taste,
        unit_of=learned.unit,
    )


def judge(
    learned: Learned,
    spec: Train,
    folder: RunFolder,
    *,
    curve: Sequence[EpochRow],
    pause: Callable[[], None],
) -> Material:
    """Return all that report.html shows of a run; `pause` may raise to stop between two steps."""
    task, facts = learned.task, folder.facts()
    taste = polled(learned.embedder.scorer(), pause)
    slates = test_slates(learned, taste)
    swept, strata = dial(learned, spec, taste), strata_of(learned)
    return Material(
        title=folder.path.name,
        made_at=str(facts["started_at"]),
        report=compare(learned, spec, taste=taste, slates=slates),
        command=str(facts["command"]),
        curve=curve,
        dial=swept[0].points if swept else None,
        ways=swept[1:],
        dial_now=dial_for_all(plan_of(spec.rerank)),
        reach=reach_of(learned, chunk=spec.campaign.chunk),
        reliability=strata[0].bins if strata else None,
        strata=strata,
        value_label=f"expected {learned.ranker.label}s",
        members=stories(task.dataset, task.blocks.test, slates),
        facts=data_facts(task.prepared),
        sale_map=sale_map(learned),
        versions={str(name): str(found) for name, found in facts["versions"].items()},
        config=yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        notes=(*learned.ranker.value_model.notes, *task.prepared.notes, *task.blocks.notes),
        truth_known=task.prepared.truth is not None,
        task=task.dataset.task,
    )
