"""The public laws of encoders, callable by the tests of a package of one's own.

Each law takes an encoder and raises AssertionError, with what it found, where it is broken:

    @pytest.mark.parametrize("law", LAWS)
    def test_mine_keeps_the_public_laws(law):
        law(Mine())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from recsys.domain.joined import first_broken, silent
from recsys.towers.encoder import Encoding, reader
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.spec import Causal, TwoTower

Law = Callable[[Causal | Encoding], None]
DIM, HISTORY = 48, 12
"""Width, and events of the longest past, of the modules that the laws look at."""
NOISES = (None, Noise.of(5))
"""At export, and in a step of training."""


def settings_say_what_they_mean(encoder: Causal | Encoding) -> None:
    """Each setting has a meaning, and plain data make the same encoder again."""
    _must(holds=not silent(encoder), wanted=silent(encoder))


def what_is_added_is_finite(encoder: Causal | Encoding) -> None:
    """Finite float32 [B, D] is added, to an empty past and to one that is all hidden too.

    No request at all, a single one, and windows that hold fewer events than they may are among
    those asked for.
    """
    module = _module(encoder)
    for asked in (_asked(), _asked(rows=2, length=1), _asked(rows=1), _asked(rows=0, length=1)):
        for noise in NOISES:
            added, wanted = asked.added(module, noise), (len(asked.x), DIM)
            _must(
                holds=added.dtype == torch.float32 and added.shape == wanted,
                wanted=f"float32 {list(wanted)} is added, found {added.dtype} {list(added.shape)}",
            )
            _must(holds=bool(torch.isfinite(added).all()), wanted="what is added is finite")


def the_same_step_adds_the_same(encoder: Causal | Encoding) -> None:
    """What is added is a pure function of what is given, and without noise nothing is drawn.

    Bit for bit; and the same random state makes the same starting weights.
    """
    module, asked = _module(encoder), _asked()
    with torch.random.fork_rng(devices=[]):
        for noise in NOISES:
            torch.manual_seed(1)
            added = asked.added(module, noise)
            asked.added(module, Noise.of(6))
            again = asked.added(module, noise)
            _must(holds=torch.equal(added, again), wanted="the same is added when asked again")
    weights = zip(module.state_dict().items(), _module(encoder).state_dict().items(), strict=True)
    for (name, one), (_, two) in weights:
        _must(holds=torch.equal(one, two), wanted=f"{name} starts the same from the same seed")


def hidden_events_have_no_effect(encoder: Causal | Encoding) -> None:
    """Whatever stands where `keep` is False, the same is added, and it learns nothing of it."""
    module, asked = _module(encoder), _asked()
    for noise in NOISES:
        added = asked.added(module, noise)
        other = asked.hiding_others().added(module, noise)
        _must(holds=_near(added, other), wanted="the same is added to other hidden events")


def no_request_depends_on_those_beside_it(encoder: Causal | Encoding) -> None:
    """A request gets the same alone, in another order, and beside one with a longer past."""
    module, asked = _module(encoder), _asked(length=HISTORY - 5)
    order = torch.arange(len(asked.x) - 1, -1, -1)
    for noise in NOISES:
        added = asked.added(module, noise)
        _must(
            holds=_near(asked.rows(order).added(module, noise), added[order]),
            wanted="the same is added in another order",
        )
        alone = [asked.rows(row[None]).added(module, noise) for row in order]
        _must(holds=_near(torch.cat(alone), added[order]), wanted="the same is added alone")
        _must(
            holds=_near(asked.longer(5).added(module, noise), added),
            wanted="the same is added in a longer window",
        )


def every_weight_learns(encoder: Causal | Encoding) -> None:
    """Each weight has a finite gradient, and so have the events; the hidden ones have none."""
    module, asked = _module(encoder), _asked()
    x = asked.x.clone().requires_grad_()
    named = dict(module.named_parameters())
    for noise in NOISES:
        added = replace(asked, x=x).added(module, noise)
        *found, events = torch.autograd.grad(
            added.square().sum(), [*named.values(), x], allow_unused=True
        )
        for name, gradient in zip(named, found, strict=True):
            finite = gradient is not None and bool(torch.isfinite(gradient).all())
            _must(holds=finite, wanted=f"{name} has a gradient, and a finite one")
        if events is not None:
            _must(holds=bool(torch.isfinite(events).all()), wanted="events have finite gradients")
            _must(holds=not events[~asked.keep].any(), wanted="hidden events have no gradient")


LAWS: tuple[Law, ...] = (
    settings_say_what_they_mean,
    what_is_added_is_finite,
    the_same_step_adds_the_same,
    hidden_events_have_no_effect,
    no_request_depends_on_those_beside_it,
    every_weight_learns,
)
"""All of them."""


def broken(encoder: Causal | Encoding) -> str:
    """Return the first law that an encoder breaks and what was found, or an empty text."""
    return first_broken(LAWS, encoder)


def _must(*, holds: bool, wanted: str) -> None:
    if not holds:
        raise AssertionError(wanted)


@dataclass(frozen=True)
class _Asked:
    """What a module is given for B requests; see `Encoding`."""

    x: Tensor
    window: Window
    keep: Tensor
    request: Tensor

    def added(self, module: nn.Module, noise: Noise | None) -> Tensor:
        """Return what a module adds to each of them, [B, D]."""
        added: Tensor = module(self.x, self.window, self.keep, request=self.request, noise=noise)
        return added

    def rows(self, rows: Tensor) -> _Asked:
        """Return some of the requests, in another order maybe."""
        window = Window(**{f.name: getattr(self.window, f.name)[rows] for f in fields(Window)})
        return _Asked(self.x[rows], window, self.keep[rows], self.request[rows])

    def longer(self, more: int) -> _Asked:
        """Add places to the windows that hold nobody's event."""
        window, none = self.window, (0, more)
        wide = replace(
            window,
            sale=pad(window.sale, none),
            what=pad(window.what, none),
            days=pad(window.days, none),
            valid=pad(window.valid, none),
        )
        return _Asked(pad(self.x, (0, 0, *none)), wide, pad(self.keep, none), self.request)

    def hiding_others(self) -> _Asked:
        """Put other events where they are hidden; of a past that is all hidden, change the rest."""
        window, keep = self.window, self.keep
        other = replace(
            window,
            sale=torch.where(keep, window.sale, window.sale + 1),
            what=torch.where(keep, window.what, 34 - window.what),
            days=torch.where(keep, window.days, window.days + 9),
            so_far=torch.where(keep.any(dim=1), window.so_far, 100),
        )
        return replace(self, x=torch.where(keep[..., None], self.x, 9 - self.x), window=other)


def _asked(rows: int = 6, length: int = HISTORY) -> _Asked:
    """Make requests: the first has no past, the second a hidden one, the last a full window."""
    source = torch.Generator().manual_seed(length)
    many = torch.arange(rows) * length // max(1, rows - 1)
    valid = torch.arange(length) < many[:, None]
    keep = valid & (torch.rand(rows, length, generator=source) < 0.7)
    keep[1:2] = False
    window = Window(
        sale=torch.randint(0, 9, (rows, length), generator=source),
        what=torch.randint(0, 35, (rows, length), generator=source),
        days=torch.rand(rows, length, generator=source).cumsum(dim=1) * 30,
        valid=valid,
        so_far=many.float(),
    )
    x = torch.randn(rows, length, DIM, generator=source)
    return _Asked(x, window, keep, torch.arange(rows) + 70)


def _module(encoder: Causal | Encoding) -> nn.Module:
    """Build the module and move its weights, so that nothing is zero because it starts there."""
    source = torch.Generator().manual_seed(0)
    towers = TwoTower(dim=DIM, history=HISTORY).model_copy(update={"encoder": encoder})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = reader(towers)
        if module is None:
            raise AssertionError("it adds something")
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=source) * 0.2)
    return module


def _near(one: Tensor, two: Tensor) -> bool:
    # a product may round otherwise for another number of rows
    return torch.allclose(one, two, rtol=1e-3, atol=1e-4)
