"""Published results beside ours: one stored cell for each experiment and seed.

    python -m benchmarks.experiments run=NAME seed=N [root=PATH] [quick=true]
    python -m benchmarks.experiments render=true

`run` trains and judges configs/experiment/NAME.yaml and stores docs/cells/NAME-N.json; `root` is
the folder of the set's files. `quick` (or --quick) makes one epoch, judges little, prints what came
out and stores nothing. `render` writes docs/benchmarks.md and README.md's table from the cells.
Without either, the cells are listed.
"""

from __future__ import annotations

import sys

from benchmarks.cells import Cell, names, store, stored
from benchmarks.page import PAGE, README, boards, filled, page, summary
from recsys.domain.errors import SettingError
from recsys.runs.environment import before_imports
from recsys.runs.guard import guarded

WORDS = {"run", "seed", "root", "quick", "render"}


def settings(words: list[str]) -> dict[str, str]:
    """Return the words as settings.

    Raises:
        SettingError: one is not known.
    """
    pairs = [("quick=true" if word == "--quick" else word).partition("=") for word in words]
    unknown = [key for key, _, _ in pairs if key not in WORDS]
    if unknown:
        raise SettingError(f"not known: {', '.join(unknown)}", f"known: {', '.join(sorted(WORDS))}")
    return {key: value for key, _, value in pairs}


def truth(given: str) -> bool:
    """Return what `true` or `false` says.

    Raises:
        SettingError: it is neither.
    """
    if given not in {"true", "false"}:
        raise SettingError(f"{given!r} is neither true nor false")
    return given == "true"


def seed_of(given: str) -> int:
    """Return a seed.

    Raises:
        SettingError: it is not a whole number.
    """
    if not given.isdecimal():
        raise SettingError(f"seed={given!r} is not a whole number from 0 on")
    return int(given)


def run(name: str, seed: int, *, root: str | None, quick: bool) -> None:
    """Fill one cell; print it, and store it unless it was quick.

    Raises:
        SettingError: no experiment of that name, data that are not there, or another test file
            than the one that the published figures are about.
    """
    if name not in names():
        raise SettingError(f"run={name} is not there", f"it can be: {', '.join(names())}")
    before_imports()
    from benchmarks.trial import cell, digest_of, spec_of

    board, spec = boards()[name], spec_of(name, seed, root=root, quick=quick)
    digest = digest_of(spec, board.file)
    if digest != board.md5:
        raise SettingError(
            f"{board.file} has md5 {digest}, the published figures are about {board.md5}",
            "another split under the same name: its figures do not stand beside these",
        )
    made = cell(name, spec, board=board, digest=digest)
    told(made, list(board.shown))
    if quick:
        print("quick: nothing stored")
    else:
        print(f"stored {store(made).name}")


def told(made: Cell, shown: list[str]) -> None:
    """Print the figures of a cell that its table shows."""
    print(f"{made.name}   training {made.training.seconds} s, judging {made.judging.seconds} s")
    for scorer, found in made.figures.items():
        cells = [f"{found[name].value:.4f}" if name in found else "-" for name in shown]
        print(f"  {scorer:18}" + "".join(f"{cell:>10}" for cell in cells))


def listed() -> None:
    """Print which cells there are."""
    cells = stored()
    for name in names():
        seeds = [str(cell.seed) for cell in cells if cell.experiment == name]
        print(f"  {name:20}{'seeds ' + ', '.join(seeds) if seeds else 'no cell'}")


def act(words: list[str]) -> None:
    """Do what the words ask for.

    Raises:
        SettingError: they cannot be read.
    """
    given = settings(words)
    if "run" in given:
        seed, quick = seed_of(given.get("seed", "1")), truth(given.get("quick", "false"))
        run(given["run"], seed, root=given.get("root"), quick=quick)
    elif truth(given.get("render", "false")):
        sets, cells = boards(), stored()
        PAGE.write_text(page(sets, cells), encoding="utf-8")
        readme = filled(README.read_text(encoding="utf-8"), summary(sets, cells))
        README.write_text(readme, encoding="utf-8")
        print(f"wrote {PAGE.name} and the table of {README.name}")
    else:
        listed()


if __name__ == "__main__":
    sys.exit(guarded(lambda: act(sys.argv[1:])))
