"""Settings of the towers, their losses and the machine they are trained on."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.domain.joined import Joined
from recsys.domain.spec import Count, CountOrNone, NonNegative, Positive, Share, Spec

Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Temperature = Annotated[float, Field(ge=0.02, le=0.5)]
Width = Annotated[int, Field(ge=4, le=1024)]
LogQ = Literal["classic", "refined", "off"]


class LiveShelf(Spec):
    """Softmax over the whole shelf of the decision time, plus a share of older sales."""

    kind: Literal["live_shelf"] = "live_shelf"
    archive_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of the denominator that sales from the archive hold under equal scores."""
    archive_draws: CountOrNone = 256
    """Sales drawn from the archive for each decision time of a step; 0 = shelf alone."""


class Sampled(Spec):
    """Softmax over drawn sales, for catalogues that never close: in-batch and uniform draws."""

    kind: Literal["sampled"] = "sampled"
    in_batch: CountOrNone = 512
    """Columns taken from the targets of other requests of the same decision time: one of each, or
    several where requests are few and have many."""
    uniform: CountOrNone = 1024
    """Columns drawn uniformly from the shelf, for each decision time of a step."""
    logq: LogQ = "classic"
    """Correct for how often a sale is drawn: positives too (`classic`, Yi et al. 2019), negatives
    alone (`refined`, arXiv 2507.09331), or not at all (`off`, to see the damage)."""

    @model_validator(mode="after")
    def _draws_something(self) -> Sampled:
        if self.in_batch + self.uniform == 0:
            raise ValueError("in_batch and uniform are both 0: there would be no negatives")
        return self


class Full(Spec):
    """Softmax over the whole shelf, however long it is."""

    kind: Literal["full"] = "full"


class AutoLoss(Spec):
    """Choose by the data: live shelf, full up to a size, sampled above it."""

    kind: Literal["auto"] = "auto"
    full_up_to: Count = 8192
    """Longest shelf of a catalogue that never closes that is still summed in full."""


Loss = Annotated[
    AutoLoss | LiveShelf | Sampled | Full,
    Field(discriminator="kind"),
    Joined("recsys.losses", ("width", "places", "log_q")),
]
"""Which sales are compared, chosen by `kind`; installed packages may join (docs/extending.md)."""


class Spectral(Spec):
    """Coordinates beside the towers', from one SVD of who engaged with what (MODEL 8).

    For catalogues that change slowly: sales that open after the training have none.
    """

    rank: Annotated[int, Field(ge=0, le=4096)] = 0
    """How many are added to the exported vectors; 0 = off."""
    ridge: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """0 = an ideal low pass, as GF-CF's; above it EASE's weights at this ridge, for sets where EASE
    is the better of the two baselines."""
    weights: Annotated[tuple[Positive, ...], Field(min_length=1)] = (
        0.03,
        0.06,
        0.12,
        0.25,
        0.5,
        1.0,
        2.0,
        4.0,
        8.0,
    )
    """Weights tried on validation after training, beside none, in units of the towers' spread."""


class Pooled(Spec):
    """Weighted means over the past that forget at their own pace (MODEL 2.3)."""

    kind: Literal["pooled"] = "pooled"


class Causal(Spec):
    """The pooled means, plus what transformer blocks over the past in time order add to them.

    For long histories whose order matters. What blocks make of an event depends on it and those
    before it, never on when it is asked for: training reads a stretch of a member's events once for
    all the requests among them.
    """

    kind: Literal["causal"] = "causal"
    blocks: Annotated[int, Field(ge=1, le=4)] = 2
    """Transformer blocks, as wide as `towers.dim`; attention knows distance and time."""
    heads: Count = 2
    """Attention heads of a block; `towers.dim` must be a multiple of them."""
    dropout: Dropout = 0.2
    """Chance that training hides a coordinate of what a layer adds, for a whole stretch."""
    gap_buckets: Annotated[int, Field(ge=2, le=256)] = 32
    """Steps of log time between two events, from a minute to eight years."""
    period_days: CountOrNone = 0
    """Days of training whose requests share a decision time, the first of them, in sets that never
    close: a step asks at as many as its stretches span, and each has columns of its own. What
    opened since is no outcome. 0 = as many days as leave about 16 decision times, fewer where that
    would cost more than one outcome of a hundred."""


Encoder = Annotated[
    Pooled | Causal,
    Field(discriminator="kind"),
    Joined("recsys.encoders", ("module",)),
]
"""What is made of a past, chosen by `kind`; installed packages may join (docs/extending.md)."""


class TwoTower(Spec):
    """Members and sales as vectors whose inner product ranks (MODEL 2)."""

    kind: Literal["two_tower"] = "two_tower"
    dim: Width = 64
    """Width of everything, the exported vectors included."""
    history: Count = 32
    """Events of a member that the tower looks back on."""
    decay_days: tuple[Positive, ...] = (1.0, 7.0, 30.0)
    """Days after which an event counts half, for each head that forgets; one more never does."""
    encoder: Encoder = Pooled()
    """What is made of a member's past."""
    table_bits: Annotated[int, Field(ge=4, le=26)] = 18
    """Rows of the shared table of categories, as a power of two."""
    id: Literal["auto", "bounded", "free", "off"] = "auto"
    """Own vector of each sale: at most `delta` of its content, unbounded, or none; `auto` =
    bounded where sales have content, else unbounded."""
    delta: NonNegative = 0.5
    """Longest own vector, as a share of the length of the content vector."""
    n_min: CountOrNone = 5
    """Targets a sale needs before its own vector counts at export."""
    bias_max: NonNegative = 1.0
    """Largest bias of a sale, beside a cosine in [-1, 1]."""
    popularity_hours: Annotated[tuple[Positive, ...], Field(min_length=1)] = (24.0,)
    """Windows in which engagements before the decision are counted for a sale's bias. Where
    outcomes come within three hours, 0.25, 1 and 3 join them; sets without dates count all."""
    counts: Literal["together", "first"] = "together"
    """What these counts say of a sale is learned together with all else, or first and alone, which
    suits shelves whose hot sales are others every day."""
    balance: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 0.5, 2.0, 4.0, 8.0, 16.0)
    """Factors on the sales' bias that are tried on validation after each epoch; the first stands
    unless another is clearly better."""
    event_dropout: Dropout = 0.2
    """Chance that training hides an event of the history."""
    history_dropout: Dropout = 0.1
    """Chance that training hides the whole history."""
    field_dropout: Dropout = 0.1
    """Chance that training hides a field of a sale or member."""
    id_dropout: Dropout = 0.0
    """Chance that training hides the own vector of a sale."""
    spectral: Spectral = Spectral()
    """Coordinates from an SVD, for sales that were there at the training."""
    loss: Loss = AutoLoss()
    """Which sales each request is compared with."""
    tau: Temperature = 0.07
    """Temperature at the start; it is learned within [`tau_low`, 0.5]."""
    tau_low: Temperature = 0.02
    """Lowest temperature, where it stays: the lower it falls, the closer training is fitted."""
    sharpness: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    """How hard negatives are pushed for each pull at a target (BSL's t2); 1 is softmax."""
    top_k: CountOrNone = 0
    """Weigh a target by how near it stands to a member's best K sales (SL@K); 0 = off."""
    top_k_tau: Positive = 1.0
    """Width, in scores, of the rise of that weight around the K-th best score."""
    matryoshka: tuple[Width, ...] = ()
    """Shorter widths at which the loss is summed too, so that vectors may be cut to them."""
    rate: Rate = 1e-3
    """Adam rate of matrices; vectors and scalars learn ten times faster."""
    table_rate: Rate = 1e-2
    """Adam rate of the tables: categories and own vectors of sales."""
    rows_above: Count = 1_000_000
    """Rows above which a table is learned by row-wise Adagrad, only the rows a step touches."""
    row_rate: Rate = 0.05
    """Adagrad rate of such tables."""
    warmup: Share = 0.05
    """Share of the steps in which the rates rise."""
    clip: Positive = 1.0
    """Longest gradient of a step."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Decay of the averaged weights that are judged and exported; 0 = the last weights."""
    epochs: Count = 12
    """Passes over the training requests, at most."""
    warm_epochs: Count = 1
    """The same after a warm start, over the requests since then."""
    warm_rate: Rate = 0.3
    """Factor on all rates after a warm start."""
    patience: CountOrNone = 3
    """Epochs without a better validation before training stops; 0 = never."""
    refit: bool = False
    """Once validation has chosen, train anew on its days too; a run then takes twice as long."""
    groups_per_batch: Count = 4
    """Decision times of a step. Where stretches are read (`encoder.kind=causal`) a step has as many
    requests as this times `rows_per_group`, at any times."""
    rows_per_group: CountOrNone = 0
    """Requests of a decision time in a step, at most; fewer where an epoch had under 20 steps.
    0 = 32 on short shelves, 512 on those of more than 1,000 sales."""

    @model_validator(mode="after")
    def _settings_fit(self) -> TwoTower:
        if isinstance(self.encoder, Causal) and self.dim % self.encoder.heads:
            raise ValueError(f"dim {self.dim} is no multiple of encoder.heads {self.encoder.heads}")
        if self.tau < self.tau_low:
            raise ValueError(f"tau {self.tau} starts below tau_low {self.tau_low}")
        widths = (self.dim, *self.matryoshka)
        if any(after >= before for before, after in pairwise(widths)):
            raise ValueError(f"matryoshka must fall from dim {self.dim}, found {self.matryoshka}")
        return self


Towers = Annotated[TwoTower, Field(discriminator="kind")]


class Machine(Spec):
    """What every kind of machine shares."""

    threads: CountOrNone = 0
    """CPU threads that learn; 0 = the physical cores this process may use, less one on a CPU, where
    one more thread makes the next batch."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of scores and MLPs: `auto` = bf16 where the machine has it natively. No fp16 on a CPU."""
    accumulate: Count = 1
    """Batches whose gradients make one step: as one so many times as large, in less memory."""
    save_every_steps: Count = 1000
    """Steps between checkpoints; one is also made at the end of each epoch."""
    deterministic: bool = False
    """Same bits on a GPU too, at some cost. A CPU gives the same bits always."""
    logger: Literal["none", "csv", "tensorboard", "mlflow"] = "none"
    """What hears each epoch and the loss of every 100th step, beside the run's metrics.csv."""
    tracking: Annotated[str, Field(pattern=r"^(sqlite:///.+|https?://.+)$")] | None = None
    """Where `logger=mlflow` keeps runs: sqlite:///PATH, or the address of a server of yours;
    null = mlflow.db in the run's folder."""

    @model_validator(mode="after")
    def _tracks_where_it_says(self) -> Self:
        if self.tracking is not None and self.logger != "mlflow":
            raise ValueError("tracking is for logger=mlflow: set that too")
        return self


class Auto(Machine):
    """One GPU if there is one, else the CPU."""

    kind: Literal["auto"] = "auto"


class Cpu(Machine):
    """The CPU of this machine, in one process."""

    kind: Literal["cpu"] = "cpu"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of scores and MLPs: `auto` = bf16 where the CPU has it natively."""


class Gpu(Machine):
    """One CUDA GPU."""

    kind: Literal["gpu"] = "gpu"


class Ddp(Machine):
    """Several processes, each with its share of every batch: one a GPU, or on the CPU."""

    kind: Literal["ddp"] = "ddp"
    processes: Count = 2
    """How many; the batches, negatives and dropout are those of one process."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where they run: `auto` = GPUs if there are as many as processes."""


Trainer = Annotated[Auto | Cpu | Gpu | Ddp, Field(discriminator="kind")]
