"""The agent as a chooser of actions in rows that may play different control tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.policy.agent import Agent
from gato_jax.policy.decoding import Decoding
from gato_jax.policy.prompts import Prompt
from gato_jax.policy.rows import DecodeRows
from gato_jax.policy.sampling import Sampling, Temperature
from gato_jax.tokenization import Layout, Tokenization
from gato_jax.tokenization.settings import ACTION_BINS


class MixedPolicy(DecodeRows):
    """A chooser of actions in a fixed number of rows, each of which plays a task of its own.

    All rows are decoded by one call of one compiled program, at the padded sizes that the largest of them needs. So it
    is fastest if the rows are of similar sizes (see `Agent.shapes`). It is not safe to be used by several threads.

    Args:
      agent: The agent.
      rows: Number of rows.
      sampling: The way to choose a token.
      decoding: How the network is run. Default: as the agent says.
    """

    def __init__(self, agent: Agent, rows: int, *, sampling: Sampling | None = None, decoding: Decoding | None = None):
        spans = action_spans(agent.contract.tokenization)
        shapes = agent.shapes(loops=(decoding or agent.decoding).loops)
        super().__init__(agent, rows, spans, shapes, sampling or Temperature(), decoding)
        self._layouts: dict[str, Layout] = {}
        self._playing: list[Layout | None] = [None] * rows
        self._begins = np.ones(rows, bool)

    def reset(self, row: int, task: str, seed: int, *, prompt: Prompt | None = None, begins: bool = True):
        """Forget the timesteps of one row, and begin an episode in it.

        Samples then depend on the seed, the prompt and the later observations of this row alone.

        Args:
          row: Index of the row.
          task: Name of the task, `suite/task`.
          seed: Seed of the samples.
          prompt: Demonstration that the agent reads first, and does not forget in this episode.
          begins: True if the next observation is the first one of an episode, before which `task_text_first` puts the
            text of the task; False if it is a later one of a recording.

        Raises:
          UnknownTaskError: The agent was not trained on the task.
          ValueError: There is no such row, or the prompt is of another task or too long.
        """
        if task not in self._layouts:
            self._layouts[task] = self.agent.layout(task)
        layout = self._layouts[task]
        self.begin(row, layout, layout.action_ranges, seed, prompt)
        self._playing[row], self._begins[row] = layout, begins

    def act(self, observations: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, np.ndarray]]:
        """Return the next action {key: array} in each row that observes something, in the units of its task.

        Args:
          observations: {row: its observation {key: value}}. The rows that are left out stay as they are.

        Raises:
          ValueError: A row has not been reset.
          TokenizationError: An observation does not fit the TaskSpec, or is longer than the agent's context. No row
            has then advanced.
        """
        if not observations:
            return {}
        steps, rows_of = {}, dict[str, list[int]]()
        for row, observation in observations.items():
            if not 0 <= row < self.rows or (layout := self._playing[row]) is None:
                raise ValueError(f"row {row} plays no task, expected one of {self.rows} rows that was reset. Reset it.")
            steps[row] = layout.encode_observation(observation, first=bool(self._begins[row]))
            rows_of.setdefault(layout.spec.name, []).append(row)
        ids = self.decode(steps)
        self._begins[list(steps)] = False
        actions = {}
        for task, rows in rows_of.items():
            layout = self._layouts[task]
            decoded = layout.decode_action(ids[rows, : len(layout.action_ranges)])
            for place, row in enumerate(rows):
                actions[row] = {key: np.asarray(values[place]) for key, values in decoded.items()}
        return actions


def action_spans(settings: Tokenization) -> tuple[tuple[int, int], ...]:
    """Return the ranges [low, high) of ids that the action tokens of control tasks may have."""
    vocabulary = settings.vocabulary
    spans = (0, vocabulary.bins), (vocabulary.continuous, vocabulary.separator)
    return (*spans, (vocabulary.text - ACTION_BINS, vocabulary.text)) if settings.actions == "rt_2" else spans
