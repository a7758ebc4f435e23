"""The evaluators that the config of a training run asks for: held-out losses, and scores of rollouts."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

from gato_jax.batching import Mixture
from gato_jax.environments import EVALUATION_SEEDS
from gato_jax.evaluation.agent_results import playable_tasks
from gato_jax.evaluation.demonstrations import choose_demonstrations
from gato_jax.model import graphdef
from gato_jax.policy import Agent, AgentActor, PromptSource, Temperature
from gato_jax.rollouts import play
from gato_jax.training import (
    ConfigError,
    Evaluator,
    EvaluatorsConfig,
    HeldOutLoss,
    TrainConfig,
    is_due,
    open_held_out_mixture,
    open_image_tokenizer,
)
from gato_jax.training.program import Program


class RolloutScores:
    """The mean score of an agent that plays tasks, as `rollout/TASK`; each time with the same seeds.

    Args:
      config: Tasks, number of episodes and settings of playing.
      make_agent: Function (step, params) -> agent.
      prompts: Chooser of the prompt of each episode. Default: no prompts.
    """

    def __init__(
        self,
        config: EvaluatorsConfig,
        make_agent: Callable[[int, nnx.State], Agent],
        prompts: PromptSource | None = None,
    ):
        self.config, self._make_agent, self._prompts = config, make_agent, prompts

    def prepare(self, program: Program):
        """Do nothing: the programs of acting are compiled when the first episode is played."""

    def __call__(self, step: int, params: nnx.State) -> dict[str, float]:
        """Return {"rollout/TASK": mean score} of each task. The agent acts on one device."""
        agent = self._make_agent(step, jax.device_put(params, jax.local_devices()[0]))
        sampling = Temperature(temperature=self.config.temperature)
        make_actor = functools.partial(AgentActor, agent, sampling=sampling, prompts=self._prompts)
        scores = {}
        for task in self.config.tasks:
            starts = [(task, seed) for seed in EVALUATION_SEEDS[: self.config.episodes]]
            played = play(make_actor, starts, environments=self.config.environments)
            scores[f"rollout/{task}"] = float(np.mean([one.score for one in played if one.score is not None]))
        return scores


def open_evaluators(config: TrainConfig, mixture: Mixture, workdir: pathlib.Path) -> list[Evaluator]:
    """Return the evaluators of a run, none if no evaluation is due before its last step.

    Args:
      config: Config of the run.
      mixture: The mixture that the run trains on.
      workdir: Folder of the run.

    Raises:
      ConfigError: There are fewer seeds than `evaluators.episodes`.
      UnknownTaskError, MissingPackageError, ContractError: A task of `evaluators.tasks` cannot be played, is not in the
        mixture, or has another TaskSpec there.
      NoDemonstrationError: `evaluators.prompt` is `demonstration`, and a task cannot have one.
      ValueError: A held-out split cannot be used (see `batching.open_held_out`).
    """
    if not is_due(config, 0, config.steps):
        return []
    image_tokenizer = open_image_tokenizer(config, workdir)
    found: list[Evaluator] = []
    if config.evaluators.held_out_rows:
        held_out = open_held_out_mixture(config, mixture, image_tokenizer)
        if held_out is not None:
            found.append(HeldOutLoss(config, held_out))
    if config.evaluators.tasks:
        if config.evaluators.episodes > len(EVALUATION_SEEDS):
            raise ConfigError(
                f"evaluators.episodes is {config.evaluators.episodes}, expected at most {len(EVALUATION_SEEDS)}"
            )
        agent = Agent(
            config.model, graphdef(config.model), nnx.State({}), mixture.contract, context=config.context,
            memory_steps=mixture.memory_steps, step=0, image_tokenizer=image_tokenizer, name=workdir.name,
        )  # fmt: skip
        tasks = playable_tasks(agent, config.evaluators.tasks)
        prompts = choose_demonstrations(agent, config.datasets, tasks, config.evaluators.prompt)
        found.append(
            RolloutScores(
                config.evaluators, lambda step, params: dataclasses.replace(agent, step=step, params=params), prompts
            )
        )
    return found
