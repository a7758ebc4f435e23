"""Requests in a thread of their own, so that a control loop never waits for the network longer than it wants to."""

from __future__ import annotations

import abc
import dataclasses
import threading
import time
from collections.abc import Mapping
from typing import Any

from gato_jax_client.client import ClientError, PolicyClient, Reply


@dataclasses.dataclass(frozen=True)
class Answer:
    """The outcome of a request: a reply, or the error that there is none.

    Attributes:
      asked_at: time in seconds of the observation.
      reply: the reply; None if there is an error.
      error: the error; None if there is a reply.
    """

    asked_at: float
    reply: Reply | None = None
    error: Exception | None = None


class Requests(abc.ABC):
    """One request at a time."""

    @abc.abstractmethod
    def offer(self, observation: Mapping[str, Any], at: float) -> bool:
        """Begin a request and return True; return False if one is under way.

        Args:
          observation: the observation.
          at: its time in seconds.
        """

    @abc.abstractmethod
    def take(self, until: float) -> Answer | None:
        """Return the outcome of the request as soon as it is there; None if it is not there until a time in seconds."""

    @abc.abstractmethod
    def close(self):
        """End the requests."""


class ThreadedRequests(Requests):
    """Requests of a client in a thread.

    Args:
      client: the client, which nothing else may use meanwhile.
    """

    def __init__(self, client: PolicyClient):
        self._client = client
        self._changed = threading.Condition()
        self._question: tuple[Mapping[str, Any], float] | None = None
        self._answer: Answer | None = None
        self._busy = False  # from the offer until the answer is taken
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="policy requests")
        self._thread.start()

    def offer(self, observation: Mapping[str, Any], at: float) -> bool:
        with self._changed:
            if self._busy:
                return False
            self._question, self._busy = (observation, at), True
            self._changed.notify_all()
        return True

    def take(self, until: float) -> Answer | None:
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None, max(0.0, until - time.monotonic()))
            answer, self._answer = self._answer, None
            self._busy = self._busy and answer is None
        return answer

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._question is not None or self._closed)
                if self._question is None or self._closed:
                    return
                (observation, at), self._question = self._question, None
            try:
                answer = Answer(at, reply=self._client.act(observation))
            except (ClientError, ValueError) as error:
                answer = Answer(at, error=error)
            with self._changed:
                self._answer = answer
                self._changed.notify_all()
