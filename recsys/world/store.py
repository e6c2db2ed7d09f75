"""A large world on disk: members and state in mapped files, what a day brought in small ones.

    world.json              settings and size of a block
    members/NAME.npy        arrays of `Members`
    state/known.npy ..      brands known and how they pleased: changed in place, in few places
    state/0, state/1        the other arrays of `State` at noons of even and of odd days
    lived/0, lived/1        what blocks did on even and on odd days, before stock was settled
    log/DAY/BLOCK.npz       what happened
    days/DAY.npz            what blocks have in common at the end of a day: there once it is over

A day's work reads what was there at its noon and writes beside it, or writes in the same places
what it wrote before: it can be cut short anywhere and done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from recsys.domain.arrays import F64, I64, Bool
from recsys.domain.errors import MissingArtefactError, SettingError
from recsys.domain.spec import Count, Spec
from recsys.world.lived import Block, Pairs
from recsys.world.log import Log, Shown, places_shown
from recsys.world.members import Members
from recsys.world.packed import pack, unpack
from recsys.world.retailer import World, make_shop
from recsys.world.spec import FlashSales
from recsys.world.state import NEVER, State

KEPT = ("known", "like")
SHARED = ("stock_left", "sold_out_at", "brand_views")
MOVING = tuple(field.name for field in fields(State) if field.name not in {"day", *KEPT, *SHARED})
EVENTS = ("member", "sale", "at", "kind", "channel", "flags")
"""The columns of a log that speak of events."""


class Header(Spec):
    """What a folder of a large world holds."""

    layout: int = 1
    block: Count
    """Members of a block."""
    spec: FlashSales


@dataclass(frozen=True)
class DayEnd:
    """What all blocks have in common when a day is over."""

    stock_left: I64
    sold_out_at: I64
    brand_views: F64
    bought: Bool
    """What came of each purchase that was tried, by block."""
    bought_ptr: I64
    """Attempts of block b are [bought_ptr[b], bought_ptr[b + 1])."""
    totals: np.ndarray
    """`Totals` as JSON, its unsubscribes left out: they are counted a day later."""
    unsubscribed: I64
    """Of the day before, I64[]."""
    events: I64
    """Events of each block on the day before."""
    learned: I64
    """Those of them that may be learned from."""


class Store:
    """The folder of a large world."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `create` made.

        Raises:
            MissingArtefactError: it is not there.
        """
        header = read_header(folder)
        if header is None:
            raise MissingArtefactError(f"{folder} holds no world", "make it: recsys.world.stream")
        self.folder, self.spec, self.block = folder, header.spec, header.block
        self.count = header.spec.num_members
        # every block asks for the same two
        self._ends: dict[int, DayEnd] = {}
        self._maps: dict[str, np.ndarray] = {}

    @property
    def blocks(self) -> int:
        """Count the blocks of members."""
        return -(-self.count // self.block)

    @property
    def days_over(self) -> int:
        """Count the days whose end is there; the last of them is finished with the next."""
        return sum(1 for _ in (self.folder / "days").glob("*.npz"))

    @cached_property
    def shop(self) -> World:
        """The world without its members."""
        return make_shop(self.spec)

    def rows(self, block: int) -> slice:
        """Return the rows of a block's members."""
        return slice(block * self.block, min((block + 1) * self.block, self.count))

    def members(self, rows: slice) -> Members:
        """Return some members, mapped."""
        return Members(**{
            field.name: self._mapped(f"members/{field.name}")[rows] for field in fields(Members)
        })

    def state(self, day: int, rows: slice) -> State:
        """Return the state of some members at the noon of a day, mapped.

        Nothing older than the last day that is over, and what members know only as it is now.
        """
        parts = {name: self._mapped(f"state/{name}")[rows] for name in KEPT}
        parts |= {name: self._mapped(f"state/{day % 2}/{name}")[rows] for name in MOVING}
        if day:
            end = self.day_end(day - 1)
            shared = {name: getattr(end, name) for name in SHARED}
        else:
            sales, brands = self.shop.sales, self.shop.brands
            never = np.full(len(sales), NEVER, dtype=np.int64)
            shared = dict(zip(SHARED, (sales.stock, never, np.zeros(len(brands))), strict=True))
        return State(day=day, **parts, **shared)

    def put_members(self, rows: slice, members: Members) -> None:
        """Write some members."""
        for field in fields(Members):
            self._mapped(f"members/{field.name}")[rows] = getattr(members, field.name)

    def put_state(self, rows: slice, state: State, *, kept: bool = False) -> None:
        """Write the state of some members at a noon; `kept`: with what they know."""
        for name in MOVING:
            self._mapped(f"state/{state.day % 2}/{name}")[rows] = getattr(state, name)
        for name in KEPT if kept else ():
            self._mapped(f"state/{name}")[rows] = getattr(state, name)

    def lived(self, day: int, block: int) -> Block:
        """Return what a block did on a day, members counted from the first of the block."""
        arrays = unpack(self._lived(day, block))
        pairs = Pairs(**{field.name: arrays.pop(f"pairs.{field.name}") for field in fields(Pairs)})
        return Block(mails=int(arrays.pop("mails")), pairs=pairs, **arrays)

    def put_lived(self, day: int, block: int, lived: Block) -> None:
        """Write what a block did on a day."""
        arrays = {
            field.name: np.asarray(getattr(lived, field.name))
            for field in fields(Block)
            if field.name != "pairs"
        }
        pairs = {f"pairs.{field.name}": getattr(lived.pairs, field.name) for field in fields(Pairs)}
        pack(self._lived(day, block), {**arrays, **pairs})

    def events(self, day: int, block: int, *names: str) -> dict[str, np.ndarray]:
        """Return columns of the events of a block on a day, in order of (member, at)."""
        with np.load(self._log(day, block), allow_pickle=False) as file:
            return {name: file[name] for name in names or EVENTS}

    def log(self, day: int, block: int) -> Log:
        """Return what happened to a block on a day."""
        with np.load(self._log(day, block), allow_pickle=False) as file:
            shown = Shown(**{field.name: file[f"shown.{field.name}"] for field in fields(Shown)})
            return Log(**{name: file[name] for name in EVENTS}, **places_shown(shown, day=day))

    def put_log(
        self, day: int, block: int, *, events: Mapping[str, np.ndarray], shown: Shown
    ) -> None:
        """Write what happened to a block on a day, members counted from the first of the block."""
        first = self.rows(block).start
        member = (events["member"] + first).astype(np.int32)
        parts = {
            "shown.member": (shown.member + first).astype(np.int32),
            "shown.sale": shown.sale.astype(np.int32),
            "shown.propensity": shown.propensity,
            "shown.mail_at": shown.mail_at,
            "shown.page_at": shown.page_at,
        }
        write(self._log(day, block), {**events, "member": member, **parts})

    def day_end(self, day: int) -> DayEnd:
        """Return what all blocks had in common when a day was over."""
        if day not in self._ends:
            with np.load(self.folder / "days" / f"{day:04d}.npz", allow_pickle=False) as file:
                end = DayEnd(**{field.name: file[field.name] for field in fields(DayEnd)})
            self._ends = {**dict(list(self._ends.items())[-1:]), day: end}
        return self._ends[day]

    def put_day_end(self, day: int, end: DayEnd) -> None:
        """Write what all blocks have in common; with that the day is over."""
        draft = self.folder / f"days.{day:04d}.draft"
        write(draft, {field.name: getattr(end, field.name) for field in fields(DayEnd)})
        draft.replace(self.folder / "days" / f"{day:04d}.npz")

    def _lived(self, day: int, block: int) -> Path:
        return self.folder / "lived" / str(day % 2) / f"{block:05d}"

    def _log(self, day: int, block: int) -> Path:
        return self.folder / "log" / f"{day:04d}" / f"{block:05d}.npz"

    def _mapped(self, name: str) -> np.ndarray:
        """Map a file; what is written to the array is in the file."""
        if name not in self._maps:
            self._maps[name] = np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r+"))
        return self._maps[name]


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one file."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy takes its flags by name too


def read_header(folder: Path) -> Header | None:
    """Return what a folder holds, or None where nothing was begun."""
    path = folder / "world.json"
    return Header.model_validate_json(path.read_bytes()) if path.exists() else None


def create(folder: Path, spec: FlashSales, *, block: int, example: tuple[Members, State]) -> None:
    """Make the files of a world, unless it was begun before; `example` has their types.

    Raises:
        SettingError: the folder holds another world.
    """
    header = read_header(folder)
    if header is not None:
        if header.spec != spec:
            raise SettingError(
                f"{folder} holds another world: {_differs(header.spec, spec)}",
                "name another folder, or remove this one",
            )
        return
    members, state = example
    arrays = {f"members/{field.name}": getattr(members, field.name) for field in fields(Members)}
    arrays |= {f"state/{name}": getattr(state, name) for name in KEPT}
    arrays |= {f"state/{odd}/{name}": getattr(state, name) for odd in (0, 1) for name in MOVING}
    for place in ("members", "state/0", "state/1", "lived/0", "lived/1", "days"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for day in range(spec.num_days):
        (folder / "log" / f"{day:04d}").mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        allocate(folder / f"{name}.npy", array, spec.num_members)
    draft = folder / "world.json.draft"
    draft.write_text(Header(block=block, spec=spec).model_dump_json(indent=1), encoding="utf-8")
    draft.replace(folder / "world.json")


def allocate(path: Path, like: np.ndarray, count: int) -> None:
    """Make a file that an array of `count` rows fits into; it takes no room until it is written."""
    shape = (count, *like.shape[1:])
    np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)


def opened(folder: str) -> Store:
    """Return the store of a folder, the same while the folder is the same."""
    seen = Path(folder, "world.json").stat()
    return _opened(folder, seen.st_ino, seen.st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(folder: str, _inode: int, _written: int) -> Store:
    return Store(Path(folder))


def _differs(one: FlashSales, other: FlashSales) -> str:
    """Name the settings that are not the same."""
    here, there = one.model_dump(), other.model_dump()
    return ", ".join(f"{name}={value}" for name, value in here.items() if value != there[name])
