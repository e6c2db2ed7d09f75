from __future__ import annotations

import re

from recsys.serve.metrics import Metrics

FIGURE = re.compile(r"^recsys_\w+(?:\{(?P<labels>.*)\})? \S+$")


def figures(metrics: Metrics) -> list[str]:
    """Labels of each figure."""
    lines = metrics.text().decode().splitlines()
    found = [FIGURE.match(line) for line in lines if not line.startswith("#")]
    return [match["labels"] or "" for match in found if match]


def filled(worker: int | None) -> Metrics:
    metrics = Metrics(worker)
    metrics.watch_queue(lambda: 7)
    metrics.answered("/v1/recommend", 200, 0.002)
    metrics.answered("/v1/recommend", 200, 0.003)
    metrics.answered("/v1/recommend", 503, 0.001)
    metrics.rejected.labels("overloaded").inc()
    return metrics


def test_answers_are_counted_by_route_and_status_and_timed_by_route() -> None:
    text = filled(None).text().decode()
    assert 'recsys_requests_total{code="200",route="/v1/recommend"} 2.0' in text
    assert 'recsys_requests_total{code="503",route="/v1/recommend"} 1.0' in text
    assert 'recsys_request_seconds_count{route="/v1/recommend"} 3.0' in text
    assert "recsys_queue_depth 7.0" in text
    assert 'recsys_rejected_total{reason="overloaded"} 1.0' in text


def test_one_process_has_no_number_and_of_several_each_figure_has_one() -> None:
    alone = figures(filled(None))
    assert alone
    assert not any("worker" in labels for labels in alone)
    third = figures(filled(3))
    assert len(third) == len(alone)
    assert all('worker="3"' in labels for labels in third)


def test_telling_whose_figures_they_are_changes_none_of_them() -> None:
    metrics = filled(2)
    first, second = metrics.text(), metrics.text()
    assert first == second
