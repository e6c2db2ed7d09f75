"""The Lightning module: one step and the guards around it (MODEL 5, RELIABILITY 3)."""

from __future__ import annotations

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from recsys.domain.errors import DivergedError
from recsys.towers.batches import Batch
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.features import by_rows
from recsys.towers.feed import Feed, Place
from recsys.towers.gathered import gathered
from recsys.towers.noise import Noise
from recsys.towers.optim import adam, clip, decay_at, factor, follow, set_rates, tables
from recsys.towers.resident import Resident
from recsys.towers.rows import Rows, log_of
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import TwoTower
from recsys.towers.two_tower import TwoTowerNet, cut

_IN_A_ROW, _IN_ALL = 3, 10
"""Steps without a finite gradient that training lives through."""


class Training(pl.LightningModule):
    """Trains a net and keeps its averaged weights beside it."""

    def __init__(
        self, net: TwoTowerNet, *, place: Place, kernel: Kernel, total: int, epochs: int = 0
    ) -> None:
        """Start the averaged weights as the net's; `total` = steps of the whole schedule.

        It may end before, after `epochs` of them; 0 = those of the settings.
        """
        super().__init__()
        self.net, self.averaged = net, copy.deepcopy(net).requires_grad_(requires_grad=False)
        self.spec: TwoTower = net.spec
        self.place, self.kernel, self.total = place, kernel, total
        self.epochs = epochs or net.spec.epochs
        self.feed: Feed
        self.adam: torch.optim.Adam = adam(net, net.spec)
        large = [name for name, table in tables(net).items() if by_rows(table, net.spec)]
        weights, averages = dict(net.named_parameters()), dict(self.averaged.named_parameters())
        self.rows = [Rows.of(weights[name], averages[name]) for name in large]
        self.dense: list[Tensor] = [p for name, p in weights.items() if name not in large]
        self.followers: list[Tensor] = [p for name, p in averages.items() if name not in large]
        # torch's name for what it does not share: these gradients are sparse, we share them
        self._ddp_params_and_buffers_to_ignore = [f"net.{name}" for name in large]
        self.losses: list[Tensor] = []
        self.skipped: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return fused Adam over the net."""
        return self.adam

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return the batch as it is: the feed made it on the device."""
        del device, dataloader_idx
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of this process's rows, scaled so that processes average to the mean."""
        del batch_idx
        key = (self.feed.sampler.seed, self.place.epoch, self.place.step)
        resident = self.feed.assembler.resident
        with torch.autocast("cuda", torch.bfloat16, enabled=resident.device.type == "cuda"):
            u, v = forward(self.net, batch, resident, noise=Noise.of(*key))
        scale = 1 / self.net.tau
        total = u.new_zeros((), dtype=torch.float32)
        for width in (self.spec.dim, *self.spec.matryoshka):
            part = cut(u.float(), width), v.float().cut(width)
            total = total + chunked_softmax(*part, scale, blocks=batch.blocks, kernel=self.kernel)
        loss = total * (self.feed.assembler.share.world / batch.rows)
        self.losses.append(loss.detach())
        # Lightning divides by the number of pieces
        return loss * self.feed.accumulate

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip; a gradient that is not finite makes the fused kernel skip the step, unasked."""
        del optimizer
        length = clip([*self.dense, *map(_carrier, self.rows)], self.spec.clip)
        broken = ~torch.isfinite(length)
        self.adam.found_inf = broken.float()  # type: ignore[attr-defined]  # read by fused Adam
        self.skipped.append(broken)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step at the schedule's rate, then let the averaged weights follow."""
        share = self.at_rate()
        super().optimizer_step(*args, **kwargs)
        self.move_on(share)

    def at_rate(self) -> float:
        """Set the rates of this step; return their share of the peak."""
        share = factor(self.place.total, total=self.total, warmup=self.spec.warmup)
        set_rates(self.adam, share)
        return share

    def move_on(self, share: float) -> None:
        """Step what Adam does not, let the averaged weights follow, count the step."""
        decay, before = decay_at(self.place.total, self.spec.ema), self.place.forgotten
        follow(self.followers, self.dense, decay)
        if self.rows and not bool(self.skipped[-1]):
            for rows in self.rows:
                rows.step(rate=share * self.spec.row_rate, before=before, decay=decay)
        self.place.forgotten += log_of(decay)
        self.place.step += 1
        self.place.total += 1

    def follow_all(self) -> None:
        """Let the averages of rows that no step touched lately follow, before they are used."""
        for rows in self.rows:
            rows.follow(self.place.forgotten)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        patience = self.spec.patience
        stale = bool(patience) and self.place.stale >= patience
        return stale or self.place.epoch >= self.epochs

    def settle(self) -> None:
        """Bring the losses and skips of the last steps to the host.

        Raises:
            DivergedError: more than 3 steps in a row or 10 in all had no finite gradient.
        """
        first = self.place.step - len(self.skipped)
        skips = torch.stack(self.skipped).tolist() if self.skipped else []
        losses = (
            torch.stack(self.losses).double().nan_to_num(0.0, 0.0, 0.0) if self.losses else None
        )
        self.place.loss += float(losses.sum()) if losses is not None else 0.0
        self.place.bad += [(self.place.epoch, first + i) for i, skip in enumerate(skips) if skip]
        self.losses.clear()
        self.skipped.clear()
        bad = self.place.bad
        row = bad[-_IN_A_ROW - 1 :]
        in_a_row = len(row) > _IN_A_ROW and row[-1][1] - row[0][1] == _IN_A_ROW
        if len(bad) > _IN_ALL or in_a_row:
            raise DivergedError(
                f"{len(bad)} steps had no finite gradient, the last is step {bad[-1][1] + 1} of "
                f"epoch {bad[-1][0] + 1}",
                "their member and sale rows are in bad_batches.json",
                "lower towers.rate and towers.table_rate, or look at these rows",
            )


def _carrier(rows: Rows) -> Tensor:
    """Return a tensor whose gradient is that of the rows that the step touched."""
    gradient = rows.collect()
    carrier = torch.empty_like(gradient)
    carrier.grad = gradient
    return carrier


def forward(
    net: TwoTowerNet, batch: Batch, resident: Resident, *, noise: Noise | None
) -> tuple[Tensor, ColumnVectors]:
    """Return u [B, D] and v of a step's columns; x is computed once per sale."""
    z, x = net.sale_x(resident, batch.sales, noise=noise)
    u = net.member_vectors(resident, batch.asked, gathered(batch.event_place, x), noise=noise)
    content = gathered(batch.column_place, net.sale_tower.content(z)[:, None])
    bias = net.sale_tower.bias(content, batch.as_of, tau=net.tau)
    return u, ColumnVectors(net.sale_tower.unit(x), bias, batch.column_place)
