"""A control loop in real time: an observation and an action in each period, whatever the network does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from gato_jax_client.client import PolicyClient, RefusedError
from gato_jax_client.clock import Clock
from gato_jax_client.report import LoopReport
from gato_jax_client.requests import Answer, Requests, ThreadedRequests
from gato_jax_client.robot import check_action
from gato_jax_client.smoothing import Action, Smoother, Smoothing

MIN_HZ, MAX_HZ = 5.0, 60.0


class Robot(Protocol):
    """A robot that is controlled. Both methods should take a small part of a period."""

    def observe(self) -> Mapping[str, Any]:
        """Return the present observation {key: value}."""
        ...

    def apply(self, action: Action) -> None:
        """Execute an action, or begin to."""
        ...


class ControlLoop:
    """A loop of ticks at a fixed rate.

    In each tick it observes, sends the observation if no request is under way, waits for an action until a share of the
    period has passed, and executes the new action or what `smoothing` says. A tick that begins more than a period late
    is left out, so that a delay is never made up for by a burst of actions. Whatever ends the loop, the safe action is
    the last one.

    Args:
      client: the client, which nothing else may use meanwhile.
      robot: the robot.
      rate_hz: number of ticks a second, 5 to 60.
      safe_action: {key: value}, the action that is executed when there is no other.
      smoothing: what is executed between requests.
      wait_share: share of the period that a tick waits for its action.
      max_age_s: age of an observation in seconds beyond which its action is not executed any more.
      clock: the clock.
      requests: requests; None for those of the client in a thread.

    Raises:
      ValueError: The rate or the share is out of range.
      RobotError: The safe action is none of the robot's.
    """

    def __init__(
        self,
        client: PolicyClient,
        robot: Robot,
        *,
        rate_hz: float,
        safe_action: Mapping[str, Any],
        smoothing: Smoothing,
        wait_share: float = 0.8,
        max_age_s: float = 0.5,
        clock: Clock | None = None,
        requests: Requests | None = None,
    ):
        if not MIN_HZ <= rate_hz <= MAX_HZ:
            raise ValueError(f"rate_hz is {rate_hz}, expected {MIN_HZ:g} to {MAX_HZ:g}.")
        if not 0 < wait_share < 1:
            raise ValueError(f"wait_share is {wait_share}, expected a number between 0 and 1.")
        self._client, self._robot, self._rate_hz, self._smoothing = client, robot, rate_hz, smoothing
        self._safe = check_action(client.spec, safe_action, "the safe action")
        self._wait_share, self._max_age_s = wait_share, max_age_s
        self._clock = clock or Clock()
        self._requests = requests

    def run(self, *, seconds: float = math.inf) -> LoopReport:
        """Run for a time, or until Ctrl-C, and return what happened.

        Args:
          seconds: duration.

        Raises:
          RefusedError: The server refuses an observation. The safe action has been executed then, as for any error.
        """
        report, period = LoopReport(self._rate_hz), 1 / self._rate_hz
        smoother = Smoother(self._smoothing, self._safe, period)
        requests = self._requests or ThreadedRequests(self._client)
        start, tick, before = self._clock.now(), 0, self._safe
        try:
            while tick * period < seconds - 1e-9:
                planned = start + tick * period
                self._clock.sleep_until(planned)
                late = self._clock.now() - planned
                if late > period:
                    left_out = int(late / period)
                    report.skipped += left_out
                    tick += left_out
                    continue
                report.lateness_s.append(late)
                requests.offer(self._robot.observe(), planned)
                new = self._read(requests.take(planned + self._wait_share * period), planned, report)
                action = smoother.execute(new, planned)
                self._robot.apply(action)
                report.ticks += 1
                report.missed += new is None
                report.safe += smoother.is_safe
                _measure_step(report, before, action)
                before, tick = action, tick + 1
        except KeyboardInterrupt:
            pass
        finally:
            self._robot.apply(self._safe)
            requests.close()
        return report

    def _read(self, answer: Answer | None, planned: float, report: LoopReport) -> Action | None:
        """Return the action in an answer; None if there is none that may be executed."""
        if answer is None:
            return None
        if answer.reply is None:
            report.failed += 1
            if isinstance(answer.error, RefusedError):
                raise answer.error
            return None
        report.latency_s.append(answer.reply.latency_s)
        report.restarts += answer.reply.begins and len(report.latency_s) > 1
        if planned - answer.asked_at > self._max_age_s:
            report.stale += 1
            return None
        return answer.reply.action


def _measure_step(report: LoopReport, before: Action, action: Action):
    for key, value in action.items():
        if value.dtype.kind == "f":
            step = float(np.abs(value - before[key]).max(initial=0.0))
            report.largest_step[key] = max(report.largest_step.get(key, 0.0), step)
