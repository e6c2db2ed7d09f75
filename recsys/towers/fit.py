"""Requests in, the best checkpoint out: the one place where training is started."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from recsys.domain.artefact import DISK
from recsys.domain.errors import DataRefusedError, InterruptedRunError, NoRoomError, SettingError
from recsys.domain.requests import Requests
from recsys.domain.stop import EXIT_CODES
from recsys.towers import checkpoint, counts, encoder_laws, processes, warm
from recsys.towers.batches import Assembler, Sampler, Share, cut_of
from recsys.towers.clerk import Clerk
from recsys.towers.device import Device, resolve
from recsys.towers.diary import Diary, kept
from recsys.towers.encoder import Encoding
from recsys.towers.feed import Feed, Place
from recsys.towers.job import EpochRow, TowerJob
from recsys.towers.lightning import Training
from recsys.towers.loggers import installed
from recsys.towers.losses import Planner
from recsys.towers.losses import resolve as resolve_loss
from recsys.towers.mlp import lowered
from recsys.towers.refit import second
from recsys.towers.resident import Resident
from recsys.towers.softmax import Kernel
from recsys.towers.spec import Causal, Pooled, TwoTower
from recsys.towers.standard import standardise
from recsys.towers.state import restore
from recsys.towers.two_tower import Sizes, TwoTowerNet
from recsys.towers.widen import widen

_ADVICE = (
    ".*does not have many workers.*",
    ".*LeafSpec.*",
    ".*srun. command is available.*",
    "GPU available but not used.*",
    "TensorFloat32 tensor cores.*",
    "Experiment logs directory .* exists and is not empty.*",
)

__all__ = ["EpochRow", "TowerJob", "fit"]


def fit(job: TowerJob) -> Path:
    """Train, or go on with the newest whole checkpoint; return the folder of the best one.

    With `towers.spectral` it is the best one's twin that holds the coordinates too. Where there is
    a block to refit on, it is the last one of a second training, which does what the first chose.

    Raises:
        DataRefusedError: there is nothing to learn from or nothing to choose the epoch by.
        SettingError: fp16 on a CPU; own vectors bounded by content that is not there; a logger
            whose package is missing; a loss or an encoder of an installed package that breaks a
            public law; a checkpoint to resume that has other settings or data.
        DeviceError: the device asked for is not there.
        NoRoomError: the disk does not hold two checkpoints.
        InterruptedRunError: a signal asked to stop; the state is saved.
        DivergedError: too many steps without a finite gradient.
    """
    _check(job)
    installed(job.trainer)
    best = _trained(replace(job, refit=None))
    return best if job.refit is None else _trained(second(job, best))


def _trained(job: TowerJob) -> Path:
    device = resolve(job.trainer)
    if device.processes > 1 and not processes.inside():
        processes.run(job, device.processes, _trained)
    else:
        _run(warm.settled(job), device)
    if job.stop.raised:
        raise InterruptedRunError(
            f"interrupted, saved below {job.checkpoints}", signal_code=job.stop.exit_code
        )
    newest = checkpoint.newest(job.checkpoints) or job.resume
    if newest is None:
        raise NoRoomError(f"{job.checkpoints} holds no whole checkpoint after training")
    state, _ = checkpoint.load(newest)
    best: str = state["place"]["best_name"]
    here = job.checkpoints / best
    # what was gone on with may lie elsewhere, and hold the best so far
    found = here if job.resume is None or here.exists() else job.resume.parent / best
    first = processes.share().rank == 0
    if job.warm is not None and not processes.inside():
        job.tell(warm.moved(job, found))
    return widen(job, found) if job.towers.spectral.rank and first else found


def _check(job: TowerJob) -> None:
    """Refuse what cannot be learned before anything is made."""
    for name, block in (("training", job.train), ("validation", job.validation)):
        if not len(block.target_sale):
            raise DataRefusedError(
                f"no outcome in the {name} part of {job.dataset.name}: {len(block)} requests",
                "every request needs a sale that the member engaged with afterwards",
                "take more days, or a longer data.outcome_hours",
            )
    lengths = job.train.shelf_end - job.train.shelf_start
    if lengths.max(initial=0) < 2:
        raise DataRefusedError(
            f"no shelf of {job.dataset.name} holds two sales: there is nothing to choose between",
            "look at opens_at and closes_at of the sales",
        )
    content = (*job.encoded.sales.fields, *job.encoded.sales.dense_names)
    if job.towers.id in {"bounded", "off"} and not content:
        raise SettingError(
            f"towers.id={job.towers.id} learns sales by their content",
            f"and the sales of {job.dataset.name} have no content",
            "use towers.id=auto, or name columns of the sales in the schema",
        )
    if job.towers.counts == "first" and job.train.hidden_share:
        raise SettingError(
            "towers.counts=first learns what was popular before outcomes came",
            f"{job.dataset.name} is a set without order: its counts hold the outcomes",
            "use towers.counts=together",
        )
    encoder: Pooled | Causal | Encoding = job.towers.encoder
    # ours are under the same laws in our tests
    fault = "" if isinstance(encoder, Pooled | Causal) else encoder_laws.broken(encoder)
    if fault:
        raise SettingError(
            f"{encoder.kind!r} breaks a law of recsys.towers.encoder_laws: {fault}",
            "mend or update its package, or choose another towers.encoder.kind",
        )


def _run(job: TowerJob, device: Device) -> None:
    with ExitStack() as stack:
        stack.enter_context(_threads(device.threads))
        stack.enter_context(quiet())
        if not _listens(job):
            stack.enter_context(job.stop.listening())
        training = prepare(job, device)
        if not training.finished:
            first = processes.share().rank == 0
            diary = stack.enter_context(kept(job, training.place.total)) if first else Diary()
            lightning(job, device, training, diary=diary)


def lightning(
    job: TowerJob,
    device: Device,
    training: Training,
    *watching: pl.Callback,
    diary: Diary | None = None,
    epochs: int = 0,
) -> None:
    """Let Lightning go through the epochs that are left, or some of them.

    `watching` are told of each thing before the clerk, who saves, validates and keeps a `diary`.
    """
    trainer = pl.Trainer(
        accelerator="gpu" if device.kind == "cuda" else "cpu",
        devices=device.processes,
        strategy="ddp" if device.processes > 1 else "auto",
        max_epochs=epochs or training.epochs - training.place.epoch,
        accumulate_grad_batches=job.trainer.accumulate,
        callbacks=[*watching, Clerk(job, diary or Diary())],
        deterministic=job.trainer.deterministic,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    try:
        trainer.fit(training, train_dataloaders=training.feed)
    except SIGTERMException:
        # heard before the clerk had its handlers back; Lightning would end with exit code 0
        raise InterruptedRunError(
            f"interrupted at the start; go on with what is below {job.checkpoints}",
            signal_code=EXIT_CODES[signal.SIGTERM],
        ) from None
    except SystemExit:
        # what Lightning makes of it; a notebook's other results are to outlive a second Ctrl-C
        raise KeyboardInterrupt from None


def _listens(job: TowerJob) -> bool:
    handler: Any = signal.getsignal(signal.SIGINT)
    return getattr(handler, "__self__", None) is job.stop


def prepare(job: TowerJob, device: Device) -> Training:
    """Build the net, its feed and its state, resumed where there is a checkpoint."""
    share = processes.share()
    where = torch.device("cuda", share.rank) if device.kind == "cuda" else torch.device("cpu")
    resident = Resident.of(job.dataset, job.encoded, where)
    net = TwoTowerNet(
        job.towers,
        Sizes.of(job.encoded),
        used=resident.used,
        sales=job.dataset.num_sales,
        seed=job.seed,
    )
    standardise(net, resident, job.train)
    learned, accumulate = warm.lesson(job), job.trainer.accumulate
    sampler = Sampler.of(learned, job.towers, job.seed, accumulate=accumulate)
    training = Training(
        net,
        place=Place(),
        kernel=_kernel(job.towers, device),
        total=sampler.steps * job.towers.epochs,
        epochs=job.chosen.epochs if job.chosen else job.towers.epochs,
    )
    if device.low and device.kind == "cpu":
        # the averaged weights, which are judged and exported, stay exact
        lowered(net)
    restore(job, training, world=share.world)
    if job.towers.counts == "first":
        counts.hold(net.sale_tower)
        if not training.place.total:
            counts.learn(net, resident, job.train)
            counts.copied(net.sale_tower, into=training.averaged.sale_tower)
    _room(job, net)
    assembler = _assembler(job, learned, resident, share=share)
    training.feed = Feed(sampler, assembler, training.place, accumulate)
    for rows in training.rows:
        rows.to(where)
    return training.to(where)


def _kernel(towers: TwoTower, device: Device) -> Kernel:
    return Kernel(
        chunk=16_384 if device.kind == "cuda" else 256,
        fuse=device.fuses,
        low=device.low,
        sharpness=towers.sharpness,
        top_k=towers.top_k,
        top_k_tau=towers.top_k_tau,
    )


def _assembler(job: TowerJob, learned: Requests, resident: Resident, *, share: Share) -> Assembler:
    planner = Planner.of(
        learned,
        resolve_loss(job.towers, learned, job.dataset.task),
        opens_at=job.dataset.opens_at,
        device=resident.device,
        whole=cut_of(learned, job.towers) is not None,
    )
    return Assembler.of(resident, planner, job.towers, share=share)


def _room(job: TowerJob, net: TwoTowerNet) -> None:
    """Refuse to start where two checkpoints would not fit: weights, averages, two moments."""
    wanted = 2 * 4 * sum(p.numel() * p.element_size() for p in net.parameters())
    job.checkpoints.mkdir(parents=True, exist_ok=True)
    free = DISK.free_bytes(job.checkpoints)
    if free < wanted:
        raise NoRoomError(
            f"{job.checkpoints} has {free:,} bytes free, two checkpoints need {wanted:,}",
            "free some space, or name another folder with runs_dir=",
        )


@contextmanager
def _threads(number: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Generator[None]:
    """Keep the device lines, tips and advice of Lightning and its loggers to themselves (UX 10)."""
    parts = ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric")
    names = (*parts, "alembic", "mlflow")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
