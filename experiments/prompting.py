"""Two tasks with the same observations and opposite goals, told apart by the prompt alone (paper, section 2.2).

    python -m experiments.prompting --workdir=runs/prompting

A cart on a rail goes to the left end in one task and to the right end in the other. An agent that is trained on both
cannot tell them apart before it has seen what was done, unless a demonstration prompts it. It is played in each task
with a demonstration of the task, with none, and with one of the other task; results are in
experiments/results/prompting.json. It takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dm_env
import jax
import numpy as np

from gato_jax import training
from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.environments import EVALUATION_SEEDS, RECORDING_SEEDS, Environment
from gato_jax.environments.base import Outcome
from gato_jax.episodes import Continuous, EpisodeDataset, TaskSpec, open_dataset, write_dataset
from gato_jax.model import ModelConfig
from gato_jax.policy import Agent, AgentActor, Prompt, PromptSource
from gato_jax.rollouts import Action, Actor, play
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.runtime.sessions import machine
from gato_jax.tokenization import Tokenization, Vocabulary

RESULTS = pathlib.Path(__file__).parent / "results" / "prompting.json"
GOALS = {"rail/left": -1.0, "rail/right": 1.0}
CASES = ("demonstration", "none", "demonstration of the other task")
_LENGTH, _SPEED, _NOISE = 16, 0.2, 0.3


class Rail(Environment):
    """A cart on a rail from -1 to 1. The return is the progress from its start to the goal, as a share of the way."""

    source, licence = "gato_jax experiments", "Apache-2.0"

    def __init__(self, task: str):
        super().__init__(
            TaskSpec(
                suite="rail",
                task=task.removeprefix("rail/"),
                observation={"position": Continuous(shape=(1,))},
                action={"force": Continuous(shape=(1,), low=-1.0, high=1.0)},
            )  # fmt: skip
        )
        self.goal = GOALS[task]

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        self.at = 0
        self.position = self.start = float(np.random.default_rng(seed).uniform(-0.5, 0.5))
        return self._observe()

    def _advance(self, action: Mapping[str, np.ndarray]) -> Outcome:
        before, self.at = self.position, self.at + 1
        self.position = float(np.clip(before + _SPEED * action["force"][0], -1.0, 1.0))
        progress = (self.position - before) / (self.goal - self.start)
        return Outcome(observation=self._observe(), reward=progress, truncated=self.at == _LENGTH)

    def render(self) -> np.ndarray:
        frame = np.zeros((8, 65, 3), np.uint8)
        frame[:, round(32 * (1 + self.position))] = 255
        return frame

    def _observe(self) -> dict[str, np.ndarray]:
        return {"position": np.array([self.position], np.float32)}


class Driver(Actor):
    """An expert that drives to the goal; noise on what it executes shows how it comes back."""

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        self._goals = [GOALS[environment.task_spec.name] for environment in environments]
        self._rng = np.random.default_rng([seed or 0 for seed in seeds])

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action]:
        positions = [0.0 if timestep is None else timestep.observation["position"][0] for timestep in timesteps]
        ways = zip(self._goals, positions, strict=True)
        return [{"force": np.clip([4 * (goal - position)], -1, 1).astype(np.float32)} for goal, position in ways]

    def perturb(self, slot: int, action: Action) -> Action:
        return {"force": np.clip(action["force"] + _NOISE * self._rng.normal(size=1), -1, 1).astype(np.float32)}

    def describe(self, task: str) -> str:
        return f"proportional controller; noise {_NOISE} on executed actions"


@dataclasses.dataclass(frozen=True)
class RecordedPrompts(PromptSource):
    """Prompts from recorded episodes, of another task than the one that is played if that is asked for.

    Attributes:
      datasets: {task that is played: the demonstrations}.
    """

    datasets: Mapping[str, EpisodeDataset]

    def choose(self, agent: Agent, task: str, seed: int) -> Prompt:
        episodes = self.datasets[task]
        episode = episodes[int(np.random.default_rng(seed).integers(len(episodes)))]
        return dataclasses.replace(Prompt.of(agent, episode, source=episodes.spec.name), task=task)

    def describe(self, task: str) -> str:
        return f"recorded episodes of {self.datasets[task].spec.name}"


def record(workdir: pathlib.Path, episodes: int = 200) -> dict[str, EpisodeDataset]:
    """Record the expert in both tasks, and return {task: its dataset}."""
    datasets = {}
    for task in GOALS:
        starts = [(task, seed) for seed in RECORDING_SEEDS[:episodes]]
        splits = {"train": play(Driver, starts, load=Rail)}
        datasets[task] = open_dataset(write_dataset(workdir / "data", Rail(task).task_spec, splits, overwrite=True))
    return datasets


def train(workdir: pathlib.Path, datasets: Mapping[str, EpisodeDataset], steps: int) -> Agent:
    """Train a small agent on both tasks, with prompts in half of the rows, and return it; it has no room for text."""
    tokenization = Tokenization(vocabulary=Vocabulary(text=256, bins=256))
    config = training.TrainConfig(
        seed=0, batch_size=32, context=96, steps=steps, log_every=20,
        model=ModelConfig(
            layers=2, width=64, heads=4, head_size=16, hidden=256, patch_channels=32, position="rope",
            stochastic_depth=0.0, tokenization=tokenization,
        ),
        optimizer=training.OptimizerConfig(peak_learning_rate=3e-3, warmup_steps=min(20, steps - 1)),
        datasets={
            task.replace("/", "_"): DatasetConfig(
                source=f"recorded:{dataset.directory}", weight=1.0, prompt_share=0.5
            )
            for task, dataset in datasets.items()
        },
    )  # fmt: skip
    training.train(config, training.open_run_mixture(config, workdir), workdir)
    return Agent.restore(workdir)


def measure(agent: Agent, datasets: Mapping[str, EpisodeDataset], episodes: int) -> dict[str, dict[str, float]]:
    """Return {case: {task: mean return}} of the agent in each task, with each kind of prompt."""
    other = dict(zip(datasets, [*datasets.values()][::-1], strict=True))
    prompts = dict(zip(CASES, (RecordedPrompts(datasets), None, RecordedPrompts(other)), strict=True))
    found: dict[str, dict[str, float]] = {case: {} for case in CASES}
    for case, source in prompts.items():
        for task in GOALS:
            starts = [(task, seed) for seed in EVALUATION_SEEDS[:episodes]]
            played = play(lambda source=source: AgentActor(agent, prompts=source), starts, environments=10, load=Rail)
            found[case][task] = float(np.mean([episode.episode_return for episode in played]))
    return found


def run(workdir: pathlib.Path, *, steps: int, episodes: int) -> dict[str, Any]:
    """Record, train and play, and return the results."""
    datasets = record(workdir)
    returns = measure(train(workdir, datasets, steps), datasets, episodes)
    return {
        "steps": steps,
        "episodes": episodes,
        "mean_return": {case: round(float(np.mean([*tasks.values()])), 4) for case, tasks in returns.items()},
        "return_by_task": {
            case: {task: round(value, 4) for task, value in tasks.items()} for case, tasks in returns.items()
        },
    }


def main():
    """Run the experiment and write the file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workdir",
        type=pathlib.Path,
        default=pathlib.Path("runs/prompting"),
        help="folder of the recorded episodes and of the run",
    )
    parser.add_argument("--steps", type=int, default=600, help="number of training steps")
    parser.add_argument("--episodes", type=int, default=50, help="number of episodes to play in each case")
    given = parser.parse_args()
    measured = run(given.workdir, steps=given.steps, episodes=given.episodes)
    origin = {
        "command": shlex.join(["python", "-m", "experiments.prompting", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"python": sys.version.split()[0], "jax": jax.__version__},
    }
    with atomic_file(RESULTS) as written:
        written.write_text(json.dumps({**origin, **measured}, indent=2) + "\n")
    for case, value in measured["mean_return"].items():
        print(f"prompt: {case}: mean return {value:.2f}")
    print(f"results in {RESULTS}")


if __name__ == "__main__":
    main()
