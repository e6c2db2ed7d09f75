"""Train, judge and publish: `python train.py --help`.

The river stands in recsys/runs/train.py; Hydra starts it in recsys/runs/load.py, and its shell
completion finds this script by the text `@hydra.main`.
"""

from __future__ import annotations

import sys

from recsys.runs.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
