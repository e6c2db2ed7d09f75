"""Ways in which a folder is damaged, one at a time, and its repair."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass(frozen=True)
class Damage:
    """What was done to a folder."""

    how: str
    files: tuple[str, ...]
    """One of these must be named by whoever finds it."""


Change = Callable[[bytes, random.Random], bytes]
"""What becomes of the bytes of a file, at least one of them."""


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def grown(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randint(1, 512))


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """Lose one block of 512 bytes, of those that are not zeros anyway."""
    starts = [start for start in range(0, len(data), 512) if any(data[start : start + 512])]
    start = rng.choice(starts)
    lost = data[start : start + 512]
    return data[:start] + bytes(len(lost)) + data[start + len(lost) :]


CHANGES: tuple[Change, ...] = (flipped, cut, grown, zeroed)
OTHERS = ("missing", "surplus", "linked", "swapped", "of another version")


@contextmanager
def damaged(folder: Path, other: Path, rng: random.Random) -> Generator[Damage]:
    """Damage a folder inside the block; `other` is another version of it, with other bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    how = rng.choice([*(change.__name__ for change in CHANGES), *OTHERS])
    path = rng.choice([file for file in files if file.stat().st_size])
    undo = list[Callable[[], object]]()
    try:
        if how == "surplus":
            path = path.with_name(f"surplus{path.suffix}")
            path.write_bytes(b"{}")
            undo.append(path.unlink)
            yield Damage(how, (path.name,))
        elif how == "swapped":
            data = path.read_bytes()
            second = rng.choice([f for f in files if f != path and f.read_bytes() != data])
            _swap(path, second)
            undo.append(partial(_swap, path, second))
            yield Damage(how, (path.name, second.name))
        else:
            aside = path.rename(folder.with_name(f".aside-{folder.name}"))
            undo += [partial(path.unlink, missing_ok=True), partial(aside.rename, path)]
            named = _put_in_place(how, path, aside, there=other / path.relative_to(folder), rng=rng)
            yield Damage(how, tuple(f.name for f in files) if named is None else (named,))
    finally:
        for step in undo:
            step()


def _swap(one: Path, other: Path) -> None:
    aside = one.rename(one.with_name(f".{one.name}"))
    other.rename(one)
    aside.rename(other)


def _put_in_place(
    how: str, path: Path, aside: Path, *, there: Path, rng: random.Random
) -> str | None:
    """Put something else where a file was; return what must be named, None = any of the files."""
    data = aside.read_bytes()
    match how:
        case "missing":
            return path.name
        case "linked":
            path.symlink_to(aside)
            return path.name
        case "of another version":
            if there.exists() and there.read_bytes() != data:
                shutil.copy(there, path)
                # a list of other files is whole, and all files are then wrong
                return None if path.name == "manifest.json" else path.name
            how = "cut"
    change = next(change for change in CHANGES if change.__name__ == how)
    path.write_bytes(change(data, rng))
    return path.name
