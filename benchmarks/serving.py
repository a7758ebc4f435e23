"""The policy server under load, under damaged messages, and in a control loop in real time.

    python -m benchmarks.serving load --workdir=runs/quickstart --clients=64 --seconds=300
    python -m benchmarks.serving fuzz --workdir=runs/quickstart --seconds=600
    python -m benchmarks.serving rate --workdir=runs/quickstart --rate_hz=20 --seconds=600

`load`: a quarter of the clients misbehave (benchmarks/serving_clients.py). Every action of the others is compared with
that of the same policy, run in this process. `fuzz`: damaged messages from several clients at once, beside one robot
whose actions are compared. `rate`: the control loop of gato_jax_client; then, for a twentieth of the time each, with a
network that adds one and a half periods to each request, and each kind of smoothing. The server is a process of its
own, whose memory is read from a fifth of the time to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import pathlib
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import psutil

from benchmarks.record import write_result
from benchmarks.serving_clients import FAULTS, FUZZ, Recorded, Target, made_observation, misbehave, play
from gato_jax.policy import Agent, Policy
from gato_jax.serving.agent import control_tasks

_PACKAGES = ["jax", "msgpack", "numpy", "websockets"]


def main():
    """Run one of the measurements and write its results."""
    parser = argparse.ArgumentParser(description="Benchmark of the policy server.")
    parser.add_argument("what", choices=("load", "fuzz", "rate"), help="Measurement.")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="Folder of a run.")
    parser.add_argument("--task", help="Name of the task. Default: the first control task of the agent.")
    parser.add_argument("--seconds", type=float, default=30.0, help="Duration of the measurement.")
    parser.add_argument("--clients", type=int, default=64, help="Number of clients at once, for `load`.")
    parser.add_argument("--client_hz", type=float, default=1.0, help="Observations a second of a robot, for `load`.")
    parser.add_argument("--rate_hz", type=float, default=20.0, help="Rate of the control loop, for `rate`.")
    parser.add_argument("--batch_rows", type=int, default=0, help="As of `gato serve`.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/serving_WHAT.json.")
    given = parser.parse_args()
    agent = Agent.restore(given.workdir)
    task = given.task or control_tasks(agent)[0]
    with _served(given, task, agent) as (target, process):
        measured = {"load": _load, "fuzz": _fuzz, "rate": _rate}[given.what](given, target, process, agent)
        assert process.poll() is None, "the server has ended"
    parameters = sum(leaf.size for leaf in jax.tree.leaves(agent.params))
    about = {"task": task, "agent": {"parameters": parameters, "trained_steps": agent.step}}
    write_result(f"serving_{given.what}", {**about, **measured}, _PACKAGES, module="serving", path=given.output)
    print(measured)


@contextlib.contextmanager
def _served(given: argparse.Namespace, task: str, agent: Agent) -> Iterator[tuple[Target, subprocess.Popen]]:
    command = [
        sys.executable,
        "-m",
        "gato_jax.cli",
        "serve",
        f"--workdir={given.workdir}",
        f"--task={task}",
        "--port=0",
    ]
    process = subprocess.Popen(
        [*command, "--max_rate_hz=1000", "--prompt=none", f"--batch_rows={given.batch_rows}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said: dict[str, str] = {}
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            said[word] = rest
            if word == "ready":
                break
        yield Target(address=said["ready"], token=said["token"], task=agent.layout(task).spec), process
    finally:
        process.terminate()
        process.wait(60)


def _load(given: argparse.Namespace, target: Target, process: subprocess.Popen, agent: Agent) -> dict[str, Any]:
    """Return latency, memory and wrong actions with `clients` clients, a quarter of which misbehave."""
    bad = given.clients // 4
    robots = [Recorded(seed=seed) for seed in range(given.clients - bad)]
    return _beside(given, target, process, agent, robots, bad, FAULTS)


def _fuzz(given: argparse.Namespace, target: Target, process: subprocess.Popen, agent: Agent) -> dict[str, Any]:
    """Return the same for one robot beside eight clients that send damaged messages as fast as they can."""
    given.client_hz = 5.0
    return _beside(given, target, process, agent, [Recorded(seed=0)], 8, FUZZ)


def _beside(
    given: argparse.Namespace,
    target: Target,
    process: subprocess.Popen,
    agent: Agent,
    robots: list[Recorded],
    bad: int,
    faults: Sequence[Callable],
) -> dict[str, Any]:
    """Play with robots beside `bad` clients that misbehave; return latency, memory, faults and wrong actions."""
    server, until = psutil.Process(process.pid), time.monotonic() + given.seconds
    memory, health, counts = [], [], {}

    async def watch():
        await asyncio.sleep(given.seconds / 5)
        while time.monotonic() < until:
            memory.append(server.memory_info().rss)
            begin = time.monotonic()
            await asyncio.to_thread(_check_health, target)
            health.append(time.monotonic() - begin)
            await asyncio.sleep(given.seconds / 50)

    async def run():
        players = [play(target, robot, until, given.client_hz) for robot in robots]
        others = [misbehave(target, random.Random(number), until, counts, faults) for number in range(bad)]
        await asyncio.gather(watch(), *players, *others)

    asyncio.run(run())
    latency = np.concatenate([robot.latency_s for robot in robots]) * 1000
    return {
        "seconds": given.seconds, "robots": len(robots), "misbehaving": bad, "faults": counts,
        "actions": len(latency), "wrong_actions": sum(_count_wrong(agent, target, robot) for robot in robots),
        "latency_ms": {f"p{q}": round(float(np.percentile(latency, q)), 2) for q in (50, 99, 100)},
        "health_ms": {f"p{q}": round(float(np.percentile(health, q)) * 1000, 2) for q in (50, 100)},
        "memory_mib": {"at_a_fifth": memory[0] / 2**20, "at_the_end": memory[-1] / 2**20, "most": max(memory) / 2**20},
        "memory_growth": round(memory[-1] / memory[0] - 1, 4),
    }  # fmt: skip


def _check_health(target: Target):
    with urllib.request.urlopen(target.address.replace("ws", "http", 1) + "/healthz", timeout=60) as answer:
        assert answer.read() == b"OK\n"


def _count_wrong(agent: Agent, target: Target, robot: Recorded) -> int:
    """Return the number of actions of an episode that differ from those of the same policy without a server."""
    policy = Policy(agent, target.task.name, 1)
    policy.reset(0, robot.seed)
    wrong = 0
    for step, action in enumerate(robot.actions):
        [expected] = policy.act([made_observation(target.task, robot.seed, step)])
        wrong += any(not np.array_equal(action[key], expected[key]) for key in expected)
    return wrong


def _rate(given: argparse.Namespace, target: Target, process: subprocess.Popen, agent: Agent) -> dict[str, Any]:
    """Return what the control loop reports, alone and with each kind of smoothing on a slow network."""
    sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients" / "gato_jax_client"))
    from gato_jax_client import ControlLoop, PolicyClient, Reply, Smoothing

    delay_s = 1.5 / given.rate_hz

    class Robot:
        """A robot that executes nothing, and sees noise."""

        step = 0

        def observe(self) -> dict[str, Any]:
            self.step += 1
            return made_observation(target.task, 0, self.step)

        def apply(self, action: dict[str, np.ndarray]):
            pass

    class SlowClient(PolicyClient):
        """A client whose requests take one and a half periods longer."""

        def act(self, observation: Mapping[str, Any]) -> Reply:
            time.sleep(delay_s)
            reply = super().act(observation)
            return dataclasses.replace(reply, latency_s=reply.latency_s + delay_s)

    def run(
        client_class: type[PolicyClient], method: Literal["hold", "linear", "safe"], seconds: float
    ) -> dict[str, Any]:
        with client_class(target.address, token=target.token) as client:
            safe = {key: np.zeros(value.shape, np.float32) for key, value in target.task.action.items()}
            smoothing = Smoothing(method=method)
            loop = ControlLoop(client, Robot(), rate_hz=given.rate_hz, safe_action=safe, smoothing=smoothing)
            return loop.run(seconds=seconds).to_json()

    alone = run(PolicyClient, "hold", given.seconds)
    methods: tuple[Literal["hold", "linear", "safe"], ...] = ("hold", "linear", "safe")
    slow = {method: run(SlowClient, method, given.seconds / 20) for method in methods}
    return {"seconds": given.seconds, "loop": alone, "added_latency_ms": 1000 * delay_s, "smoothing": slow}


if __name__ == "__main__":
    main()
