from __future__ import annotations

from dataclasses import replace

import pytest

from recsys.domain.report import Report
from recsys.evaluate import comparisons, wording
from recsys.evaluate.standings import best_baseline, role, standings, verdict
from tests.evaluate.materials import estimate, report


def test_every_baseline_above_taste_is_named() -> None:
    sentences = verdict(report(0.17)).sentences
    assert sentences[-1] == "Above taste in this table: brand affinity 0.350, popular so far 0.200."


def test_an_oracle_is_a_ceiling_and_never_the_best_baseline() -> None:
    rows = standings(report(), "day0/ndcg_at_10")
    best = best_baseline(rows)
    assert best is not None
    assert best.name == "brand_affinity"
    assert [row.name for row in rows if row.role == "ceiling"] == ["oracle", "visible_oracle"]
    assert role("slates") == "ours"
    titles = [title for title, _ in comparisons.headline(report()).groups]
    assert titles == ["Ceilings: what a known world would allow", "Ours and the baselines"]


def test_slices_mark_where_a_baseline_wins() -> None:
    table = comparisons.slices(report(0.30))
    assert table is not None
    rows = [row for _, group in table.groups for row in group]
    assert {row.css for row in rows} == {"behind"}
    assert all("behind brand affinity" in row.note for row in rows)
    assert [row.label for row in rows] == ["day 0", "older", "new brand", "0", "20 or more", "app"]
    assert comparisons.second_metric(report()) == "recall_at_10"
    assert {row.second for row in rows} == {"0.300 | 0.350"}


def test_baselines_that_know_nothing_of_a_sale_without_a_past_are_named_with_the_reason() -> None:
    judged = report()
    blind = dict.fromkeys(("popular", "ease", "category_popular"), judged.scorers["random"])
    mixed = Report(scorers={**judged.scorers, **blind}, headline=judged.headline)
    words = comparisons.without_past(mixed)
    assert words.startswith("No better than random here: popular so far, EASE. ")
    assert "no past yet" in words
    assert not comparisons.without_past(replace(mixed, headline="all/ndcg_at_10"))
    # popular stands clear of random
    assert "popular" not in comparisons.without_past(judged)


def test_the_slates_are_set_beside_lists_of_their_own_length() -> None:
    assert comparisons.slate_depth(report()) == "6"
    table = comparisons.metrics(report(), "all", "6", only=("random",))
    assert table is not None
    assert table.heads == ("recall@6", "discovery rate@6")
    labels = [label for label, _, _ in table.rows]
    assert "slates (what members get)" in labels
    assert "random" in labels
    assert "EASE" not in labels


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ndcg_at_10", "nDCG@10"),
        ("day0", "day 0"),
        ("discovery_rate_at_6", "discovery rate@6"),
        ("brand_affinity", "brand affinity"),
    ],
)
def test_names_become_words(name: str, words: str) -> None:
    assert wording.label(name) == words


def test_numbers_are_written_one_way() -> None:
    assert wording.plain(-0.5) == "\N{MINUS SIGN}0.500"
    assert wording.plain(1234.5) == "1,234"
    assert wording.plain(float("nan")) == wording.NOT_KNOWN
    assert wording.percent(0.1234) == "12.3\N{NARROW NO-BREAK SPACE}%"
    assert wording.interval(estimate(0.4)) == "0.400 (0.390 to 0.410)"


def test_slices_stand_in_their_own_order_whatever_the_reports() -> None:
    judged = report()
    names = ("history_20_up", "older", "history_5_19", "day0", "history_0", "all")
    mixed = {
        scorer: dict.fromkeys(names, slices["all"]) for scorer, slices in judged.scorers.items()
    }
    table = comparisons.slices(Report(scorers=mixed, headline=judged.headline))
    assert table is not None
    labels = [row.label for _, group in table.groups for row in group]
    assert labels == ["day 0", "older", "0", "5 to 19", "20 or more"]
