from __future__ import annotations

import subprocess
import sys

from tests.runs.starting import ROOT

ANSWERS = "import recsys.runs.serve, recsys.runs.recommend, sys; print(*sys.modules)"


def test_what_answers_from_a_bundle_loads_nothing_that_trains() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ANSWERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert {"faiss", "uvicorn", "polars"} <= loaded
    assert {"torch", "pytorch_lightning", "lightning_fabric", "hydra", "lightgbm"} & loaded == set()
