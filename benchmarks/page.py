"""Cells in, docs/benchmarks.md out, and a line a set for README.md: ours beside all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Self

import yaml
from pydantic import Field, model_validator

from benchmarks.cells import Cell, Cost, together, written
from recsys.domain.report import Estimate
from recsys.domain.spec import Spec
from recsys.evaluate.scorer import OURS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
PUBLISHED = DOCS / "published.yaml"
README = DOCS.parent / "README.md"
START, END = "<!-- experiments:start -->", "<!-- experiments:end -->"
"""What stands between them in README.md is the summary."""
HEAD = """# Benchmarks

Made by `python -m benchmarks.experiments render=true` from the cells in docs/cells; nothing here is
typed by hand but the figures of others, in docs/published.yaml. A cell is one run of
configs/experiment/NAME.yaml with one seed: `python -m benchmarks.experiments run=NAME seed=N
root=FOLDER`.

How to read it: **ours** is the mean over the seeds there are, ± half of the 95 % interval by member
(mean of the seeds' intervals), then the least and the most of the seeds; taste = the towers,
taste alone = the same without the spectral coordinates beside them, slates = lists by the value
model. Baselines are fitted and judged in the same run as ours, on the same requests. Figures of
others stand as their source gives them, never from our runs. What a setting or an epoch was chosen
by is validation cut from training. Seconds are by the clock on a machine that had other work (its
load is said), processor seconds those of all threads. Threads are those asked for; since 2026-11-28
one more makes the batches of a training. Memory is the most anonymous memory of the process at one
time.
"""
Name = Annotated[str, Field(min_length=1, pattern=r"\S")]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Board(Spec):
    """One set: its protocol, and the figures of others about the same test file."""

    title: Name
    protocol: Name
    file: Name
    """The file that holds the test."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    ours: tuple[Name, ...]
    """Scorers of ours that are shown: taste = the towers, taste_alone = without their spectral
    coordinates, slates = with the value model."""
    shown: dict[str, Name]
    """slice/metric -> head of its column."""
    source: Name
    """Where the figures stand."""
    note: str
    figures: dict[Name, tuple[Share | None, ...]]
    """System -> its figures, in the order of `shown`."""

    @model_validator(mode="after")
    def _a_figure_a_column(self) -> Self:
        for system, row in self.figures.items():
            if len(row) != len(self.shown) or not any(row):
                raise ValueError(f"{system}: {len(row)} figures for {len(self.shown)} columns")
        return self


def boards(path: Path = PUBLISHED) -> dict[str, Board]:
    """Read the sets and the figures of others, in the order of the page."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: Board.model_validate(board) for name, board in plain.items()}


def page(sets: Mapping[str, Board], cells: Sequence[Cell]) -> str:
    """Write the page."""
    of = {name: [cell for cell in cells if cell.experiment == name] for name in sets}
    index = [f"| {board.title} | {seeds(of[name])} |" for name, board in sets.items()]
    parts = [section(name, board, of[name]) for name, board in sets.items()]
    return "\n".join([HEAD, "| set | cells |", "|---|---|", *index, "", *parts]).rstrip() + "\n"


def summary(sets: Mapping[str, Board], cells: Sequence[Cell]) -> str:
    """Write a line a set: ours, the best baseline of the same run, the best of others."""
    lines = [
        "| set | measure | ours | best baseline, same run | best of others |",
        "|---|---|---|---|---|",
    ]
    for name, board in sets.items():
        counted = together([cell for cell in cells if cell.experiment == name])
        if not counted:
            continue
        metric = next(iter(board.shown))
        found = {
            scorer: [cell.figures[scorer][metric] for cell in counted]
            for scorer, figures in counted[0].figures.items()
            if metric in figures
        }
        order = sorted(found, key=lambda scorer: -mean(one.value for one in found[scorer]))
        ours = "; ".join(
            f"{text(found[one], spread=True)} {spoken(one)}" for one in board.ours if one in found
        )
        aged = " (older settings)" if any(c.written != written(name) for c in counted) else ""
        rival = next(scorer for scorer in order if scorer not in OURS)
        known = {system: row[0] for system, row in board.figures.items() if row[0]}
        best = max(known, key=lambda system: known[system] or 0.0, default="")
        lines.append(
            f"| {board.title}{aged} | {board.shown[metric]} | {ours}, {number(len(counted))} "
            f"| {text(found[rival], spread=False)}, {spoken(rival)} "
            f"| {f'{known[best]:.4f}, {best}' if best else '-'} |"
        )
    return "\n".join(lines)


def filled(readme: str, lines: str) -> str:
    """Put the summary into the README."""
    before, rest = readme.split(START)
    return f"{before}{START}\n{lines}\n{END}{rest.split(END)[1]}"


def seeds(cells: Sequence[Cell]) -> str:
    """Say which seeds there are."""
    counted = together(cells)
    if not counted:
        return "**missing**: not run"
    return "seed " + ", ".join(str(seed) for seed in sorted(cell.seed for cell in counted))


def section(name: str, board: Board, cells: Sequence[Cell]) -> str:
    """Write one set: protocol, table, what it took."""
    counted = together(cells)
    lines = [f"## {board.title}", "", f"`run={name}`. Protocol: {board.protocol}"]
    if board.note:
        lines.append(board.note)
    lines += [f"Test file `{board.file}`, md5 {board.md5}.", ""]
    if counted:
        lines += [*costs(counted), *stale(name, cells, counted), ""]
    else:
        lines += ["No cell yet: ours and the baselines are **missing**.", ""]
    rows = [*own(board, counted), *theirs(board)]
    if rows:
        heads = " | ".join(board.shown.values())
        lines += [f"| system | {heads} | from |", "|---|" + "---|" * (len(board.shown) + 1), *rows]
    lines += ["", f"Figures of others: {board.source}."]
    return "\n".join([*lines, ""])


def own(board: Board, cells: Sequence[Cell]) -> list[str]:
    """Write the rows of our scorers and of the baselines beside them, best first column first."""
    first = next(iter(board.shown))
    rows: list[tuple[float, str]] = []
    known = cells[0].figures if cells else {}
    for scorer in known:
        if scorer not in board.ours and scorer in OURS:
            continue
        found = [[c.figures[scorer].get(metric) for c in cells] for metric in board.shown]
        texts = [text([f for f in column if f], spread=scorer in board.ours) for column in found]
        if all(one == "-" for one in texts):
            continue
        label = f"**{spoken(scorer)}**" if scorer in board.ours else spoken(scorer)
        source = f"ours, {number(len(cells))}" if scorer in board.ours else "baseline, same run"
        known_first = [f.value for f in found[0] if f] if first in board.shown else []
        row = f"| {label} | {' | '.join(texts)} | {source} |"
        rows.append((mean(known_first) if known_first else 0.0, row))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def spoken(scorer: str) -> str:
    """Write a scorer's name as a person reads it."""
    return scorer.replace("_", " ")


def theirs(board: Board) -> list[str]:
    """Write the rows of others, each with its system's name."""
    origin = "measured for this project" if "measured" in board.source else "published"
    return [
        f"| {system} | {' | '.join('-' if f is None else f'{f:.4f}' for f in row)} | {origin} |"
        for system, row in board.figures.items()
    ]


def text(found: Sequence[Estimate], *, spread: bool) -> str:
    """Write the mean of the seeds, half of the interval and, where it is ours, the spread."""
    if not found:
        return "-"
    values = [one.value for one in found]
    half = mean((one.high - one.low) / 2 for one in found)
    said = f"{mean(values):.4f} ± {half:.4f}"
    if spread and len(values) > 1:
        said += f" ({min(values):.4f} to {max(values):.4f})"
    return f"**{said}**" if spread else said


def number(seeds: int) -> str:
    """Say how many seeds."""
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def costs(cells: Sequence[Cell]) -> list[str]:
    """Write what the cells took, one line each."""
    head = ["| seed | training | judging, baselines' fits included | epochs (best) | made |"]
    rows = [
        f"| {c.seed} | {cost(c.training)} | {cost(c.judging)} | {c.epochs} ({c.best_epoch}) | "
        f"{c.made_at[:10]}, {c.machine}, load {'-' if c.load is None else f'{c.load:.1f}'}, "
        f"commit {c.commit}, settings {c.settings} |"
        for c in sorted(cells, key=lambda cell: cell.seed)
    ]
    return [*head, "|---|---|---|---|---|", *rows]


def cost(took: Cost) -> str:
    """Write seconds and memory."""
    memory = "not told" if took.peak_mb is None else f"{took.peak_mb:,.0f} MB"
    return f"{took.seconds:,.0f} s ({took.processor_seconds:,.0f} processor s), {memory}"


def stale(name: str, cells: Sequence[Cell], counted: Sequence[Cell]) -> list[str]:
    """Say which cells are left out, and whether the experiment's config has changed since."""
    said = []
    left = sorted({cell.seed for cell in cells} - {cell.seed for cell in counted})
    if left:
        said.append(f"Not counted, other settings or data: seed {', '.join(map(str, left))}.")
    if any(cell.written != written(name) for cell in counted):
        said.append("**The experiment's config has changed since: run it again.**")
    return ["", *said] if said else []
