"""The policy server: websockets for robots, and `/healthz` and `/metrics` for operators, on one port.

| path | answer |
|---|---|
| `/`, `/openpi` | a websocket in openpi's format |
| `/vla_eval` | a websocket in vla-eval's format |
| `/metrics` | metrics of Prometheus |
| `/healthz` | OK; the only path that needs no token |

`?task=suite/task` names the task, where the server has several.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import http
import logging
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from gato_jax.episodes import TaskSpec
from gato_jax.runtime.listening import format_address, quiet_logger
from gato_jax.serving import openpi, vla_eval
from gato_jax.serving.authentication import Token, require_safe
from gato_jax.serving.batching import Batcher, PolicyFailure
from gato_jax.serving.limits import Limits
from gato_jax.serving.metrics import Metrics
from gato_jax.serving.policy import ServedPolicy
from gato_jax.serving.session import Link, RobotSession

_log = logging.getLogger(__name__)
_Converse = Callable[[Link, RobotSession, Mapping[str, Any]], Awaitable[None]]
_FORMATS: dict[str, _Converse] = {"/": openpi.converse, "/openpi": openpi.converse, "/vla_eval": vla_eval.converse}


class PolicyServer:
    """A server of one policy.

    Args:
      policy: the policy, which is warmed up when the server starts.
      token: the token that clients must give; None for none, which only an address of this machine may have.
      host: address or name of the interface to listen on.
      port: port; 0 takes a free one.
      tls: settings of TLS; None for none.
      limits: limits of connections and messages.
      batch_wait_s: seconds that the first request of a batch waits for others at most.
      max_batch: maximum number of requests in a batch.

    Raises:
      AccessError: There is no token, and other machines can reach the address.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        *,
        token: Token | None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        batch_wait_s: float = 0.005,
        max_batch: int = 64,
    ):
        require_safe(host, token)
        self.metrics = Metrics()
        self._policy, self._token, self._host, self._port, self._tls = policy, token, host, port, tls
        self._limits = limits or Limits()
        self._batcher = Batcher(policy, wait_s=batch_wait_s, max_batch=max_batch, metrics=self.metrics)
        self._places = self._limits.connections

    async def run(self, stop: asyncio.Event, ready: Callable[[str], None]):
        """Compile, listen, and serve until `stop` is set; then close all connections.

        Args:
          stop: the event that ends the server.
          ready: called with the address, such as `ws://127.0.0.1:8000`, when the first request meets compiled programs.

        Raises:
          OSError: The address cannot be listened on.
        """
        limits = self._limits
        sockets: set[_Connection] = set()
        self.metrics.connections.set_function(lambda: len(sockets))
        factory = functools.partial(_Connection, others=sockets, most=limits.sockets)
        async with self._batcher:
            for task in self._policy.tasks:
                await self._batcher.run(self._policy.warm_up, task)
            async with websockets.asyncio.server.serve(
                cast(Any, self._serve_robot), self._host, self._port, process_request=cast(Any, self._route),
                create_connection=cast(Any, factory), ssl=self._tls, origins=[None], compression=None,
                max_size=limits.message_bytes, max_queue=2, open_timeout=limits.open_s, ping_interval=limits.ping_s,
                ping_timeout=limits.ping_s, close_timeout=min(limits.write_s, 2.0), server_header=None,
                logger=quiet_logger(__name__),
            ) as server:  # fmt: skip
                address = list(server.sockets)[0].getsockname()[:2]
                ready(format_address("ws" if self._tls is None else "wss", *address))
                await stop.wait()

    def _route(self, connection: _Connection, request: Request) -> Response | None:
        """Return the answer to a request that is none of a websocket, or None, and then note its task and format."""
        path, _, query = request.path.partition("?")
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        authorizations = request.headers.get_all("Authorization")
        if self._token is not None and not self._token.allows(authorizations[0] if authorizations else None):
            self.metrics.count_refusal("token")
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")
        if path == "/metrics":
            return connection.respond(http.HTTPStatus.OK, self.metrics.render())
        if path not in _FORMATS:
            return connection.respond(http.HTTPStatus.NOT_FOUND, f"expected one of the paths {', '.join(_FORMATS)}\n")
        named = urllib.parse.parse_qs(query).get("task", [])
        tasks = list(self._policy.tasks)
        task = named[-1] if named else tasks[0] if len(tasks) == 1 else ""
        if task not in self._policy.tasks:
            near = difflib.get_close_matches(task, tasks, 3, 0.4) or tasks
            text = f"task is {task!r:.100}, expected one of the server's tasks, such as {', '.join(near[:20])}"
            return connection.respond(
                http.HTTPStatus.BAD_REQUEST, f"{text}. Add ?task=suite/task to the address, or task= to PolicyClient.\n"
            )
        if self._places <= 0:
            self.metrics.count_refusal("connections")
            text = f"the server is full: it serves {self._limits.connections} robots"
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{text}\n")
        connection.spec, connection.converse = self._policy.tasks[task], _FORMATS[path]
        return None

    async def _serve_robot(self, connection: _Connection):
        """Serve one robot until it has gone or its time is over."""
        link = Link(connection, self._limits, self.metrics)
        if self._places <= 0:
            return await link.end(CloseCode.TRY_AGAIN_LATER, "the server is full", "connections")
        self._places -= 1
        number = None
        try:
            number = await self._batcher.open(connection.spec.name)
            session = RobotSession(self._batcher, self.metrics, connection.spec, number)
            with self.metrics.sessions.track_inprogress():
                async with asyncio.timeout(self._limits.session_s):
                    await connection.converse(link, session, self._about(connection.spec))
        except ConnectionClosed:
            pass  # the client has gone while it was answered
        except TimeoutError:
            await link.end(CloseCode.POLICY_VIOLATION, "the time of a session is over", "session time")
        except PolicyFailure:
            await link.end(CloseCode.INTERNAL_ERROR, "the policy failed; the log of the server says why", "policy")
        except Exception:
            _log.exception("a connection failed")
            await link.end(CloseCode.INTERNAL_ERROR, "internal error; the log of the server says why", "fault")
        finally:
            self._places += 1
            if number is not None:
                await self._batcher.close(number)

    def _about(self, spec: TaskSpec) -> dict[str, Any]:
        limits = {"message_bytes": self._limits.message_bytes, "rate_hz": self._limits.rate_hz}
        return {**self._policy.about, "task": spec.name, "spec": spec.to_json(), "limits": limits}


class _Connection(websockets.asyncio.server.ServerConnection):
    """A connection that is cut at once if too many others are open.

    Args:
      *arguments: as of the base class.
      others: the open connections of the server, which this one adds itself to.
      most: the maximum number of open connections.
      **settings: as of the base class.

    Attributes:
      spec: the task that the client asked for.
      converse: the format that it asked for.
    """

    spec: TaskSpec
    converse: _Converse

    def __init__(self, *arguments: Any, others: set[_Connection], most: int, **settings: Any):
        super().__init__(*arguments, **settings)
        self._others, self._most = others, most

    def connection_made(self, transport: asyncio.BaseTransport):
        self._others.add(self)
        super().connection_made(transport)
        if len(self._others) > self._most:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None):
        self._others.discard(self)
        super().connection_lost(exc)
