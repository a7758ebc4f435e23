"""What a report shows of a finished run. `reading` makes these from the run's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


class ReportError(ValueError):
    """A run's folder that cannot be reported on; the message names the file, what is wrong and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One task's scores in its own metric. `normalised` is (agent - random) / (expert - random)."""

    task: str
    episodes: int
    metric: str
    agent: float
    random: float | None = None
    constant: float | None = None
    expert: float | None = None
    normalised: float | None = None
    agent_ci: tuple[float, float] | None = None
    return_mean: float | None = None
    success_rate: float | None = None

    def normalise(self, score: float | None) -> float | None:
        """`score` on the scale where random is 0 and the expert 1; None where that scale does not exist."""
        if score is None or self.random is None or self.expert is None or self.expert == self.random:
            return None
        return (score - self.random) / (self.expert - self.random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A measure on data kept from training. Lower is better."""

    name: str
    metric: str
    value: float
    baseline: float | None = None
    exact_match: float | None = None
    episodes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Making:
    """How the run was made; what an evaluation alone does not know stays None."""

    parameters: int | None = None
    steps: int | None = None
    tokens: int | None = None
    seed: int | None = None
    machine: str | None = None
    command: str | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """results.json: what `gato evaluate --json` writes, and what the quickstart adds to it."""

    tasks: tuple[TaskScore, ...]
    aggregate: Mapping[str, float]
    held_out: tuple[HeldOut, ...] = ()
    making: Making = Making()
    minutes: float | None = None
    peak_memory_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """One recorded episode of the agent: frames (T or T+1, H, W, 3), actions (T, A), rewards (T,).

    Floating-point actions have one name a column. Integer actions with one column have one name a value.
    """

    task: str
    frames: np.ndarray
    actions: np.ndarray
    action_names: tuple[str, ...]
    rewards: np.ndarray
    seed: int
    score: float

    def __post_init__(self):
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ReportError(f"frames are {self.frames.dtype} {self.frames.shape}, need uint8 (T, H, W, 3)")
        if not 0 < len(self.rewards) == len(self.actions) <= len(self.frames) <= len(self.rewards) + 1:
            lengths = f"{len(self.frames)} frames, {len(self.actions)} actions, {len(self.rewards)} rewards"
            raise ReportError(f"{lengths}: one action and one reward a frame are needed")

    @property
    def discrete(self) -> bool:
        return np.issubdtype(self.actions.dtype, np.integer) and self.actions.shape[1] == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caption:
    """An image (a data URI), the caption it has, and captions that the agent drew for it."""

    image: str
    truth: str
    samples: tuple[str, ...]

    def __post_init__(self):
        if not self.image.startswith("data:image/"):
            raise ReportError("an image is no data URI; the report carries its images inside itself")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialogue:
    """What was said, what the corpus answers, and what the agent answered."""

    prompt: str
    truth: str
    sample: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """What the agent was trained on: one dataset, its share of the mixture, and where it came from."""

    dataset: str
    episodes: int
    steps: int
    source: str
    licence: str
    kind: str
    agent: str = ""
    weight: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Everything the report shows. `metrics` holds, for each logged quantity, its steps and its values."""

    results: Results
    metrics: Mapping[str, tuple[np.ndarray, np.ndarray]]
    data: tuple[Dataset, ...]
    rollouts: tuple[Rollout, ...]
    captions: tuple[Caption, ...]
    dialogue: tuple[Dialogue, ...]
