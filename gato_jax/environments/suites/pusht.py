"""PushT: a disc that pushes a T-shaped block onto its outline, from gym-pusht.

The action is the position that the disc is driven to, in the plane's units of 0 to 512. The reward of a step is the
share of the outline that the block covers, divided by 0.95 and at most 1. An episode ends when more than 0.95 is
covered, which is a success, or after 300 steps. The observation of `pusht` is the state: position of the disc (2),
position of the block (2) and its angle (radians, 0 to 2 pi). That of `pusht_pixels` is an image of 96x96 and the
position of the disc.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from typing import Any

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Continuous, Image, TaskSpec

MAX_STEPS = 300
CONTROL_RATE_HZ = 10.0
PLANE_SIDE = 512.0
_IMAGE_SIDE = 96
_OBSERVATIONS = {
    "pusht": {"state": Continuous(shape=(5,))},
    "pusht_pixels": {
        "image": Image(height=_IMAGE_SIDE, width=_IMAGE_SIDE),
        "agent_pos": Continuous(shape=(2,), low=0.0, high=PLANE_SIDE),
    },
}


def spec(task: str, suite: str = "pusht") -> TaskSpec:
    """Return the TaskSpec of the suite `pusht` or `pusht_pixels`, whose only task is `push`."""
    return TaskSpec(
        suite=suite,
        task=task,
        observation=_OBSERVATIONS[suite],
        action={"action": Continuous(shape=(2,), low=0.0, high=PLANE_SIDE)},
        metric="success",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
    )


class PushT(Environment):
    """An environment of the suite `pusht` or `pusht_pixels`.

    Attributes:
      simulator: The package's own environment.
      max_coverage: Largest share of the outline that the block has covered in this episode, 0 to 1; 0 before any step.
    """

    def __init__(self, task: str, suite: str = "pusht"):
        super().__init__(spec(task, suite))
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame prints a greeting, and its imports are deprecated
            from gym_pusht.envs import PushTEnv

        self.simulator = PushTEnv(obs_type="state" if suite == "pusht" else "pixels_agent_pos")
        self.max_coverage = 0.0

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        self.max_coverage = 0.0
        observation, _ = self.simulator.reset(seed=seed)
        return self._parts(observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        observation, reward, terminated, _, info = self.simulator.step(action["action"].astype(np.float64))
        self.max_coverage = max(self.max_coverage, float(info["coverage"]))
        return Outcome(
            observation=self._parts(observation),
            reward=float(reward),
            terminated=bool(terminated),
            success=bool(info["is_success"]),
        )

    @staticmethod
    def _parts(observation: Any) -> dict[str, np.ndarray]:
        if isinstance(observation, dict):
            return {"image": observation["pixels"], "agent_pos": observation["agent_pos"]}
        return {"state": observation}

    def render(self) -> np.ndarray:
        return np.asarray(self.simulator.render())

    def close(self) -> None:
        self.simulator.close()


def _suite(name: str, scores_of: str | None = None) -> Suite:
    return Suite(
        name=name,
        tasks=("push",),
        packages={"gym_pusht": "gym-pusht"},
        licence="Apache-2.0",
        spec=functools.partial(spec, suite=name),
        load=functools.partial(PushT, suite=name),
        scores_of=scores_of,
    )


SUITE = _suite("pusht")
PIXELS_SUITE = _suite("pusht_pixels", scores_of="pusht")
