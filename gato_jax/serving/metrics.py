"""Metrics of the server in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

import prometheus_client

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts and times of one server, in a registry of its own."""

    def __init__(self):
        self._registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.connections = prometheus_client.Gauge("gato_connections", "Number of open connections.", registry=registry)
        self.sessions = prometheus_client.Gauge("gato_sessions", "Number of robots that are served.", registry=registry)
        self._answers = prometheus_client.Counter(
            "gato_answers", "Number of answered messages.", ["task", "outcome"], registry=registry
        )
        self._refusals = prometheus_client.Counter(
            "gato_refusals", "Number of refused connections and messages.", ["reason"], registry=registry
        )
        self._batches = prometheus_client.Histogram(
            "gato_batch_size", "Number of requests in a batch.", buckets=_SIZES, registry=registry
        )
        self._acting = prometheus_client.Histogram(
            "gato_act_seconds", "Seconds that the policy takes for a batch.", buckets=_SECONDS, registry=registry
        )
        self._waiting = prometheus_client.Histogram(
            "gato_wait_seconds", "Seconds that a request waits for its batch.", buckets=_SECONDS, registry=registry
        )

    def count_answer(self, task: str, outcome: str):
        """Count an answer to a message; the outcome is `action`, `refused` or `failed`."""
        self._answers.labels(task, outcome).inc()

    def count_refusal(self, reason: str):
        """Count a refused connection or message, with its reason in one or two words."""
        self._refusals.labels(reason).inc()

    def count_batch(self, size: int, acted_s: float, waited_s: Sequence[float]):
        """Count a batch and its times."""
        self._batches.observe(size)
        self._acting.observe(acted_s)
        for seconds in waited_s:
            self._waiting.observe(seconds)

    def render(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        return prometheus_client.generate_latest(self._registry).decode()
