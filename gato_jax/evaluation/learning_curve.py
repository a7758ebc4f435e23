"""The learning curve of fine-tuning: rollouts every so many steps, smoothed, and its maximum (paper, appendix E)."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gato_jax.environments import EVALUATION_SEEDS
from gato_jax.episodes.atomic_writes import atomic_file
from gato_jax.policy import Agent, AgentActor
from gato_jax.rollouts import play


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of the rollouts at one step; of a smoothed curve, of the last few steps up to this one."""

    step: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "mean": self.mean, "episodes": len(self.scores)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The evaluations of a run, a line of JSON each in a file, whole after every kill.

    Attributes:
      path: of the file.
      every: steps from one evaluation to the next.
      rollouts: of each evaluation, with other seeds than those of the others; 0 for no evaluations at all.
      environments: played side by side; the scores do not depend on it.
      temperature: of sampling.
    """

    path: pathlib.Path
    task: str
    every: int
    rollouts: int
    environments: int
    temperature: float

    def evaluations(self) -> list[Evaluation]:
        """Those in the file."""
        text = self.path.read_text() if self.path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return [Evaluation(step=line["step"], scores=tuple(line["scores"])) for line in lines]

    def reach(self, step: int, restore: Callable[[], Agent]):
        """Evaluates the agent of this step, unless that is done or not due; what lies beyond the step is forgotten."""
        known = [evaluation for evaluation in self.evaluations() if evaluation.step <= step]
        due = self.rollouts > 0 and step % self.every == 0
        if due and step not in {evaluation.step for evaluation in known}:
            known.append(self._evaluate(restore(), step))
        self._write(known)

    def forget(self):
        """Begins anew."""
        self._write([])

    def _evaluate(self, agent: Agent, step: int) -> Evaluation:
        first = (step // self.every - 1) * self.rollouts
        starts = [(self.task, seed) for seed in EVALUATION_SEEDS[first : first + self.rollouts]]
        played = play(partial(AgentActor, agent, temperature=self.temperature), starts, environments=self.environments)
        return Evaluation(step=step, scores=tuple(episode.score for episode in played if episode.score is not None))

    def _write(self, evaluations: Sequence[Evaluation]):
        lines = [{**evaluation.to_json(), "scores": evaluation.scores} for evaluation in evaluations]
        with atomic_file(self.path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in lines))


def smooth(evaluations: Sequence[Evaluation], window: int) -> list[Evaluation]:
    """The moving average over `window` evaluations, each point at the last of their steps."""
    groups = [evaluations[stop - window : stop] for stop in range(window, len(evaluations) + 1)]
    return [
        Evaluation(step=group[-1].step, scores=tuple(score for one in group for score in one.scores))
        for group in groups
    ]


def best(smoothed: Sequence[Evaluation]) -> Evaluation | None:
    """That of the highest mean, of several the earliest; None of an empty curve."""
    return max(smoothed, key=lambda evaluation: evaluation.mean, default=None)
