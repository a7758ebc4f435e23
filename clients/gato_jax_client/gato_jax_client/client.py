"""A connection to the policy server, which is made again when it is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from gato_jax_client.robot import check_action, require_complete, require_robot
from gato_jax_client.wire import WireError, pack, unpack

_EPISODE, _TIMING = "__episode__", "server_timing"


class ClientError(RuntimeError):
    """A request without an action; the message says why."""


class ConnectionFailure(ClientError):
    """A server that is not reached, or does not answer in time. The next request connects again."""


class RefusedError(ClientError):
    """An observation or a connection that the server refuses, with its reason. To repeat it would not help."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """An action and where its time went.

    Attributes:
      action: {key: array} in the units of the robot.
      latency_s: seconds from the call to the action, those of reconnecting included.
      server_s: seconds of them that the server spent, waiting for a batch included.
      begins: whether an episode began with the observation: the policy remembers nothing from before.
    """

    action: dict[str, np.ndarray]
    latency_s: float
    server_s: float
    begins: bool


class PolicyClient:
    """A client of `gato serve` for one robot. It connects at once.

    Args:
      address: address of the server, such as `ws://192.168.0.2:8000`, or `wss://` with TLS.
      token: token of the server; None for none.
      task: name of the task, where the server has several.
      robot: description of the robot, see `describe`, which is compared with the task at each connection; None for no
        comparison.
      timeout_s: seconds that connecting and a request may take.
      attempts: number of attempts to connect, with pauses of 0.1, 0.2, 0.4 s and so on, 5 s at most.
      ca_file: file of certificates that a `wss://` server is checked by. Default: those of the system.

    Attributes:
      about: facts about policy and task that the server tells.
      spec: the TaskSpec, of JSON types.
      reconnects: number of connections after the first one.

    Raises:
      ConnectionFailure: The server is not reached.
      RefusedError: The server refuses the connection, e.g. because of the token.
      RobotError: The robot differs from the task.
      ValueError: The address is not that of a websocket.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        task: str | None = None,
        robot: Mapping[str, Any] | None = None,
        timeout_s: float = 10.0,
        attempts: int = 5,
        ca_file: str | None = None,
    ):
        if not address.startswith(("ws://", "wss://")):
            raise ValueError(f"address is {address!r}, expected ws://HOST:PORT or wss://HOST:PORT.")
        query = f"?{urllib.parse.urlencode({'task': task})}" if task else ""
        self._url = f"{address.rstrip('/')}/openpi{query}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._robot, self._timeout_s, self._attempts = robot, timeout_s, max(1, attempts)
        self._tls = ssl.create_default_context(cafile=ca_file) if address.startswith("wss:") else None
        self._open = contextlib.ExitStack()  # the connection, which its own context closes
        self._socket: Any = None
        self._episode: dict[str, Any] = {}
        self._begins = True
        self.reconnects = -1
        self.about: dict[str, Any] = {}
        self.spec: dict[str, Any] = {}
        self._connect()

    def reset(self, seed: int | None = None, prompt: Mapping[str, Mapping[str, Any]] | None = None):
        """Begin an episode at the next observation.

        Args:
          seed: seed of the samples, in [0, 2**32); None leaves it to the server.
          prompt: demonstration that the policy reads first, {observation: {key: values}, action: {key: values}}, arrays
            with an axis of timesteps before their own axes and lists of texts; None leaves it to the server.
        """
        self._begins, episode = True, {"seed": seed, "prompt": prompt}
        self._episode = {key: value for key, value in episode.items() if value is not None}

    def act(self, observation: Mapping[str, Any]) -> Reply:
        """Return the action after an observation.

        If the connection is lost, connect again and begin an episode with this observation, because the server has
        forgotten those before.

        Args:
          observation: {key: value}, with the keys of the task.

        Raises:
          ConnectionFailure: There is no connection, or no answer in time.
          RefusedError: The server refuses the observation.
          RobotError: The action is none that the robot can execute, or the task of the server has changed.
        """
        begin = time.monotonic()
        try:
            answer, begins = self._exchange(observation), self._begins
        except ConnectionClosed:
            self._connect()
            try:
                answer, begins = self._exchange(observation), True
            except ConnectionClosed as closed:
                raise ConnectionFailure(f"the server closed the connection: {closed}") from closed
        if isinstance(answer, str):
            raise RefusedError(answer)
        self._begins = False
        timing = answer.pop(_TIMING, {})
        action = check_action(self.spec, answer, "the action of the server")
        server_s = (timing.get("infer_ms", 0.0) + timing.get("wait_ms", 0.0)) / 1000
        return Reply(action, time.monotonic() - begin, server_s, begins)

    def close(self):
        """Close the connection."""
        self._drop()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *error: object):
        self.close()

    def _exchange(self, observation: Mapping[str, Any]) -> dict[str, Any] | str:
        """Return the answer to an observation, a text if it is refused."""
        if self._socket is None:
            self._connect()
        socket: Any = self._socket
        episode = {_EPISODE: self._episode} if self._begins else {}
        message = pack({**observation, **episode}, byte_keys=True)
        try:
            socket.send(message)
            answer = socket.recv(timeout=self._timeout_s)
            return answer if isinstance(answer, str) else unpack(answer)
        except TimeoutError:
            self._drop()  # its answer may still come, and would be taken for that of a later observation
            raise ConnectionFailure(f"no action within {self._timeout_s:g} s") from None
        except WireError as error:
            self._drop()
            raise ConnectionFailure(f"the server sends what is no message ({error})") from None

    def _connect(self):
        self._drop()
        failure: ClientError = ConnectionFailure(f"cannot reach {self._url}")
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(min(0.1 * 2 ** (attempt - 1), 5.0))
            try:
                return self._connect_once()
            except InvalidStatus as error:
                body = (error.response.body or b"").decode("utf-8", "replace").strip()
                failure = RefusedError(f"the server refuses the connection: {body:.500}")
                if error.response.status_code != 503:  # which is that of a server that is full
                    raise failure from None
            except (OSError, TimeoutError, ConnectionClosed, InvalidHandshake) as error:
                failure = ConnectionFailure(f"cannot reach {self._url}: {error or type(error).__name__}")
        raise failure

    def _connect_once(self):
        tls: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        connection = websockets.sync.client.connect(
            self._url, compression=None, max_size=2**24, additional_headers=self._headers, close_timeout=1.0,
            open_timeout=self._timeout_s, **tls,
        )  # fmt: skip
        self._socket = self._open.enter_context(connection)
        self.about = unpack(self._socket.recv(timeout=self._timeout_s))
        if not isinstance(self.about.get("spec"), dict):
            self._drop()
            raise RefusedError(f"{self._url} tells no spec of a task, expected a server of gato_jax")
        self.spec = self.about["spec"]
        try:
            require_complete(self.spec, f"the spec that {self._url} tells", "Is it a server of gato_jax?")
            if self._robot is not None:
                require_robot(self._robot, self.spec, self.about["task"])
        except ValueError:
            self._drop()
            raise
        self._begins = True
        self.reconnects += 1

    def _drop(self):
        self._socket = None
        self._open.close()
