"""Everything learned in, one report's material out: ours beside baselines, and what slates do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.report import Report
from recsys.domain.requests import Requests
from recsys.evaluate.baselines import baselines
from recsys.evaluate.judge import judge as judge_all
from recsys.evaluate.learned import learned_baselines
from recsys.evaluate.material import Material
from recsys.evaluate.pareto import slates_of, sweep
from recsys.evaluate.scorer import Scorer
from recsys.runs.exhibits import data_facts, reach_of, reliability_of, sale_map, stories
from recsys.runs.journey import Journey
from recsys.runs.learn import Learned
from recsys.runs.spec import Train
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
    members, sales = (dataset.members["member"].to_numpy(), dataset.sales["sale"].to_numpy())
    return {
        "visible_oracle": Oracle(truth, members, sales, visible=True),
        "oracle": Oracle(truth, members, sales, visible=False),
    }


def compare(learned: Learned, spec: Train) -> Report:
    """Judge towers, slates, baselines and oracles on the test block."""
    task, shop = learned.task, learned.task.dataset.shop
    towers, test = task.blocks.towers, task.blocks.test
    until = int(towers.at.max()) + 1
    fitted = baselines(task.dataset, towers, until, spec=spec.evaluate)
    fitted |= learned_baselines(task.dataset, towers, spec=spec.evaluate)
    taste = learned.embedder.scorer()
    scorers = {"taste": taste, **{name: known.scorer for name, known in fitted.items()}}
    slates = slates_of(learned.ranker, shop, test, taste=taste, unit_of=learned.unit)
    return judge_all(
        task.dataset,
        test,
        scorers | oracles(task.dataset, task.prepared.truth),
        spec=spec.evaluate,
        slates={"slates": slates},
        seconds={f"fit {name}": known.seconds for name, known in fitted.items()},
    )


def judge(learned: Learned, spec: Train, run: Journey, curve: list[Any]) -> Material:
    """Return all that report.html shows of a run."""
    task = learned.task
    report = compare(learned, spec)
    taste, test = learned.embedder.scorer(), task.blocks.test
    facts: Mapping[str, Any] = run.folder.facts()
    return Material(
        title=run.path.name,
        made_at=str(facts["started_at"]),
        report=report,
        command=str(facts["command"]),
        curve=curve,
        dial=sweep(learned.ranker, task.dataset.shop, test, taste=taste, unit_of=learned.unit),
        dial_now=float(getattr(spec.rerank, "novelty", 0.0)),
        reach=reach_of(learned),
        reliability=reliability_of(learned),
        value_label=learned.ranker.value_label,
        members=stories(learned),
        facts=data_facts(task.prepared),
        sale_map=sale_map(learned),
        versions={str(k): str(v) for k, v in facts["versions"].items()},
        config=yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        notes=(*task.prepared.notes, *task.blocks.notes, *learned.notes),
        truth_known=task.prepared.truth is not None,
        task=task.dataset.task,
    )
