"""Clients of the policy server for its benchmark: robots whose actions are recorded, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.serving import pack, unpack

# Ends of a connection. websockets raises AttributeError where it cuts a connection that has just been cut.
EXPECTED = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, asyncio.IncompleteReadError, AttributeError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The server under test.

    Attributes:
      address: its address.
      token: its token.
      task: the task that is served.
    """

    address: str
    token: str
    task: TaskSpec

    def connect(self, path: str = "/openpi", *, token: bool = True) -> websockets.asyncio.client.connect:
        """Return the context of a connection, with the token or without it."""
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        url = self.address + path
        return websockets.asyncio.client.connect(
            url, compression=None, max_size=None, additional_headers=headers, proxy=None, open_timeout=60,
            ping_timeout=60, close_timeout=1,
        )  # fmt: skip

    async def open_socket(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a bare connection of TCP."""
        url = urllib.parse.urlsplit(self.address)
        return await asyncio.open_connection(url.hostname, url.port)


@dataclasses.dataclass(kw_only=True)
class Recorded:
    """The episode of one robot.

    Attributes:
      seed: seed of the episode and of its observations.
      actions: the actions that the server gave.
      latency_s: seconds that each took.
    """

    seed: int
    actions: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    latency_s: list[float] = dataclasses.field(default_factory=list)


def made_observation(spec: TaskSpec, seed: int, step: int) -> dict[str, Any]:
    """Return a random observation of a task."""
    rng, values = np.random.default_rng([seed, step]), {}
    for key, modality in spec.observation.items():
        match modality:
            case Text():
                values[key] = (spec.instructions or ("",))[0]
            case Image():
                values[key] = rng.integers(256, size=modality.shape, dtype=np.uint8)
            case Discrete():
                values[key] = rng.integers(modality.n, size=modality.shape)
            case Continuous():
                low, high = (limit.reshape(modality.shape) for limit in modality.limits)
                values[key] = np.clip(rng.normal(size=modality.shape), low, high).astype(np.float32)
    return values


async def play(target: Target, recorded: Recorded, until: float, hz: float):
    """Play one episode until a time of the monotonic clock, with `hz` observations a second, and record the actions."""
    async with target.connect() as robot:
        await robot.recv()
        begin, step = time.monotonic(), 0
        while (now := time.monotonic()) < until:
            observation = made_observation(target.task, recorded.seed, step)
            episode = {} if step else {"__episode__": {"seed": recorded.seed}}
            await robot.send(pack({**observation, **episode}, byte_keys=True))
            answer = await robot.recv()
            recorded.latency_s.append(time.monotonic() - now)
            if isinstance(answer, str):
                raise ValueError(f"the server refuses an observation: {answer}")
            action = unpack(answer)
            recorded.actions.append({key: action[key] for key in target.task.action})
            step += 1
            await asyncio.sleep(max(0.0, begin + step / hz - time.monotonic()))


async def misbehave(
    target: Target, rng: random.Random, until: float, counts: dict[str, int], faults: Sequence[Callable]
):
    """Connect again and again until a time of the monotonic clock, each time with one of the faults, and count them."""
    while time.monotonic() < until:
        fault = rng.choice(faults)
        counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
        with contextlib.suppress(*EXPECTED):
            async with asyncio.timeout(5):
                await fault(target, rng)


async def malformed(target: Target, rng: random.Random):
    """Send random bytes."""
    async with target.connect(rng.choice(("/openpi", "/vla_eval"))) as robot:
        await robot.send(rng.randbytes(rng.randrange(2000)))
        await robot.recv()
        await robot.recv()


async def damaged(target: Target, rng: random.Random):
    """Send an observation with a few wrong bytes."""
    async with target.connect() as robot:
        await robot.recv()
        message = bytearray(pack(made_observation(target.task, 0, 0), byte_keys=True))
        for _ in range(rng.randrange(1, 6)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        await robot.send(bytes(message[: rng.choice((len(message), rng.randrange(1, len(message))))]))
        await robot.recv()


async def oversized(target: Target, rng: random.Random):
    """Send a message that is too long."""
    async with target.connect() as robot:
        await robot.send(bytes(2**24))
        await robot.recv()
        await robot.recv()


async def slow(target: Target, rng: random.Random):
    """Send a handshake byte by byte."""
    _, writer = await target.open_socket()
    with contextlib.closing(writer):
        for byte in b"GET /openpi HTTP/1.1\r\nHost: x\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)


async def half_open(target: Target, rng: random.Random):
    """Connect and say nothing, not even the end."""
    _, writer = await target.open_socket()
    with contextlib.closing(writer):
        await asyncio.sleep(3)


async def vanishing(target: Target, rng: random.Random):
    """Send an observation and cut the connection."""
    async with target.connect() as robot:
        await robot.recv()
        await robot.send(pack(made_observation(target.task, 1, 0), byte_keys=True))
        robot.transport.abort()


async def without_token(target: Target, rng: random.Random):
    """Ask for an action without the token."""
    async with target.connect(token=False) as robot:
        await robot.recv()
        raise ValueError("the server answers without the token")


FAULTS: tuple[Callable, ...] = (malformed, damaged, oversized, slow, half_open, vanishing, without_token)
FUZZ: tuple[Callable, ...] = (malformed, damaged)
