"""Compose, check, start. Where the river runs: recsys/runs/train.py."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from recsys.runs.guard import guarded
from recsys.runs.load import accept, arguments, threads_before_import
from recsys.runs.spec import Train


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def start(config: DictConfig) -> None:
    """Check the composed config, then load what is heavy and run."""

    def task() -> None:
        spec = accept(config, Train)
        from recsys.runs.train import train

        train(spec)

    code = guarded(task)
    sys.exit(code) if code else None


def main() -> None:
    """Check the command line before Hydra sees it."""
    threads_before_import()
    sys.argv[1:] = arguments("train", Train, sys.argv[1:])
    start()


if __name__ == "__main__":
    sys.exit(guarded(main))
