"""Requests of several robots, gathered within a deadline and acted on together in a thread of their own.

The event loop never waits for the policy: it goes on reading, answering health checks and gathering the next batch
while the thread computes. Opening, resetting and closing of sessions run in the same thread, in the order of the calls,
so a policy needs no locks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from gato_jax.episodes import Episode
from gato_jax.serving.metrics import Metrics
from gato_jax.serving.policy import Action, Observation, ServedPolicy

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class PolicyFailure(RuntimeError):
    """A fault of the policy, whose traceback is in the log of the server."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acted:
    """An action and where its time went.

    Attributes:
      action: the action.
      waited_s: seconds between the request and the start of its batch.
      acted_s: seconds that the policy took for the batch, until the action was in memory of the host.
      batch: number of requests in the batch.
    """

    action: Action
    waited_s: float
    acted_s: float
    batch: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    session: int
    observation: Observation
    answer: asyncio.Future[Acted]
    since: float


class Batcher:
    """A policy in a thread, whose requests are gathered into batches. Use it as an asynchronous context.

    A batch begins with its first request. It is complete when every open session has asked, when `max_batch` requests
    are there, or after `wait_s`, whichever comes first: a robot that is alone never waits.

    Args:
      policy: the policy.
      wait_s: seconds that the first request of a batch waits for others at most.
      max_batch: maximum number of requests in a batch.
      metrics: where to count batches and their times.
    """

    def __init__(self, policy: ServedPolicy, *, wait_s: float, max_batch: int, metrics: Metrics):
        self._policy, self._wait_s, self._max_batch, self._metrics = policy, wait_s, max_batch, metrics
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._sessions: set[int] = set()
        self._gathering: asyncio.Task | None = None

    async def __aenter__(self) -> Batcher:
        self._gathering = asyncio.create_task(self._gather())
        return self

    async def __aexit__(self, *error: object):
        if self._gathering is not None:
            self._gathering.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function in the thread of the policy."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def open(self, task: str) -> int:
        """Return the number of a new session for a task."""
        session = await self.run(self._policy.open, task)
        self._sessions.add(session)
        return session

    async def reset(self, session: int, seed: int, prompt: Episode | None = None):
        """Begin an episode in a session, see `ServedPolicy.reset`."""
        await self.run(self._policy.reset, session, seed, prompt)

    async def close(self, session: int):
        """Forget a session."""
        self._sessions.discard(session)
        await self.run(self._policy.close, session)

    async def act(self, session: int, observation: Observation) -> Acted:
        """Return the next action in a session, which has no other request under way.

        Raises:
          ValueError: The policy refuses the observation.
          PolicyFailure: The policy failed.
        """
        answer: asyncio.Future[Acted] = asyncio.get_running_loop().create_future()
        request = _Request(session=session, observation=observation, answer=answer, since=time.monotonic())
        self._requests.put_nowait(request)
        return await answer

    async def _gather(self):
        while True:
            batch = [await self._requests.get()]
            deadline = asyncio.get_running_loop().time() + self._wait_s
            while len(batch) < min(self._max_batch, len(self._sessions)):
                try:
                    async with asyncio.timeout_at(deadline):
                        batch.append(await self._requests.get())
                except TimeoutError:
                    break
            if batch := [request for request in batch if not request.answer.done()]:
                await self._act(batch)

    async def _act(self, batch: list[_Request]):
        """Answer the requests of a batch; an error of the policy answers all of them."""
        begin = time.monotonic()
        try:
            actions = await self.run(self._policy.act, {request.session: request.observation for request in batch})
            acted_s = time.monotonic() - begin
            self._metrics.count_batch(len(batch), acted_s, [begin - request.since for request in batch])
            for request in batch:
                _answer(request, actions[request.session], begin, acted_s, len(batch))
        except Exception:
            _log.exception("the policy failed in a batch of %d requests", len(batch))
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(PolicyFailure("the policy failed; the log of the server says why"))


def _answer(request: _Request, action: Action | ValueError, begin: float, acted_s: float, batch: int):
    if request.answer.done():  # its client has gone
        return
    if isinstance(action, ValueError):
        request.answer.set_exception(action)
    else:
        waited_s = begin - request.since
        request.answer.set_result(Acted(action=action, waited_s=waited_s, acted_s=acted_s, batch=batch))
