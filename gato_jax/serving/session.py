"""The conversation with one robot: its link, with the limits of the server, and its episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from gato_jax.episodes import TaskSpec
from gato_jax.serving.batching import Acted, Batcher, PolicyFailure
from gato_jax.serving.demonstrations import read_demonstration
from gato_jax.serving.limits import Limits, RateLimit
from gato_jax.serving.metrics import Metrics
from gato_jax.serving.observations import ObservationError, check_observation

_SEEDS = 2**32


class RequestError(ValueError):
    """A message that is refused while its connection stays open; the text is for its sender."""


class Link:
    """The websocket of one robot, within the limits of the server.

    Args:
      socket: the connection.
      limits: the limits.
      metrics: where to count refusals.
    """

    def __init__(self, socket: ServerConnection, limits: Limits, metrics: Metrics):
        self._socket, self._limits, self._metrics = socket, limits, metrics
        self._rate = RateLimit(limits.rate_hz)

    async def receive(self) -> bytes | None:
        """Return the next message; None when the connection is closed, by the client or because of a limit."""
        try:
            async with asyncio.timeout(self._limits.idle_s):
                message = await self._socket.recv()
        except ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
                self._metrics.count_refusal("message size")
            return None
        except TimeoutError:
            await self.end(CloseCode.POLICY_VIOLATION, f"no message in {self._limits.idle_s:g} s", "idle")
            return None
        if isinstance(message, str):
            await self.end(CloseCode.UNSUPPORTED_DATA, "a message is text, expected bytes of msgpack", "malformed")
            return None
        if delay := self._rate.delay(asyncio.get_running_loop().time()):
            self._metrics.count_refusal("rate")
            await asyncio.sleep(delay)
        return message

    async def send(self, message: bytes | str):
        """Send a message; the connection is cut if the client does not accept it in time.

        Raises:
          ConnectionClosed: The client has gone.
        """
        try:
            async with asyncio.timeout(self._limits.write_s):
                await self._socket.send(message)
        except TimeoutError:
            self._metrics.count_refusal("slow reader")
            if not self._socket.transport.is_closing():
                self._socket.transport.abort()

    async def end(self, code: CloseCode, reason: str, counted: str):
        """Close the connection with a code and a reason of at most 120 bytes, and count it."""
        self._metrics.count_refusal(counted)
        await self._socket.close(code, reason[:120])


class RobotSession:
    """The episodes of one robot on one task.

    Args:
      batcher: the policy.
      metrics: where to count answers.
      spec: the task.
      number: number of the session with the policy.
    """

    def __init__(self, batcher: Batcher, metrics: Metrics, spec: TaskSpec, number: int):
        self.spec = spec
        self._batcher, self._metrics, self._number = batcher, metrics, number
        self._episodes = 0
        self._begun = False

    async def begin(self, seed: Any = None, prompt: Any = None):
        """Begin an episode.

        Args:
          seed: seed of its samples; None takes the number of the episode on this connection, counted from 0.
          prompt: demonstration, see `read_demonstration`; None leaves the prompt to the server.

        Raises:
          RequestError: The seed is no integer in [0, 2**32), or the demonstration does not fit the task.
        """
        if seed is not None and not (type(seed) is int and 0 <= seed < _SEEDS):
            raise RequestError(f"{self.spec.name}: the seed is {seed!r:.40}, expected an integer in [0, {_SEEDS}).")
        try:
            episode = None if prompt is None else read_demonstration(self.spec, prompt)
            await self._batcher.reset(self._number, self._episodes if seed is None else seed, episode)
        except ValueError as error:  # of the check, or of the policy, e.g. a timestep that is too long
            raise RequestError(str(error)) from error
        self._episodes += 1
        self._begun = True

    async def act(self, message: Mapping[str, Any], *, ignore_others: bool = False) -> Acted:
        """Return the action after an observation; without an episode, begin one.

        Args:
          message: the keys and values of the observation.
          ignore_others: whether keys that the task does not have are left out, or refused.

        Raises:
          RequestError: The observation is not as the TaskSpec says; the episode goes on with the next one.
          PolicyFailure: The policy failed.
        """
        try:
            observation = check_observation(self.spec, message, ignore_others=ignore_others)
            if not self._begun:
                await self.begin()
            acted = await self._batcher.act(self._number, observation)
        except PolicyFailure:
            self._metrics.count_answer(self.spec.name, "failed")
            raise
        except ValueError as error:  # of the check above, or of the policy, e.g. a text that is too long
            self._metrics.count_answer(self.spec.name, "refused")
            raise RequestError(str(error)) from (None if isinstance(error, ObservationError) else error)
        self._metrics.count_answer(self.spec.name, "action")
        return acted
