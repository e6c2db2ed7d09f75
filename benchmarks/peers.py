"""Trainers of others on our positives, where they are installed, each as its tutorial has it.

Each runs in a process of its own on the cores that ours has, and with as many threads: ours learns
on one fewer where there are several, and makes batches on the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turns import Clock, Took
from recsys.domain.arrays import I64
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests

DIM, BATCH, LENGTH, NEGATIVES, SEED = 64, 2_048, 20, 3, 1
MODULES = {
    "torch-rechub": "torch_rechub",
    "tensorflow-recommenders": "tensorflow_recommenders",
}
LARGE_PAGES = "torch-rechub on large pages"
"""What it would gain from what our commands set for torch."""


@dataclass(frozen=True)
class Known:
    """What peers learn from: n positives."""

    num_members: int
    num_sales: int
    member: I64
    """I64[n]."""
    sale: I64
    """I64[n]."""


def skipped() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, module in MODULES.items() if find_spec(module) is None]


@contextmanager
def runs(
    dataset: Dataset, requests: Requests, *, positives: int
) -> Generator[dict[str, Callable[[], Took]]]:
    """Give a run over some of the positives for each peer that is here."""
    missing = skipped()
    if len(missing) == len(MODULES):
        yield {}
        return
    rows, sale = some(requests, positives)
    member = requests.member[rows].astype(np.int64)
    known = Known(dataset.num_members, dataset.num_sales, member, sale)
    past = histories(dataset, requests, rows)
    makes: dict[str, Callable[[], Callable[[], Took]]] = {
        "torch-rechub": partial(rechub, known, past),
        LARGE_PAGES: partial(rechub, known, past),
        "tensorflow-recommenders": partial(tfrs, known),
    }
    with ExitStack() as stack:
        found: dict[str, Callable[[], Took]] = {}
        for name, make in makes.items():
            if not any(name.startswith(one) for one in missing):
                apart = in_its_process(make, large_pages=name == LARGE_PAGES)
                found[name] = stack.enter_context(apart)
        yield found


@contextmanager
def in_its_process(
    make: Callable[[], Callable[[], Took]], *, large_pages: bool
) -> Generator[Callable[[], Took]]:
    """Give the run of a peer that is made, and stays, in a process of its own."""
    asked = (make, large_pages)
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_ready, initargs=asked) as pool:
        yield lambda: pool.submit(_run).result()


_made: list[Callable[[], Took]] = []
"""The run of the peer whose process this is."""


def _ready(make: Callable[[], Callable[[], Took]], large_pages: bool) -> None:  # ruff: ignore[boolean-type-hint-positional-argument] - a pool passes no names
    """Make a peer ready, in its process."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1" if large_pages else "0"
    _made.append(make())


def _run() -> Took:
    return _made[0]()


def some(requests: Requests, number: int) -> tuple[I64, I64]:
    """Draw positives; return the request and the sale of each, I64[number]."""
    request = np.repeat(np.arange(len(requests)), np.diff(requests.target_ptr))
    drawn = np.random.default_rng(SEED).permutation(len(request))[:number]
    return request[drawn], requests.target_sale[drawn].astype(np.int64)


def histories(dataset: Dataset, requests: Requests, rows: I64) -> I64:
    """Return the last sales before each request, newest first, counted from 1; 0 = none."""
    history = dataset.history
    place = requests.history_end[rows, None] - 1 - np.arange(LENGTH)
    known = place >= history.member_ptr[requests.member[rows], None]
    sales: I64 = np.where(known, history.sale[np.maximum(place, 0)].astype(np.int64) + 1, 0)
    return sales


def rechub(known: Known, past: I64) -> Callable[[], Took]:
    """YoutubeDNN: member, mean of the last 20 sales, three drawn sales for each positive."""
    features: Any = import_module("torch_rechub.basic.features")
    matching: Any = import_module("torch_rechub.models.matching")
    trainers: Any = import_module("torch_rechub.trainers")
    data: Any = import_module("torch_rechub.utils.data")
    sales, members, sale = known.num_sales + 1, known.num_members, known.sale

    def of_sales(name: str, pooling: str) -> Any:
        return features.SequenceFeature(
            name, sales, embed_dim=DIM, pooling=pooling, shared_with="sale"
        )

    model = matching.YoutubeDNN(
        [features.SparseFeature("member", members, embed_dim=DIM), of_sales("past", "mean")],
        [features.SparseFeature("sale", sales, embed_dim=DIM)],
        [of_sales("drawn", "concat")],
        user_params={"dims": [128, DIM]},
        temperature=0.05,
    )
    columns = {
        "member": known.member,
        "sale": sale + 1,
        "past": past,
        "drawn": np.random.default_rng(SEED).integers(1, sales, (len(sale), NEGATIVES)),
    }
    settings = {"lr": 1e-3, "weight_decay": 1e-6}
    trainer = trainers.MatchTrainer(model, mode=2, optimizer_params=settings, device="cpu")
    feed, _, _ = data.MatchDataGenerator(columns, np.zeros(len(sale))).generate_dataloader(
        {"member": known.member[:1]}, {"sale": sale[:1]}, batch_size=BATCH, num_workers=0
    )

    def run() -> Took:
        clock = Clock()
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            trainer.train_one_epoch(feed)
        return clock.took(len(sale))

    return run


def tfrs(known: Known) -> Callable[[], Took]:
    """Own vectors of members and sales, in-batch softmax, Adagrad."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    tf: Any = import_module("tensorflow")
    recommenders: Any = import_module("tensorflow_recommenders")
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)

    class TwoTowers(recommenders.Model):  # type: ignore[misc]  # known only where it is installed
        """The two towers of its tutorial; what is no attribute of it would not be trained."""

        def __init__(self) -> None:
            """Make both tables."""
            super().__init__()
            self.members = tf.keras.layers.Embedding(known.num_members, DIM)
            self.sales = tf.keras.layers.Embedding(known.num_sales, DIM)
            self.task = recommenders.tasks.Retrieval()

        def compute_loss(self, features: Any, *_: Any, **__: Any) -> Any:
            """Return the loss of a batch."""
            user, item = self.members(features["member"]), self.sales(features["sale"])
            return self.task(user, item, compute_metrics=False)

    model = TwoTowers()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    columns = {"member": known.member.astype(np.int32), "sale": known.sale.astype(np.int32)}
    number = len(known.sale)
    feed = tf.data.Dataset.from_tensor_slices(columns).shuffle(min(number, 200_000)).batch(BATCH)

    def run() -> Took:
        clock = Clock()
        model.fit(feed, epochs=1, verbose=0)
        took = clock.took(number)
        if not model.trainable_variables:
            raise RuntimeError("its tables are not trained, so its speed says nothing")
        return took

    return run
