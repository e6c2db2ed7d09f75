"""docs/benchmarks.md is what the cells say, and says whose figure each is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmarks.cells import (
    names,
    stored,
    together,
)
from benchmarks.page import PAGE, PUBLISHED, README, Board, boards, filled, page, summary
from recsys.runs.load import compose
from recsys.runs.spec import Train
from tests.benchmarks.hand import NEEDED, made


def rows(text: str, title: str) -> list[list[str]]:
    """Cells of the lines of one section's tables."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_is_what_the_cells_render_to() -> None:
    assert PAGE.read_text() == page(boards(), stored())
    readme = README.read_text()
    assert readme == filled(readme, summary(boards(), stored()))


def test_each_experiment_has_a_board_and_a_config() -> None:
    assert set(names()) == set(boards()) == NEEDED


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_a_board_shows_is_judged(name: str) -> None:
    spec, board = compose("train", Train, [f"experiment={name}"]), boards()[name]
    assert name.startswith(spec.data.kind)
    depths = {int(k) for shown in board.shown for _, at, k in [shown.rpartition("_at_")] if at}
    assert depths <= set(spec.evaluate.ks)
    by_sale = {shown.partition("/")[0] for shown in board.shown} - {"all"}
    assert not by_sale or "sale" in spec.evaluate.slices
    assert spec.rerank.slots in spec.evaluate.ks or "slates" not in board.ours
    assert spec.evaluate.headline in board.shown


def test_a_cell_is_about_the_bytes_that_the_published_figures_are_about() -> None:
    assert [c.name for c in stored() if c.md5 != boards()[c.experiment].md5] == []


@pytest.mark.parametrize("name", ["", " "])
def test_a_published_figure_without_its_system_is_refused(name: str) -> None:
    plain = boards()["beauty"].model_dump()
    with pytest.raises(ValidationError):
        Board.model_validate(plain | {"figures": {name: (0.1, 0.2)}})


def test_a_published_figure_for_a_column_that_is_not_there_is_refused() -> None:
    plain = boards()["beauty"].model_dump()
    with pytest.raises(ValidationError, match="1 figures for 2 columns"):
        Board.model_validate(plain | {"figures": {"SASRec": (0.1,)}})


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_row_of_others_names_its_system_and_its_source(name: str) -> None:
    board = boards()[name]
    text = page(boards(), [])
    found = [
        row
        for row in rows(text, board.title)
        if row[-1] in {"published", "measured for this project"}
    ]
    assert [row[0] for row in found] == list(board.figures)
    shown = [[None if c == "-" else float(c) for c in row[1:-1]] for row in found]
    assert shown == [list(row) for row in board.figures.values()]
    assert board.source in text


def test_what_was_not_run_is_said_to_be_missing() -> None:
    text = page(boards(), [])
    assert text.count("**missing**: not run") == len(NEEDED)
    assert text.count("ours and the baselines are **missing**") == len(NEEDED)
    assert page(boards(), [made()]).count("**missing**: not run") == len(NEEDED) - 1


def test_the_readme_names_who_wins_a_set_also_where_it_is_not_us() -> None:
    _, _, row = summary(boards(), [made(1, 0.5), made(2, 0.6)]).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == boards()["beauty"].title
    assert cells[2] == "**0.5500 ± 0.0100 (0.5000 to 0.6000)** taste, 2 seeds"
    assert cells[3] == "0.2500 ± 0.0100, item knn"
    assert cells[4] == "0.0928, eSASRec"
    aged = summary(boards(), [made(written="other")]).splitlines()[2]
    assert aged.startswith(f"| {boards()['beauty'].title} (older settings) |")


def test_ours_is_the_mean_of_the_seeds_with_their_spread_and_number() -> None:
    text = page(boards(), [made(1, 0.5), made(2, 0.6), made(3, 0.7)])
    table = {row[0]: row[1:] for row in rows(text, boards()["beauty"].title)}
    first = "**0.6000 ± 0.0100 (0.5000 to 0.7000)**"
    second = "**0.3000 ± 0.0100 (0.2500 to 0.3500)**"
    assert table["**taste**"] == [first, second, "ours, 3 seeds"]
    assert table["item knn"] == ["0.2500 ± 0.0100", "0.1250 ± 0.0100", "baseline, same run"]
    # this set judges rankings alone: its slates know nothing of films that were seen
    assert not any("slates" in system for system in table)


def test_seeds_of_other_settings_or_data_are_not_averaged() -> None:
    old, new = made(1, settings="0"), [made(2, 0.4), made(3, 0.6)]
    assert together([old, *new]) == new
    assert together([made(1, md5="0" * 32), *new]) == new
    text = page(boards(), [old, *new])
    assert "Not counted, other settings or data: seed 1." in text
    assert "**0.5000 ± 0.0100 (0.4000 to 0.6000)**" in text


def test_a_config_that_changed_since_is_said() -> None:
    assert "has changed since" not in page(boards(), [made()])
    assert "has changed since" in page(boards(), [made(written="0")])


def test_the_figures_of_others_lie_beside_the_page() -> None:
    assert PUBLISHED.parent == PAGE.parent
