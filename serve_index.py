"""Serve the newest bundle over HTTP: `python serve_index.py --help`.

How it opens, warms up and listens: recsys/runs/serve.py and recsys/serve. Hydra's shell completion
finds this script by the text `@hydra.main`.
"""

from __future__ import annotations

import sys

from recsys.runs.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
