"""One environment that a person, an expert or an agent plays in a thread, at the pace that a viewer asks for."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dm_env

from gato_jax.environments import MAX_SEED, Environment
from gato_jax.environments import load as load_task
from gato_jax.episodes import Episode, StoreError, TaskSpec
from gato_jax.rollouts import Action, Actor, ActorFailure, KeptEpisodes, Player
from gato_jax.rollouts.loop import Crash, Job, Load, Result
from gato_jax.rollouts.play import play_all
from gato_jax.runtime import FolderInUseError
from gato_jax.web.play.keyboard import Keyboard
from gato_jax.web.play.scene import Picture, Scene, describe_action, encode_picture, read_instruction

PERSON_NAME = "person"
_FRAME_SECONDS = 1 / 30  # between two pictures at least, while steps go on
_CATCH_UP_SECONDS = 0.1  # of delays that are made up for by quicker steps
_WAITING_FPS = 10.0  # of actors that play a task whose time has no unit

_log = logging.getLogger(__name__)


class PlaySession:
    """A task that is played in a thread of its own, which alone touches the environment.

    The other methods may be called in any thread. Steps never wait for viewers: a picture is drawn only when a viewer
    asks for one, and only of the newest state.

    Args:
      spec: The task.
      players: {name: who can play}, among them `person`, the person at the keyboard.
      keyboard: The keys of the person.
      player: Name of who plays first.
      seed: Seed of the first episode.
      fps: Number of steps a second, 0 for as many as possible; None for the task's control rate.
      kept: {name of a player: where episodes are kept}; none if they cannot be kept.
      load: Function that returns a new environment of a task.

    Attributes:
      scene: What there is to see now.
      picture: The newest picture; None before the first one.
      keyboard: The keys of the person.
      error: The error that ended the thread; None while there is none.
    """

    def __init__(
        self,
        spec: TaskSpec,
        players: Mapping[str, Player],
        keyboard: Keyboard,
        *,
        player: str = PERSON_NAME,
        seed: int = 0,
        fps: float | None = None,
        kept: Mapping[str, KeptEpisodes] | None = None,
        load: Load = load_task,
    ):
        self.keyboard, self._players = keyboard, dict(players)
        self._spec, self._load, self._kept = spec, load, dict(kept or {})
        rate = spec.control_rate_hz or _WAITING_FPS if fps is None else fps
        self._period = 1 / rate if rate else 0.0
        self._condition = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="play")
        self._closed = self._running = self._wants_picture = self._wants_keep = False
        self._steps_asked = 0
        self._next_seed: int | None = None  # of the episode that the viewer asks for
        self._due = self._picture_due = 0.0
        self._environment: Environment | None = None
        self._ended: Episode | None = None
        self._drawn: tuple[int, int] | None = None  # episode and step of the picture
        self._numbers, self._episodes = itertools.count(1), 0
        self.picture: Picture | None = None
        self.error: Exception | None = None
        self.scene = Scene(
            task=spec.name, seed=seed, player=player, next_player=player, players=tuple(self._players),
            max_steps=spec.max_steps, can_keep=bool(self._kept), speed=self.keyboard.speed,
            kept={name: len(kept.seeds) for name, kept in self._kept.items()},
        )  # fmt: skip

    def start(self):
        """Start the thread, which loads the environment."""
        self._thread.start()

    def close(self):
        """End the thread after the action that is being chosen; an episode that has not ended is lost."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def listen(self, listener: Callable[[], None]):
        """Add a function that is called, in any thread, whenever scene or picture have changed."""
        with self._condition:
            self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]):
        """Remove a function that `listen` added."""
        with self._condition:
            self._listeners.remove(listener)

    def ask_picture(self):
        """Draw the newest state as soon as possible, unless it is drawn already."""
        with self._condition:
            self._wants_picture = True
            self._condition.notify_all()

    def command(self, name: str):
        """Carry out the command of a button: `start`, `pause`, `step`, `next`, `again` or `keep`.

        Raises:
          ValueError: There is no such command.
        """
        if name not in ("start", "pause", "step", "next", "again", "keep"):
            raise ValueError(f"command is {name!r}, expected start, pause, step, next, again or keep.")
        with self._condition:
            if name in ("start", "pause"):
                self._run_on(name == "start")
            elif name == "step":
                self._run_on(False)
                self._steps_asked += 1
            elif name == "keep" and not self._kept:
                self._publish(message="Nothing can be kept: start the command with --output=DIR.")
            elif name == "keep":
                self._wants_keep = self._ended is not None or not self.scene.keeps
                self._publish(keeps=self._wants_keep)
            else:
                self._leave_for(self.scene.seed if name == "again" else min(self.scene.seed + 1, MAX_SEED))
            self._condition.notify_all()

    def choose_player(self, name: str):
        """Let another player play: from the present episode on if it has not begun, else from the next one on.

        Raises:
          ValueError: There is no such player.
        """
        if name not in self._players:
            raise ValueError(f"player is {name!r}, expected one of {', '.join(self._players)}.")
        with self._condition:
            begun = self.scene.step > 0 and self.scene.status != "ended"
            message = f"From the next episode on: {name}." if begun and name != self.scene.player else ""
            self._publish(next_player=name, message=message)
            if self.scene.status == "ready" and name != self.scene.player:
                self._leave_for(self.scene.seed)
            self._condition.notify_all()

    def press(self, key: str, *, is_repeat: bool = False):
        """Press a key; the first one of an episode starts it."""
        if not self.keyboard.press(key, is_repeat=is_repeat):
            return
        with self._condition:
            if self.scene.status == "ready" and self.scene.player == PERSON_NAME:
                self._run_on(True)
            self._condition.notify_all()

    def release(self, key: str | None = None):
        """Release a key, or all of them."""
        self.keyboard.release(key)

    def choose_speed(self, speed: float):
        """Let keys use this share of the range of numbers.

        Raises:
          ValueError: The speed is not in (0, 1].
        """
        if not 0 < speed <= 1:
            raise ValueError(f"speed is {speed}, expected a number in (0, 1].")
        with self._condition:
            self.keyboard.speed = speed
            self._publish(speed=speed)

    def _run_on(self, running: bool):
        """Let steps follow each other, or not, in an episode that has not ended."""
        if self.scene.status in ("ready", "playing", "paused"):
            self._running, self._due = running, time.monotonic()
            begun = "ready" if self.scene.step == 0 else "paused"
            self._publish(status="playing" if running else begun)

    def _leave_for(self, seed: int):
        """Ask for the episode of a seed. Until it is ready, a start is refused, because the thread would drop it."""
        self._next_seed = seed
        if self.error is None:
            self._publish(status="loading")

    def _publish(self, **changes: Any):
        """Change the scene, and tell the listeners; the caller holds the condition, or is the thread."""
        with self._condition:
            self.scene = dataclasses.replace(self.scene, **changes)
            for listener in self._listeners:
                listener()

    def _run(self):
        """Play until the session is closed."""
        try:
            played = play_all(lambda: _ShownActor(self), self._starts(), load=self._load, contain=True)
            with contextlib.closing(played):
                for job, result in played:
                    self._finish(job, result)
        except Exception as error:
            _log.exception("the session ended by an error")
            self.error = error
            self._publish(status="failed", message=f"{type(error).__name__}: {error}")
        finally:
            if self._environment is not None:
                self._environment.close()

    def _starts(self) -> Iterator[tuple[str, int]]:
        """Yield task and seed of each episode as the viewer asks for it."""
        while not self._closed:
            with self._condition:
                self._ended, self._next_seed = None, None
                self._running = self._wants_keep = False
                self._steps_asked = 0
            yield self._spec.name, self.scene.seed
            if not self._wait(lambda: None if self._next_seed is None else 0.0):
                return
            self._publish(
                status="loading", seed=self._next_seed, player=self.scene.next_player, step=0, reward=0.0,
                episode_return=0.0, action="", success=None, message="", keeps=False, is_kept=False,
            )  # fmt: skip

    def player(self) -> Player:
        """Return who plays the present episode."""
        return self._players[self.scene.player]

    def begin(self, environment: Environment):
        """Show the beginning of an episode."""
        self._environment, self._episodes = environment, self._episodes + 1
        controls = self.keyboard.controls if self.scene.player == PERSON_NAME else None
        hints = tuple((hint.key, hint.effect) for hint in controls.hints) if controls else ()
        self._publish(
            status="ready" if self._next_seed is None else "loading", hints=hints, max_steps=environment.max_steps,
            unmapped=controls.unmapped if controls else 0,
            waits=controls is not None and controls.waits, has_speed=controls is not None and controls.has_speed,
        )  # fmt: skip
        if self.scene.next_player != self.scene.player:  # chosen while the environment was loaded
            self._leave_for(self.scene.seed)

    def await_turn(self, timestep: dm_env.TimeStep) -> bool:
        """Show a timestep, and wait until the next action is due; return False if the episode is given up."""
        self._show(timestep)
        return self._wait(self._seconds_to_turn) and self._next_seed is None

    def acted(self, action: Action):
        """Note the action of this step, and plan the next one."""
        if self._environment is None:
            raise RuntimeError("no episode has begun, expected one")
        with self._condition:
            self._steps_asked = max(0, self._steps_asked - 1)
            self._due = max(self._due + self._period, time.monotonic() - _CATCH_UP_SECONDS)
            going_on = "playing" if self._running else "paused"
            self._publish(
                status=going_on if self._next_seed is None else "loading", step=self.scene.step + 1,
                action=describe_action(self._spec, self._environment.action_names, action),
            )  # fmt: skip

    def _show(self, timestep: dm_env.TimeStep):
        reward = float(timestep.reward or 0.0)
        self._publish(
            reward=reward, episode_return=self.scene.episode_return + reward,
            instruction=read_instruction(self._spec, timestep.observation),
        )  # fmt: skip

    def _seconds_to_turn(self) -> float | None:
        """Return the seconds until the next action is due, None if that depends on the viewer."""
        if self._next_seed is not None:
            return 0.0
        if not (self._running or self._steps_asked):
            return None
        if self.scene.player == PERSON_NAME and self.keyboard.waits:
            return None
        return 0.0 if self._steps_asked else max(0.0, self._due - time.monotonic())

    def _wait(self, seconds: Callable[[], float | None]) -> bool:
        """Wait until the seconds are over, which may change, and draw and keep meanwhile what is asked for.

        Args:
          seconds: Function that returns how long to wait yet; None until something happens.

        Returns:
          False if the session is closed.
        """
        while True:
            if self._wants_keep and self._ended is not None:
                self._keep(self._ended)
            elif self._is_picture_due():
                self._draw()
            with self._condition:
                if (self._wants_keep and self._ended is not None) or self._is_picture_due():
                    continue
                if self._closed:
                    return False
                left = seconds()
                if left is not None and left <= 0:
                    return True
                if self._wants_picture and self._is_stale():
                    until = max(0.0, self._picture_due - time.monotonic())
                    left = until if left is None else min(left, until)
                self._condition.wait(left)

    def _is_stale(self) -> bool:
        return self._environment is not None and self._drawn != (self._episodes, self.scene.step)

    def _is_picture_due(self) -> bool:
        return self._wants_picture and self._is_stale() and time.monotonic() >= self._picture_due

    def _draw(self):
        """Draw the environment; while steps go on, drawing takes half of the time at most."""
        if self._environment is None:
            raise RuntimeError("there is no environment, expected one to draw")
        begun, state = time.monotonic(), (self._episodes, self.scene.step)
        self.picture = Picture(next(self._numbers), encode_picture(self._environment.render()))
        now = time.monotonic()
        self._picture_due = now + max(_FRAME_SECONDS, now - begun)
        with self._condition:
            self._drawn, self._wants_picture = state, False
            self._publish()

    def _finish(self, job: Job, result: Result):
        """Show the end of an episode."""
        if isinstance(result, ActorFailure):
            if self._next_seed is None and not self._closed:
                self._publish(status="failed", message=f"The {self.scene.player} gave up: {result}")
        elif isinstance(result, Crash):
            _log.error("%s, seed %d failed", job.task, job.seed, exc_info=result.error)
            self._environment = None  # in an unknown state
            self._publish(status="failed", message=f"{type(result.error).__name__}: {result.error}")
        else:
            if self.scene.player == PERSON_NAME:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                result = dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, recorded_at=now))
            with self._condition:
                self._ended = result
                self._publish(
                    status="ended", reward=float(result.reward[result.acting_steps - 1]),
                    episode_return=result.episode_return, success=result.success,
                )  # fmt: skip

    def _keep(self, episode: Episode):
        """Write the episode that has just ended to the disk."""
        self._wants_keep = False
        kept = self._kept.get(self.scene.player)
        if kept is None or self.scene.is_kept:
            self._publish(keeps=self.scene.is_kept)
            return
        try:
            kept.add(episode)
        except (StoreError, FolderInUseError, ValueError) as error:
            self._publish(keeps=False, message=f"The episode is not kept: {error}")
            return
        self._publish(is_kept=True, keeps=True, message="", kept=self.scene.kept | {self.scene.player: len(kept.seeds)})


class _ShownActor(Actor):
    """The player of each episode, who acts when the session says so."""

    def __init__(self, session: PlaySession):
        self._session = session
        self._actors: dict[str, Actor] = {}
        self._actor: Actor | None = None

    @property
    def actor(self) -> Actor:
        if self._actor is None:
            raise RuntimeError("no episode has begun, expected one")
        return self._actor

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        name = self._session.scene.player
        if name not in self._actors:
            self._actors[name] = self._session.player().make_actor()
        self._actor = self._actors[name]
        self._actor.reset(environments, seeds)
        self._session.begin(environments[0])

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        [timestep] = timesteps
        if timestep is None:
            raise RuntimeError("the environment is idle, expected one that is played")
        if not self._session.await_turn(timestep):
            return [ActorFailure("the viewer asked for another episode")]
        [action] = self.actor.act(timesteps)
        if not isinstance(action, ActorFailure):
            self._session.acted(action)
        return [action]

    def perturb(self, slot: int, action: Action) -> Action:
        return self.actor.perturb(slot, action)

    def describe(self, task: str) -> str:
        return self._session.player().describe(task)
