"""Prompts: demonstrations of a task that an agent reads before an episode (paper, section 5)."""

from __future__ import annotations

import abc
import dataclasses

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.policy.agent import Agent
from gato_jax.policy.shapes import task_shape
from gato_jax.tokenization import TokenizationError, TokenSequence
from gato_jax.tokenization.sequence import concatenate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """Whole timesteps of a demonstration, as tokens.

    Attributes:
      task: Name of the task, `suite/task`.
      tokens: The tokens, at most half of the agent's context.
      source: Where the demonstration is from, such as a dataset and the number of the episode in it.
    """

    task: str
    tokens: TokenSequence
    source: str = ""

    @classmethod
    def of(
        cls,
        agent: Agent,
        episode: Episode,
        *,
        source: str = "",
        steps: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Prompt:
        """Return a prompt from an episode, as the batches of training make them.

        There are as many timesteps as would fit into half of the context if all were as long as the longest.

        Args:
          agent: The agent that reads the prompt.
          episode: The demonstration.
          source: As the attribute.
          steps: Maximum number of timesteps; None for as many as fit.
          rng: Chooses any window of the episode; None takes its end.

        Raises:
          UnknownTaskError: The agent was not trained on the task of the episode.
          TokenizationError: The episode does not fit the TaskSpec, or not even one timestep fits.
        """
        timesteps = agent.layout(episode.task).encode_timesteps(episode)
        room = prompt_room(agent)
        longest = max((len(tokens) for tokens in timesteps), default=0)
        count = min(steps or len(timesteps), len(timesteps), room // longest if longest else 0)
        if not count:
            raise TokenizationError(
                f"{episode.task}: a timestep of the prompt has {longest} tokens and the prompt has {len(timesteps)} "
                f"timesteps, expected one of at most half of the context, {room} tokens. Play without a prompt."
            )
        first = len(timesteps) - count if rng is None else int(rng.integers(len(timesteps) - count + 1))
        return cls(task=episode.task, tokens=concatenate(timesteps[first : first + count]), source=source)


class PromptSource(abc.ABC):
    """A chooser of the prompts of episodes. It is picklable, so that actors in other processes can have it."""

    @abc.abstractmethod
    def choose(self, agent: Agent, task: str, seed: int) -> Prompt | None:
        """Return the prompt of an episode, by its task and seed alone; None for none.

        Args:
          agent: The agent that reads the prompt.
          task: Name of the task, `suite/task`.
          seed: Seed of the episode.
        """

    def prepare(self, task: str):  # noqa: B027, as a source without slow work needs none
        """Do the slow work of a task's prompts, such as playing demonstrations, so that `choose` is quick."""

    @abc.abstractmethod
    def describe(self, task: str) -> str | None:
        """Return the origin of a task's prompts in words; None if its episodes have none."""


def prompt_room(agent: Agent) -> int:
    """Return the maximum number of tokens of a prompt: half of the context, as in training."""
    return (agent.decoding.context or agent.context) // 2


def timestep_tokens(agent: Agent, task: str, *, without_text: bool = False) -> int:
    """Return the number of tokens of a timestep of a control task.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      without_text: Leave out the tokens of observed texts. By default their number is estimated.
    """
    layout = agent.layout(task)
    shape = task_shape(layout, 0) if without_text else task_shape(layout)
    if shape is None:
        raise ValueError(f"{task}: the action is text, expected a control task. Play it without prompts.")
    return shape.length + shape.actions
