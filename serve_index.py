"""Open a bundle, warm up, listen. How it answers: recsys/serve."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from recsys.runs.guard import guarded
from recsys.runs.load import accept, arguments
from recsys.runs.spec import Serving


@hydra.main(version_base="1.3", config_path="configs", config_name="serve")
def start(config: DictConfig) -> None:
    """Check the composed config, then load what is heavy and serve."""

    def task() -> None:
        spec = accept(config, Serving)
        from recsys.runs.serve import serve

        serve(spec)

    code = guarded(task)
    sys.exit(code) if code else None


def main() -> None:
    """Check the command line before Hydra sees it."""
    sys.argv[1:] = arguments("serve", Serving, sys.argv[1:])
    start()


if __name__ == "__main__":
    sys.exit(guarded(main))
