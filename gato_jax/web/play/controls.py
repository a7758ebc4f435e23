"""Keys with which a person acts in a task: buttons of games, and pairs of keys for numbers."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous, Discrete, Modality, TaskSpec
from gato_jax.rollouts import Action
from gato_jax.web.play.buttons import Buttons

# Keys that lower and raise a number; a task with more numbers leaves the others at rest.
_PAIRS = (
    ("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("s", "w"), ("a", "d"), ("q", "e"), ("k", "i"), ("j", "l"),
    ("u", "o"),
)  # fmt: skip
_SWITCHES = (" ", "f", "g", "h")  # of numbers that are 0 or 1
_FULL_RANGE_SECONDS = 1.0  # in which a number that stays where it is moves through its range, at full speed
_STEPS_PER_SECOND = 10.0  # of a task whose time has no unit


@dataclasses.dataclass(frozen=True)
class KeyHint:
    """A key and its effect, for display."""

    key: str
    effect: str


class Controls(abc.ABC):
    """The keys of one task.

    Attributes:
      hints: The keys.
      waits: True if no action does nothing, so that each step waits for a key.
      has_speed: True if the actions depend on the speed.
      unmapped: Number of elements of the action that no key changes.
    """

    hints: tuple[KeyHint, ...]
    waits: bool = False
    has_speed: bool = False
    unmapped: int = 0

    def reset(self):  # noqa: B027
        """Begin an episode; controls without a state do nothing."""

    @abc.abstractmethod
    def action(self, held: Sequence[str], speed: float) -> Action | None:
        """Return the action of the held keys, in the order of their pressing; None for none.

        Args:
          held: The keys.
          speed: Share of the range of numbers that is used, in (0, 1].
        """


def choose_controls(environment: Environment) -> Controls:
    """Return the controls of the task of an environment.

    Raises:
      ActionError: The task's action is text.
    """
    actions = control_actions(environment.task_spec)
    [(key, modality), *others] = sorted(actions.items())
    if not others and isinstance(modality, Discrete) and not modality.shape:
        return ButtonControls(key, environment.action_names)
    return NumberControls(environment.task_spec, environment.action_names)


class ButtonControls(Controls):
    """The keys of a task with one discrete action, whose values have names."""

    def __init__(self, key: str, names: Sequence[str]):
        self._key, self._buttons = key, Buttons(names)
        self.hints = tuple(KeyHint(key, button.replace("_", " ")) for key, button in self._buttons.keys.items())
        self.waits = self._buttons.idle is None

    def action(self, held: Sequence[str], speed: float) -> Action | None:
        value = self._buttons.value(held)
        return None if value is None else {self._key: np.array(value, np.int32)}


class NumberControls(Controls):
    """The keys of a task whose action is several numbers.

    A number that can be negative and positive is 0 unless a key is held. Others, such as positions, and grippers and
    joint targets stay where they are; they begin in the middle.
    """

    has_speed = True

    def __init__(self, spec: TaskSpec, names: Sequence[str]):
        self._modalities = control_actions(spec)
        self._rate = spec.control_rate_hz or _STEPS_PER_SECOND
        pairs, switches = iter(_PAIRS), iter(_SWITCHES)
        self._numbers: list[_Number] = []
        for key, modality in sorted(self._modalities.items()):
            for element in range(modality.size):
                is_switch = isinstance(modality, Discrete) and modality.n == 2
                switch = next(switches, None) if is_switch else None
                keys = (None, switch) if is_switch else next(pairs, (None, None))
                self._numbers.append(_Number(key, element, modality, _stays(spec, key, element, modality), keys))
        hints = []
        for number, name in zip(self._numbers, _long_names(self._modalities, names), strict=True):
            low, high = number.keys
            hints += [KeyHint(low, f"{name} −")] if low else []
            hints += [KeyHint(high, f"{name} +" if low else name)] if high else []
        self.hints = tuple(hints)
        self.unmapped = sum(number.keys == (None, None) for number in self._numbers)
        self.reset()

    def reset(self):
        for number in self._numbers:
            number.reset()

    def action(self, held: Sequence[str], speed: float) -> Action:
        values = {
            key: np.zeros(modality.size, np.int32 if isinstance(modality, Discrete) else np.float32)
            for key, modality in self._modalities.items()
        }
        for number in self._numbers:
            low, high = number.keys
            direction = (high is not None and high in held) - (low is not None and low in held)
            values[number.key][number.element] = number.moved(direction, speed, self._rate)
        return {key: values[key].reshape(modality.shape) for key, modality in self._modalities.items()}


class _Number:
    """One element of an action."""

    def __init__(self, key: str, element: int, modality: Modality, stays: bool, keys: tuple[str | None, str | None]):
        self.key, self.element, self.keys, self._stays = key, element, keys, stays
        self._is_integer = isinstance(modality, Discrete)
        if isinstance(modality, Continuous):
            low, high = limits(modality)
            self._low, self._high = float(low.ravel()[element]), float(high.ravel()[element])
        elif isinstance(modality, Discrete):
            self._low, self._high = 0.0, modality.n - 1.0
        self._was_moved = False
        self.reset()

    def reset(self):
        rest = min(max(0.0, self._low), self._high)
        self._value = (self._low + self._high) / 2 if self._stays and not self._is_integer else rest
        self._was_moved = False

    def moved(self, direction: int, speed: float, rate: float) -> float:
        """Return the value after a step in which the keys ask for a direction: -1, 0 or 1."""
        if self._is_integer and self._stays:  # one value for each press of a key
            if direction and not self._was_moved:
                self._value += direction
        elif self._stays:
            self._value += direction * speed * (self._high - self._low) / (rate * _FULL_RANGE_SECONDS)
        else:
            rest = min(max(0.0, self._low), self._high)
            share = 1.0 if self._is_integer else speed
            self._value = rest + share * ((self._high - rest) * (direction > 0) + (self._low - rest) * (direction < 0))
        self._was_moved = bool(direction)
        self._value = min(max(self._value, self._low), self._high)
        return self._value


def _stays(spec: TaskSpec, key: str, element: int, modality: Discrete | Continuous) -> bool:
    """Return whether an element of an action stays where it is when no key is held."""
    body = spec.embodiment
    if body is not None and key == body.joint_targets:
        return True
    if body is not None and body.gripper is not None and key == body.gripper.action:
        if element in (body.gripper.elements or range(modality.size)):
            return True
    if isinstance(modality, Discrete):
        return modality.n > 2
    low, high = (limit[element] for limit in modality.limits)
    return not (low < 0 < high or (low == 0 and high <= 1))


def _long_names(modalities: dict[str, Discrete | Continuous], names: Sequence[str]) -> list[str]:
    """Return a name for each number; those of the environment where it has one for each."""
    plain = [
        f"{key} {element}" if modality.size > 1 else key
        for key, modality in sorted(modalities.items())
        for element in range(modality.size)
    ]
    return list(names) if len(names) == len(plain) else plain
