"""A person who acts with the keys of a keyboard."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import dm_env

from gato_jax.environments import Environment
from gato_jax.rollouts import Action, Actor, ActorFailure, Player
from gato_jax.web.play.controls import Controls, choose_controls

PERSON = "person at the keyboard"
_SPEED = 0.5


class Keyboard:
    """The keys that are held, and those that were pressed since the last step, also if only for a moment.

    Its methods may be called in any thread.

    Attributes:
      controls: The keys of the task; None before its first episode.
      speed: Share of the range of numbers that keys use, in (0, 1].
    """

    def __init__(self):
        self.controls: Controls | None = None
        self.speed = _SPEED
        self._lock = threading.Lock()
        self._held: list[str] = []
        self._tapped: list[str] = []

    @property
    def waits(self) -> bool:
        """True if a step has to wait for a key, and none was pressed since the last one."""
        with self._lock:
            return self.controls is not None and self.controls.waits and not self._tapped

    def press(self, key: str, *, is_repeat: bool = False) -> bool:
        """Press a key, or hold it further, and return whether it belongs to the task."""
        with self._lock:
            if self.controls is None or key not in {hint.key for hint in self.controls.hints}:
                return False
            if not is_repeat:
                self._held = [*(other for other in self._held if other != key), key]
            if not is_repeat or (self.controls.waits and not self._tapped):
                self._tapped = [key] if self.controls.waits else [*self._tapped, key]
            return True

    def release(self, key: str | None = None):
        """Release a key, or all of them."""
        with self._lock:
            self._held = [] if key is None else [other for other in self._held if other != key]
            if key is None:
                self._tapped = []

    def begin(self, environment: Environment):
        """Begin an episode, with no key held."""
        controls = choose_controls(environment)
        with self._lock:
            self.controls, self._held, self._tapped = controls, [], []
            controls.reset()

    def take(self) -> Action | None:
        """Return the action of the keys, and forget those that are no longer held; None for none."""
        with self._lock:
            if self.controls is None:
                return None
            pressed = self._tapped if self.controls.waits else [*self._held, *self._tapped]
            self._tapped = []
            return self.controls.action(list(dict.fromkeys(pressed)), self.speed)


class PersonActor(Actor):
    """A person who plays one episode at a time with a keyboard; whoever calls `act` waits for the keys before.

    Args:
      keyboard: The keyboard.
    """

    def __init__(self, keyboard: Keyboard):
        self._keyboard = keyboard

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        self._keyboard.begin(environments[0])

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        return [self._keyboard.take() or ActorFailure("no key was pressed, expected one in each step")]

    def describe(self, task: str) -> str:
        return PERSON


def person(keyboard: Keyboard) -> Player:
    """Return the person at a keyboard as a player."""
    actor = PersonActor(keyboard)
    return Player(lambda: actor, actor.describe)
