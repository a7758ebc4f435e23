"""A policy that computes in no time, a server of it in a thread, and the plainest client."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import websockets.sync.client

from gato_jax.episodes import Episode
from gato_jax.serving import Limits, PolicyServer, ServedPolicy, Token, neutral_observation, pack, unpack
from gato_jax.serving.policy import Action, Observation
from tests.tokenization.made_tasks import CONTROL, ROBOT
from tests.web.running import running

SECRET = "sixteen-characters-and-more"


class MadePolicy(ServedPolicy):
    """Actions that depend on seed and step and all that was seen in the episode, as those of an agent do.

    Args:
      gate: waited for in each call of `act`; None for none.
    """

    def __init__(self, *specs, gate: threading.Event | None = None):
        self.tasks = {spec.name: spec for spec in specs or (ROBOT, CONTROL)}
        self.about = {"agent": "made"}
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.fails = False
        self._gate = gate
        self._seen: dict[int, Any] = {}
        self._task: dict[int, str] = {}

    @property
    def open_sessions(self) -> int:
        return len(self._task)

    def open(self, task: str) -> int:
        number = max(self._task, default=0) + 1
        self._task[number] = task
        return number

    def reset(self, session: int, seed: int, prompt: Episode | None = None):
        self._seen[session] = hashlib.sha256(str(seed).encode())
        if prompt is not None:
            self._seen[session].update(prompt.observation["joints"].tobytes() + prompt.action["arm"].tobytes())

    def act(self, observations: Mapping[int, Observation]) -> dict[int, Action | ValueError]:
        self.threads.add(threading.get_ident())
        self.batches.append(len(observations))
        if self._gate is not None:
            assert self._gate.wait(20)
        if self.fails:
            raise ZeroDivisionError("made to fail")
        return {session: self._act_once(session, observation) for session, observation in observations.items()}

    def _act_once(self, session: int, observation: Observation) -> Action | ValueError:
        if observation.get("instruction") == "too long":
            return ValueError("the instruction is too long")
        for key, value in observation.items():
            self._seen[session].update(key.encode() + (value.encode() if isinstance(value, str) else value.tobytes()))
        rng = np.random.default_rng(int.from_bytes(self._seen[session].digest()[:8], "big"))
        if list(self.tasks[self._task[session]].action) == ["action"]:
            return {"action": rng.uniform(-1, 1, 2).astype(np.float32)}
        return {"gripper": np.array(rng.integers(2), np.int32), "arm": rng.uniform(-0.5, 0.5, 3).astype(np.float32)}

    def close(self, session: int):
        del self._task[session]


def played_locally(spec, seed: int, observations) -> list[Action]:
    """The actions of the policy that no server is between."""
    policy = MadePolicy(spec)
    session = policy.open(spec.name)
    policy.reset(session, seed)
    return [policy.act({session: observation})[session] for observation in observations]


def observation_of(spec, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    zero = neutral_observation(spec, "lift the cube")
    return {
        key: value + rng.normal(size=value.shape).astype(value.dtype)
        if getattr(value, "dtype", None) == np.float32
        else value
        for key, value in zero.items()
    }


@contextlib.contextmanager
def serving(
    policy: ServedPolicy, *, token: str | None = None, limits: Limits | None = None, **settings
) -> Iterator[Any]:
    """Yields the server, with its `address`."""
    server = PolicyServer(policy, token=Token(token) if token else None, limits=limits, **settings)
    with running(server) as server.address:
        yield server


@contextlib.contextmanager
def connected(server, path: str = f"/?task={ROBOT.name}", **settings) -> Iterator[Any]:
    with websockets.sync.client.connect(server.address + path, compression=None, max_size=None, **settings) as socket:
        yield socket


def ask(socket, message: Mapping[str, Any]) -> dict[str, Any] | str:
    """The answer in openpi's format; a text where the message is refused."""
    socket.send(pack(message, byte_keys=True))
    answer = socket.recv(timeout=20)
    return answer if isinstance(answer, str) else unpack(answer)
