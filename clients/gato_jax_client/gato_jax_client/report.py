"""Counts and times of a control loop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_EDGES_MS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclasses.dataclass
class LoopReport:
    """Counts and times of one run of a control loop.

    Attributes:
      rate_hz: number of ticks a second that was asked for.
      ticks: number of ticks in which an action was executed.
      missed: number of ticks that had no new action at their deadline.
      skipped: number of ticks that were left out, because the one before took longer than a period.
      safe: number of ticks that executed the safe action, or approached it.
      stale: number of actions that came too late to be executed.
      failed: number of requests without an action.
      restarts: number of episodes that began because the connection was lost.
      lateness_s: seconds by which each tick began later than planned.
      latency_s: seconds that each request took.
      largest_step: {key: largest change of a number from one executed action to the next}.
    """

    rate_hz: float
    ticks: int = 0
    missed: int = 0
    skipped: int = 0
    safe: int = 0
    stale: int = 0
    failed: int = 0
    restarts: int = 0
    lateness_s: list[float] = dataclasses.field(default_factory=list)
    latency_s: list[float] = dataclasses.field(default_factory=list)
    largest_step: dict[str, float] = dataclasses.field(default_factory=dict)

    def histogram(self) -> dict[str, int]:
        """Return {range of lateness in milliseconds: number of ticks}."""
        edges = [0.0, *_EDGES_MS, np.inf]
        counts, _ = np.histogram(np.array(self.lateness_s) * 1000, edges)
        names = [f"{low:g} to {high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
        return {name.replace("to inf", "and more"): int(count) for name, count in zip(names, counts, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Return the counts, the histogram, and percentiles in milliseconds, of JSON types."""
        names = ("rate_hz", "ticks", "missed", "skipped", "safe", "stale", "failed", "restarts", "largest_step")
        percentiles = {
            name: {f"p{q}": round(float(np.percentile(values, q)) * 1000, 3) for q in (50, 99, 100)} if values else {}
            for name, values in (("lateness_ms", self.lateness_s), ("latency_ms", self.latency_s))
        }
        return {**{name: getattr(self, name) for name in names}, **percentiles, "histogram_ms": self.histogram()}

    def __str__(self) -> str:
        late = self.to_json()["lateness_ms"].get("p99", 0.0)
        return (
            f"{self.ticks} ticks at {self.rate_hz:g} Hz: {self.missed} without a new action, {self.skipped} left out, "
            f"{self.safe} safe; 99% began within {late:g} ms"
        )
