"""What a first training chose in, a second one on validation's days too out.

Epochs, the loudness of the bias and the weight of spectral coordinates are chosen on validation;
its days are the newest there are, and a model that has not learned them serves yesterday's taste.
So the usual second step (Hastie et al. 2009, section 7.10): train anew on both, choose nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recsys.towers import checkpoint
from recsys.towers.job import Chosen, EpochRow, TowerJob


def second(job: TowerJob, best: Path) -> TowerJob:
    """Return the training that does on both blocks what the one that came to `best` chose.

    Its checkpoints stand apart, so a run that was killed in it goes on in it. It tells no logger:
    there is nothing to compare.

    Raises:
        ValueError: there is no block to refit on.
    """
    if job.refit is None:
        raise ValueError("no block to refit on")
    chosen, train = _chosen(best), job.refit
    epochs = "1 epoch" if chosen.epochs == 1 else f"{chosen.epochs} epochs"
    job.tell(f"  refit    {epochs} on {len(train):,} requests, validation included")

    def on_epoch(row: EpochRow) -> None:
        job.tell(f"  refit    epoch {row.epoch} of {chosen.epochs}, loss {row.loss:.3f}")

    return replace(
        job,
        train=train,
        refit=None,
        resume=None,
        chosen=chosen,
        on_epoch=on_epoch,
        trainer=job.trainer.model_copy(update={"logger": "none", "tracking": None}),
    )


def _chosen(best: Path) -> Chosen:
    state, _ = checkpoint.load(best)
    spectral = state.get("spectral", {})
    return Chosen(
        # a checkpoint of an epoch's end stands at the start of the next
        epochs=state["place"]["epoch"],
        loudness=float(state["averaged"]["sale_tower.loudness"]),
        weight=spectral.get("weight", 0.0),
    )
