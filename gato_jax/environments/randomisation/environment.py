"""Domain randomisation: any MuJoCo task with another body, another look and other sensors in each episode.

`randomise(load("dm_control/walker/walk"), Randomisation(masses=(0.8, 1.2), action_delay=(0, 2)))` is an environment of
the same task. Every value is drawn from the seed of the episode, before the task starts it, and listed in `variation`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np

from gato_jax.environments.base import Environment, Outcome, control_actions, limits
from gato_jax.environments.randomisation.mujoco_edits import ModelEdits, Quantity
from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import NonNegativeFloat, PositiveFloat, Range, rule

_Number = Annotated[float, Range()]
_Steps = Annotated[int, Range(at_least=0, at_most=1000)]
Factors: TypeAlias = tuple[PositiveFloat, ...] | None
Offsets: TypeAlias = tuple[_Number, ...] | None
_STREAM = 0x72616E64  # separates these random numbers from the environment's, which have the same seed


class RandomisationError(ValueError):
    """A randomisation that is not valid, or that a task does not allow; the message names the field or the task."""


READER = DataclassReader(error=RandomisationError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Randomisation:
    """Intervals of the values that are drawn for each episode; None leaves the task as it is.

    An interval is (low, high), or several in ascending order, (low, high, low, high), of which each point is equally
    probable. Factors multiply the model's own numbers. Numbers that the task itself sets when an episode starts stay
    the task's.

    Attributes:
      masses: Factor on the mass and inertia of each moving body, which is one on its density.
      sizes: Factor on the size of each primitive geom of a moving body, about its centre. Mass and inertia follow where
        they were those of the body's geoms at one density.
      friction: Factor on the friction of each geom that collides.
      damping: Factor on the damping of each joint.
      stiffness: Factor on the stiffness of each joint.
      ranges: Factor on both ends of the range of each joint.
      gear: Factor on the gear of each actuator.
      light_positions: Offset of each light along each axis, in metres.
      light_colours: Factor on red, green and blue of each light.
      colours: Factor on red, green and blue of each geom without a material.
      textures: Factor on red, green and blue of each material and its texture.
      camera_positions: Offset of each camera of the model along each axis, in metres.
      camera_angles: Rotation of each camera of the model around each of its axes, in degrees.
      action_delay: Steps by which actions arrive late; until the first arrives, the action is zero or closest to it.
      observation_noise: Standard deviation of normal noise on all continuous observations, in their units.

    Raises:
      RandomisationError: An interval is empty or out of range.
    """

    masses: Factors = None
    sizes: Factors = None
    friction: Factors = None
    damping: Factors = None
    stiffness: Factors = None
    ranges: Factors = None
    gear: Factors = None
    light_positions: Offsets = None
    light_colours: Factors = None
    colours: Factors = None
    textures: Factors = None
    camera_positions: Offsets = None
    camera_angles: Offsets = None
    action_delay: tuple[_Steps, _Steps] | None = None
    observation_noise: tuple[NonNegativeFloat, NonNegativeFloat] | None = None

    def __post_init__(self):
        READER.check(self, "randomisation")

    @classmethod
    def from_mapping(cls, fields: Any) -> Randomisation:
        """Return the randomisation of a mapping or ConfigDict with these fields.

        Raises:
          RandomisationError: A key or value does not fit.
        """
        return READER.read(cls, fields, "randomisation")

    def to_json(self) -> dict[str, Any]:
        """Return the intervals that are given."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @rule
    def _ends_are_ordered(self) -> str | None:
        for name in (field.name for field in dataclasses.fields(Randomisation)):
            ends = getattr(self, name)
            if ends is not None and (not ends or len(ends) % 2 or list(ends) != sorted(ends)):
                return f"{name} is {ends}, expected the lower and upper end of each interval in ascending order."
        return None


def randomise(environment: Environment, randomisation: Randomisation) -> RandomisedEnvironment:
    """Return an environment of the same task whose episodes have other values each, drawn from their seeds.

    Args:
      environment: The environment that plays; it is not to be used by itself any more.
      randomisation: Intervals of the values.

    Raises:
      RandomisationError: The environment has no MuJoCo model, or one that it replaces, or without the parts that are to
        be randomised; or it is randomised already; or no image would show the change.
    """
    return RandomisedEnvironment(environment, randomisation)


class RandomisedEnvironment(Environment):
    """An environment with a randomised model, delayed actions and noisy observations.

    Args:
      environment: The environment that plays.
      randomisation: Intervals of the values.
      task_spec: TaskSpec under another name; None for that of the environment.
      skip_missing: True to skip quantities that no part of the model has, instead of raising.

    Attributes:
      environment: The environment that plays.
      randomisation: Intervals of the values.

    Raises:
      RandomisationError: See `randomise`.
    """

    def __init__(
        self,
        environment: Environment,
        randomisation: Randomisation,
        *,
        task_spec: TaskSpec | None = None,
        skip_missing: bool = False,
    ):
        name = environment.task_spec.name
        if environment.mujoco_model is None:
            raise RandomisationError(
                f"{name} cannot be randomised: it has no MuJoCo model, or builds one for each episode. Choose another "
                "task."
            )
        if isinstance(environment, RandomisedEnvironment):  # it would take the changes of this one back
            raise RandomisationError(f"{name} cannot be randomised: its episodes are already. Choose the plain task.")
        super().__init__(task_spec or environment.task_spec)
        self.environment, self.randomisation = environment, randomisation
        self.source, self.licence, self.renderer = environment.source, environment.licence, environment.renderer
        self._edits = ModelEdits(environment.mujoco_model)
        self._intervals = {name: np.reshape(ends, (-1, 2)) for name, ends in randomisation.to_json().items()}
        self._require_visible()
        self._quantities = {key: part for key, part in self._edits.quantities.items() if key in self._intervals}
        if missing := [key for key, part in self._quantities.items() if not part.labels and not skip_missing]:
            raise RandomisationError(f"{name} cannot be randomised: it has no {missing[0]}. Remove the interval.")
        self._idle = {key: _idle_action(modality) for key, modality in control_actions(self.task_spec).items()}
        self._drawn: dict[str, Any] = {}
        self._waiting: collections.deque[dict[str, np.ndarray]] = collections.deque()
        self._noise, self._generator = 0.0, np.random.default_rng(0)

    def _require_visible(self) -> None:
        """Raise RandomisationError if lights or cameras are to be randomised that no image of the task shows."""
        by_opengl = self.environment.renderer.startswith(("egl", "osmesa"))
        for field in self._intervals:
            if field.startswith("light_") and not by_opengl:
                reason, remedy = "only images by OpenGL show the lights", "Choose a task of pixels and a GL renderer"
            elif field.startswith("camera_") and self.environment.fixed_views:
                reason, remedy = "its images are not those of the model's cameras", "Choose another task"
            else:
                continue
            raise RandomisationError(
                f"{self.task_spec.name} cannot be randomised: {field} has an interval, but {reason}. {remedy}, or "
                "remove the interval."
            )

    @property
    def unwrapped(self) -> Environment:
        return self.environment.unwrapped

    def _start(self, seed: int) -> dict[str, Any]:
        self._edits.restore()
        # A stream of its own for each field: the values of one do not depend on which others are randomised.
        fields = [field.name for field in dataclasses.fields(Randomisation)]
        generators = {name: np.random.default_rng([seed, _STREAM, number]) for number, name in enumerate(fields)}
        values = {
            name: _draw(generators[name], self._intervals[name], (len(quantity.labels), quantity.width))
            for name, quantity in self._quantities.items()
        }
        self._edits.apply(values)
        self._drawn = {name: _listed(part, values[name]) for name, part in self._quantities.items() if part.labels}
        self._waiting, self._noise, self._generator = collections.deque(), 0.0, generators["observation_noise"]
        if self.randomisation.action_delay is not None:
            low, high = self.randomisation.action_delay
            delay = self._drawn["action_delay"] = int(generators["action_delay"].integers(low, high, endpoint=True))
            self._waiting.extend([self._idle] * delay)
        if self.randomisation.observation_noise is not None:
            self._noise = self._drawn["observation_noise"] = self._generator.uniform(
                *self.randomisation.observation_noise
            )
        self.environment.observed = self.observed
        return self._perceive(self.environment._start(seed))

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        self._waiting.append(action)
        outcome = self.environment._advance(self._waiting.popleft())
        return dataclasses.replace(outcome, observation=self._perceive(outcome.observation))

    def _perceive(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return an observation with noise, within the limits of the TaskSpec."""
        if self._noise == 0.0:
            return observation
        noisy = dict(observation)
        for key, modality in self.task_spec.observation.items():
            if isinstance(modality, Continuous):
                value = np.asarray(observation[key], np.float64)
                noisy[key] = np.clip(value + self._generator.normal(0.0, self._noise, value.shape), *limits(modality))
        return noisy

    @property
    def mujoco_model(self) -> Any:
        return self.environment.mujoco_model

    @property
    def variation(self) -> Mapping[str, Any]:
        return {**self.environment.variation, **self._drawn}

    @property
    def measures(self) -> Mapping[str, float]:
        return self.environment.measures

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.environment.action_names

    def render(self) -> np.ndarray:
        return self.environment.render()

    def close(self) -> None:
        self.environment.close()


def _draw(generator: np.random.Generator, intervals: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return numbers of this shape, uniform over the union of the intervals (intervals, 2)."""
    low, high = intervals.T
    ends = np.cumsum(high - low)
    if ends[-1] == 0.0:  # points
        return low[generator.integers(len(low), size=shape)]
    position = generator.uniform(0.0, ends[-1], shape)
    part = np.minimum(np.searchsorted(ends, position, side="right"), len(low) - 1)
    return np.minimum(high[part], low[part] + position - (ends - (high - low))[part])


def _listed(quantity: Quantity, values: np.ndarray) -> dict[str, Any]:
    return {
        label: row[0] if quantity.width == 1 else row
        for label, row in zip(quantity.labels, values.tolist(), strict=True)
    }


def _idle_action(modality: Any) -> np.ndarray:
    """Return the action closest to zero that a modality allows."""
    if not isinstance(modality, Continuous):
        return np.zeros(modality.shape, np.int32)
    return np.clip(np.zeros(modality.shape, np.float32), *limits(modality))
