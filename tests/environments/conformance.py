"""What every task keeps, as functions that raise AssertionError, and digests of episodes from a second process.

    python -m tests.environments.conformance STEPS < TASKS

plays one episode of each task, whose names stand one a line, and prints a line for each: the name and the digest.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence

import dm_env
import numpy as np

from gato_jax.environments import Environment, load, status, suites, task_spec
from gato_jax.episodes import Text
from gato_jax.rollouts import random_action

ROOT = pathlib.Path(__file__).parents[2]
SEED, OTHER_SEED, EARLIER_SEED = 3, 4, 7
DIFFERS_WITHIN = 400  # steps after which two seeds show different episodes: a game is the same until it is started
FIXED_DAY = "2026-11-28"  # where there is no git


def day() -> str:
    """Returns the date of the newest commit."""
    command = ["git", "log", "-1", "--format=%cd", "--date=short"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return FIXED_DAY
    return said or FIXED_DAY


def runnable(suite: str) -> list[str]:
    return [name for task in suites()[suite].tasks if status(name := f"{suite}/{task}")[0] == "runnable"]


def drawn(suite: str, seed: str) -> list[str]:
    """Returns a tenth of the tasks of a suite, at least two, drawn by a seed."""
    tasks = runnable(suite)
    return random.Random(f"{seed} {suite}").sample(tasks, min(len(tasks), max(2, round(len(tasks) / 10))))


def play(environment: Environment, seed: int, steps: int) -> list[dm_env.TimeStep]:
    """Plays the same random actions in each episode, as many as it has, and at most `steps`."""
    generator = np.random.default_rng(0)
    environment.seed(seed)
    timesteps = [environment.reset()]
    while len(timesteps) <= steps and not timesteps[-1].last():
        timesteps.append(environment.step(random_action(environment.task_spec, generator)))
    return timesteps


def digest(timesteps: Sequence[dm_env.TimeStep]) -> str:
    """Returns a hash of all that the timesteps hold."""
    hashed = hashlib.sha256()
    for timestep in timesteps:
        hashed.update(repr((int(timestep.step_type), timestep.reward, timestep.discount)).encode())
        for key, value in sorted(timestep.observation.items()):
            held = value.encode() if isinstance(value, str) else value.tobytes()
            hashed.update(repr((key, getattr(value, "dtype", "str"), np.shape(value))).encode() + held)
    return hashed.hexdigest()


def check_task(name: str, steps: int, elsewhere: str, *, fresh: bool):
    """Checks one task; `elsewhere` is the digest of its episode in another process, `fresh` asks for a new instance."""
    environment = load(name)
    assert environment.task_spec == task_spec(name)
    assert environment.source and environment.licence
    play(environment, EARLIER_SEED, 2)
    used = play(environment, SEED, steps)
    check_observations(environment, used)
    assert digest(used) == elsewhere, "another process plays another episode of the same seed"
    if fresh:
        other = load(name)
        assert digest(play(other, SEED, steps)) == elsewhere, "a new instance plays another episode of the same seed"
        other.close()
    check_end(environment)
    check_another_seed(environment, min(steps, 3))
    environment.close()
    environment.close()


def check_observations(environment: Environment, timesteps: Sequence[dm_env.TimeStep]):
    """Checks every value against the spec, and the rewards and discounts."""
    specs = environment.observation_spec()
    for timestep in timesteps:
        assert list(timestep.observation) == list(specs)
        for key, modality in environment.task_spec.observation.items():
            value = timestep.observation[key]
            if isinstance(modality, Text):
                assert isinstance(value, str) and value
            else:
                specs[key].validate(value)
                assert np.isfinite(value).all(), key
        if not timestep.first():
            assert isinstance(timestep.reward, float) and np.isfinite(timestep.reward)
            assert timestep.discount == 1.0 or (timestep.last() and timestep.discount == 0.0)
    assert timesteps[0].first() and not any(timestep.last() for timestep in timesteps[:-1])


def check_end(environment: Environment):
    """Checks that an episode is cut off at its limit, with discount 1, and that the next step starts another."""
    limit, environment.max_steps = environment.max_steps, 2
    timesteps = play(environment, SEED, 10)
    assert timesteps[-1].last() and len(timesteps) <= 3
    assert len(timesteps) == 3 or timesteps[-1].discount == 0.0 or limit is None
    generator = np.random.default_rng(1)
    assert environment.step(random_action(environment.task_spec, generator)).first()
    environment.max_steps = limit


def check_another_seed(environment: Environment, steps: int):
    """Checks that another seed shows another episode, when the same actions are taken."""
    for number in (steps, DIFFERS_WITHIN):
        if digest(play(environment, SEED, number)) != digest(play(environment, OTHER_SEED, number)):
            return
    raise AssertionError(f"two seeds show the same {DIFFERS_WITHIN} steps")


class SecondProcess:
    """A process that plays the tasks one after the other, while this one goes on."""

    def __init__(self, tasks: Iterable[str], steps: int):
        self._complaints = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.environments.conformance", str(steps)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{task}\n" for task in tasks))
        self._process.stdin.close()
        self._digests: dict[str, str] = {}

    def digest(self, task: str) -> str:
        """Returns the digest of a task, once it has been played."""
        assert self._process.stdout is not None
        while task not in self._digests:
            line = self._process.stdout.readline().split()
            if len(line) != 2:
                self._complaints.seek(0)
                raise AssertionError(f"no digest but {line}: {self._complaints.read()[-3000:]}")
            self._digests[line[0]] = line[1]
        return self._digests[task]

    def close(self):
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._complaints.close()


def main():
    for task in sys.stdin.read().split():
        # Here, as the type checks of the tests draw from the global random state.
        before = random.getstate(), np.random.get_state()[1].tobytes()
        environment = load(task)
        said = digest(play(environment, SEED, int(sys.argv[1])))
        environment.close()
        keeps = before == (random.getstate(), np.random.get_state()[1].tobytes())
        print(task, said if keeps else "changes_the_global_random_state", flush=True)


if __name__ == "__main__":
    main()
