"""What the service counts. Labels are routes, codes, rungs and reasons: never a member or sale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds."""


class Metrics:
    """The counters of one app, in a registry of its own."""

    def __init__(self, worker: int | None = None) -> None:
        """Start at zero; `worker` is the number of this process where there are several."""
        self._worker = worker
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recsys_requests_total", "Answers.", ("route", "code"), registry=self.registry
        )
        self.seconds = Histogram(
            "recsys_request_seconds",
            "Time from the last byte in to the first byte out.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.inflight = 0
        """Requests being answered."""
        inflight = Gauge("recsys_inflight", "Requests being answered.", registry=self.registry)
        inflight.set_function(lambda: self.inflight)
        self.rejected = Counter(
            "recsys_rejected_total", "Requests refused.", ("reason",), registry=self.registry
        )
        self.short = Counter(
            "recsys_results_short_total", "Slates with fewer sales.", registry=self.registry
        )
        self.fallback = Counter(
            "recsys_fallback_total", "Slates by rung.", ("rung",), registry=self.registry
        )
        self.told = Counter(
            "recsys_feedback_rows_total", "Rows stored.", ("what",), registry=self.registry
        )
        self.unknown = Counter(
            "recsys_unknown_member_total", "Members not in the bundle.", registry=self.registry
        )

        self._kept: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; the counters of a route and a status are looked up once."""
        kept = self._kept.get((route, status))
        if kept is None:
            kept = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._kept[route, status] = kept
        kept[0].inc()
        kept[1].observe(seconds)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Ask how many requests wait for their turn whenever the metrics are read."""
        gauge = Gauge("recsys_queue_depth", "Requests not yet begun.", registry=self.registry)
        gauge.set_function(depth)

    def watch(self, facts: Callable[[], Facts]) -> None:
        """Ask for the facts of the living generation whenever the metrics are read."""
        self.registry.register(_Generation(facts))

    def text(self) -> bytes:
        """Write everything in Prometheus's text form."""
        return generate_latest(self.registry if self._worker is None else _Labelled(self))

    @property
    def worker(self) -> int | None:
        """Number of the process among several, which then stands at every figure."""
        return self._worker


class _Labelled(CollectorRegistry):
    """The figures of one of several processes: whoever reads them sees whose they are."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Yield each figure with the number of its process."""
        mine = {"worker": str(self._metrics.worker)}
        for metric in self._metrics.registry.collect():
            metric.samples = [
                sample._replace(labels=sample.labels | mine) for sample in metric.samples
            ]
            yield metric


@dataclass(frozen=True)
class Facts:
    """What is known of the living generation at one moment."""

    generation: str
    model: str
    """Fingerprint of the checkpoint its vectors came from."""
    age_seconds: float
    reload_seconds: float
    failures: Mapping[str, int]
    """Reason -> reloads that failed."""


class _Generation(Collector):
    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """Yield what is true of the bundle that answers at this moment."""
        facts = self._facts()
        info = GaugeMetricFamily(
            "recsys_bundle_info", "The bundle that answers.", labels=("generation", "model")
        )
        info.add_metric((facts.generation, facts.model), 1)
        yield info
        age = "Seconds since the bundle was made."
        yield GaugeMetricFamily("recsys_bundle_age_seconds", age, value=facts.age_seconds)
        took = "What the last opening took."
        yield GaugeMetricFamily("recsys_reload_seconds", took, value=facts.reload_seconds)
        failed = CounterMetricFamily(
            "recsys_reload_failures_total", "Bundles that could not be opened.", labels=("reason",)
        )
        for reason, count in facts.failures.items():
            failed.add_metric((reason,), count)
        yield failed
