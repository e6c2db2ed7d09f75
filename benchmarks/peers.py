"""Trainers of others on our positives, where they are installed, each as its tutorial has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from importlib.util import find_spec
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


def skipped() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, module in MODULES.items() if find_spec(module) is None]


def runs(dataset: Dataset, requests: Requests, *, positives: int) -> dict[str, Callable[[], Took]]:
    """Return a run over some of the positives for each peer that is here."""
    makers = {"torch-rechub": rechub, "tensorflow-recommenders": tfrs}
    missing = skipped()
    return {
        name: make(dataset, requests, some(requests, positives))
        for name, make in makers.items()
        if name not in missing
    }


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


def rechub(dataset: Dataset, requests: Requests, chosen: tuple[I64, I64]) -> Callable[[], Took]:
    """YoutubeDNN: member, mean of the last 20 sales, three drawn sales for each positive."""
    features: Any = import_module("torch_rechub.basic.features")
    matching: Any = import_module("torch_rechub.models.matching")
    trainers: Any = import_module("torch_rechub.trainers")
    data: Any = import_module("torch_rechub.utils.data")
    rows, sale = chosen
    sales, members = dataset.num_sales + 1, dataset.num_members

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
    known = {
        "member": requests.member[rows].astype(np.int64),
        "sale": sale + 1,
        "past": histories(dataset, requests, rows),
        "drawn": np.random.default_rng(SEED).integers(1, sales, (len(sale), NEGATIVES)),
    }
    settings = {"lr": 1e-3, "weight_decay": 1e-6}
    trainer = trainers.MatchTrainer(model, mode=2, optimizer_params=settings, device="cpu")
    feed, _, _ = data.MatchDataGenerator(known, np.zeros(len(sale))).generate_dataloader(
        {"member": known["member"][:1]}, {"sale": sale[:1]}, batch_size=BATCH, num_workers=0
    )

    def run() -> Took:
        clock = Clock()
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            trainer.train_one_epoch(feed)
        return clock.took(len(sale))

    return run


def tfrs(dataset: Dataset, requests: Requests, chosen: tuple[I64, I64]) -> Callable[[], Took]:
    """Own vectors of members and sales, in-batch softmax, Adagrad."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    tf: Any = import_module("tensorflow")
    recommenders: Any = import_module("tensorflow_recommenders")
    rows, sale = chosen
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    members = tf.keras.layers.Embedding(dataset.num_members, DIM)
    sales = tf.keras.layers.Embedding(dataset.num_sales, DIM)
    task = recommenders.tasks.Retrieval()

    class TwoTowers(recommenders.Model):  # type: ignore[misc]  # known only where it is installed
        """The two towers of its tutorial."""

        def compute_loss(self, features: Any, *_: Any, **__: Any) -> Any:
            """Return the loss of a batch."""
            user, item = members(features["member"]), sales(features["sale"])
            return task(user, item, compute_metrics=False)

    model = TwoTowers()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    known = {"member": requests.member[rows], "sale": sale.astype(np.int32)}
    feed = tf.data.Dataset.from_tensor_slices(known).shuffle(min(len(sale), 200_000)).batch(BATCH)

    def run() -> Took:
        clock = Clock()
        model.fit(feed, epochs=1, verbose=0)
        return clock.took(len(sale))

    return run
