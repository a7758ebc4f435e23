"""The control loop and the actions between requests, in simulated time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gato_jax_client import ControlLoop, Reply, Smoothing
from gato_jax_client.clock import Clock
from gato_jax_client.requests import Answer, Requests
from gato_jax_client.smoothing import Smoother

RATE, PERIOD = 20, 0.05
SPEC = {"action": {"arm": {"kind": "continuous", "shape": [1], "low": -100.0, "high": 100.0}}}
SAFE = {"arm": [-1.0]}


class SimulatedClock(Clock):
    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep_until(self, at):
        self.time = max(self.time, at)


class SimulatedRequests(Requests):
    """Answers the observation of tick n with the action n, after the latency of its number."""

    def __init__(self, clock, latency):
        self.clock, self.latency, self.asked, self.pending = clock, latency, 0, None

    def offer(self, observation, at):
        if self.pending is None:
            latency = self.latency(self.asked)
            reply = Reply({"arm": np.array(observation["tick"], np.float32)[None]}, latency, 0.0, False)
            self.pending, self.asked = (self.clock.time + latency, Answer(at, reply=reply)), self.asked + 1
            return True
        return False

    def take(self, until):
        if self.pending is None or self.pending[0] > until:
            self.clock.sleep_until(until)
            return None
        (at, answer), self.pending = self.pending, None
        self.clock.sleep_until(at)
        return answer

    def close(self):
        pass


class Arm:
    """Its observations are the numbers of the ticks; observing takes a time that depends on the number."""

    def __init__(self, clock, delays):
        self.clock, self.delays, self.applied = clock, delays, []

    def observe(self):
        tick = round((self.clock.time - 100) / PERIOD)
        self.clock.time += self.delays.get(tick, 0.0)
        return {"tick": tick}

    def apply(self, action):
        self.applied.append(round(float(action["arm"][0]), 4))


class MadeClient:
    spec = SPEC


def run(smoothing, latency, *, ticks=12, delays=None, **settings):
    clock = SimulatedClock()
    arm = Arm(clock, delays or {})
    requests = SimulatedRequests(clock, latency)
    loop = ControlLoop(
        MadeClient(),
        arm,
        rate_hz=RATE,
        safe_action=SAFE,
        smoothing=smoothing,
        clock=clock,
        requests=requests,
        **settings,
    )
    report = loop.run(seconds=ticks * PERIOD)
    assert arm.applied.pop() == -1  # however it ends
    return arm.applied, report


def test_a_fast_server_is_followed_in_each_tick():
    for smoothing in (Smoothing("hold"), Smoothing("safe"), Smoothing("linear", blend_s=PERIOD)):
        applied, report = run(smoothing, lambda _: 0.01)
        assert applied == list(range(12)) and (report.ticks, report.missed, report.safe) == (12, 0, 0)
        assert set(report.histogram()) >= {"0 to 0.1", "50 and more"} and report.histogram()["0 to 0.1"] == 12


def test_actions_between_requests_when_latency_exceeds_a_period():
    """Each action takes a period and a half: one tick has none, the next one executes the action of the tick before."""
    applied, report = run(Smoothing("hold"), lambda _: 1.5 * PERIOD)
    assert applied == [-1, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10] and report.missed == 6 and report.safe == 1
    assert report.largest_step == {"arm": 2.0}
    applied, report = run(Smoothing("safe"), lambda _: 1.5 * PERIOD)
    assert applied == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10] and report.safe == 6
    assert report.largest_step == {"arm": 11.0}
    applied, report = run(Smoothing("linear", blend_s=2 * PERIOD), lambda _: 1.5 * PERIOD)
    assert applied == [-1, -0.5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9] and report.largest_step == {"arm": 1.0}


def test_a_silent_server_leads_to_the_safe_action_and_back():
    """The request of tick 2 takes 6 periods; actions are held for 2 periods."""

    def latency(number):
        return 6 * PERIOD if number == 2 else 0.01

    applied, report = run(Smoothing("hold", hold_s=2 * PERIOD), latency, ticks=11)
    assert applied == [0, 1, 1, 1, -1, -1, -1, -1, 2, 9, 10] and report.safe == 4 and report.missed == 6
    applied, _ = run(Smoothing("hold", hold_s=2 * PERIOD), latency, ticks=11, max_age_s=4 * PERIOD)
    assert applied == [0, 1, 1, 1, -1, -1, -1, -1, -1, 9, 10]
    applied, _ = run(Smoothing("linear", hold_s=2 * PERIOD, blend_s=2 * PERIOD), latency, ticks=11)
    assert applied == [-0.5, 0.25, 1, 1, 0, -1, -1, -1, 0.5, 4.75, 7.375]


def test_a_delay_is_not_made_up_for_by_a_burst():
    applied, report = run(Smoothing("hold"), lambda _: 0.01, delays={3: 2.6 * PERIOD})
    assert applied == [0, 1, 2, 2, 3, 6, 7, 8, 9, 10, 11]
    assert (report.skipped, report.missed, report.ticks) == (1, 1, 11) and max(report.lateness_s) <= PERIOD


@given(st.data())
def test_a_blend_stays_between_its_ends_and_never_jumps(data):
    blend = data.draw(st.sampled_from([2, 5])) * PERIOD
    smoother = Smoother(Smoothing("linear", blend_s=blend, hold_s=0.3), {"arm": np.zeros(1, np.float32)}, PERIOD)
    actions = data.draw(st.lists(st.none() | st.floats(-1, 1, width=32), min_size=1, max_size=20))
    before = np.zeros(1)
    for tick, value in enumerate(actions):
        new = None if value is None else {"arm": np.array([value], np.float32)}
        executed = smoother.execute(new, tick * PERIOD)["arm"]
        assert abs(executed - before) <= 2 * PERIOD / blend + 1e-6 and abs(executed) <= 1 + 1e-6
        before = executed


def test_integers_change_at_once():
    smoother = Smoother(Smoothing("linear", blend_s=1.0), {"gripper": np.array(0)}, PERIOD)
    assert smoother.execute({"gripper": np.array(1)}, 0.0)["gripper"] == 1


def test_a_smoothing_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="method is 'spline'"):
        Smoothing(method="spline")
    with pytest.raises(ValueError, match="hold_s is 0"):
        Smoothing(method="hold", hold_s=0)
