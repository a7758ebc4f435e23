"""The learning curve of fine-tuning: scores of rollouts at regular steps, smoothed, and its maximum (appendix E)."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gato_jax.environments import EVALUATION_SEEDS, UnknownTaskError, load
from gato_jax.episodes import TaskSpec
from gato_jax.evaluation.references import References
from gato_jax.evaluation.scores import normalise
from gato_jax.policy import Agent, AgentActor, Temperature
from gato_jax.rollouts import play
from gato_jax.runtime.atomic_writes import atomic_file


class LearningCurveError(ValueError):
    """A task that cannot be evaluated during training; the message names the task and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One point of a learning curve.

    Attributes:
      step: training step of the agent that was played; in a smoothed curve, the last step of the window.
      scores: score of each episode; in a smoothed curve, of all episodes of the window.
    """

    step: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the scores; NaN without scores."""
        return float(np.mean(self.scores))

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "mean": self.mean, "episodes": len(self.scores)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The evaluations of a fine-tuning run, kept in a file with one line of JSON each.

    The file is written atomically. A run that is killed goes on with the evaluations in it.

    Attributes:
      path: the file.
      task: name of the task.
      every: number of training steps between evaluations, which are due at its multiples.
      rollouts: number of episodes of each evaluation, each evaluation with seeds of its own; 0 for no evaluations.
      environments: number of episodes that are played side by side; the scores do not depend on it.
      temperature: temperature of sampling the actions.
    """

    path: pathlib.Path
    task: str
    every: int
    rollouts: int
    environments: int
    temperature: float

    def evaluations(self) -> list[Evaluation]:
        """Return the evaluations in the file, in order of their steps, none if it does not exist."""
        text = self.path.read_text() if self.path.exists() else ""
        lines = [json.loads(line) for line in text.split("\n") if line]
        return [Evaluation(step=line["step"], scores=tuple(line["scores"])) for line in lines]

    def reach(self, step: int, restore: Callable[[], Agent]):
        """Evaluate the agent of a step if that is due and not done yet, and remove the evaluations of later steps.

        Args:
          step: a step at which a checkpoint was written.
          restore: function that returns the agent of that checkpoint; called only if the agent is played.
        """
        known = [evaluation for evaluation in self.evaluations() if evaluation.step <= step]
        due = self.rollouts > 0 and step % self.every == 0
        if due and step not in {evaluation.step for evaluation in known}:
            known.append(self._evaluate(restore(), step))
        self._write(known)

    def forget(self):
        """Remove all evaluations; the file is left empty."""
        self._write([])

    def score(self, window: int, references: References | None) -> dict[str, Any]:
        """Return the curve and the score, the maximum of the smoothed curve, as a dict for JSON.

        `score`, `best_step` and `normalised` are None as long as the smoothed curve is empty.

        Args:
          window: number of evaluations in the moving average.
          references: reference scores of the task; None for no normalised score.
        """
        evaluations = self.evaluations()
        smoothed = smooth(evaluations, window)
        highest = best(smoothed)
        return {
            "curve": [point.to_json() for point in evaluations],
            "smoothed": [point.to_json() for point in smoothed],
            "best_step": None if highest is None else highest.step,
            "score": None if highest is None else highest.mean,
            "normalised": None if highest is None else normalise(highest.mean, references),
        }

    def _evaluate(self, agent: Agent, step: int) -> Evaluation:
        first = (step // self.every - 1) * self.rollouts
        starts = [(self.task, seed) for seed in EVALUATION_SEEDS[first : first + self.rollouts]]
        make_actor = partial(AgentActor, agent, sampling=Temperature(temperature=self.temperature))
        played = play(make_actor, starts, environments=self.environments)
        return Evaluation(step=step, scores=tuple(episode.score for episode in played if episode.score is not None))

    def _write(self, evaluations: Sequence[Evaluation]):
        lines = [{**evaluation.to_json(), "scores": evaluation.scores} for evaluation in evaluations]
        with atomic_file(self.path) as written:
            written.write_text("".join(json.dumps(line) + "\n" for line in lines))


def environment_spec(task: str) -> TaskSpec:
    """Return the spec of a task's environment, which is loaded now, so that an error comes before training.

    Raises:
      LearningCurveError: no environment has this task.
      MissingPackageError: the task does not run here.
    """
    try:
        return load(task).task_spec
    except UnknownTaskError as error:
        raise LearningCurveError(f"{error}; rollouts=0 fine-tunes on a task that has no environment") from None


def smooth(evaluations: Sequence[Evaluation], window: int) -> list[Evaluation]:
    """Return the moving average over `window` evaluations; each point has the step of the last of them.

    A point holds the scores of all episodes of its window. There is no point before the window is full, so fewer than
    `window` evaluations give an empty curve.
    """
    groups = [evaluations[stop - window : stop] for stop in range(window, len(evaluations) + 1)]
    return [
        Evaluation(step=group[-1].step, scores=tuple(score for one in group for score in one.scores))
        for group in groups
    ]


def best(smoothed: Sequence[Evaluation]) -> Evaluation | None:
    """Return the point with the highest mean, the earliest of several equal ones, or None if the curve is empty."""
    return max(smoothed, key=lambda evaluation: evaluation.mean, default=None)
