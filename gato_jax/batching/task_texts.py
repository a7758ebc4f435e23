"""Text of each task that begins its episodes, for tokenizations with `task_text_first`."""

from __future__ import annotations

from gato_jax.episodes import TaskSpec
from gato_jax.sources.instructions import generate_instructions
from gato_jax.tokenization import Tokenization


def task_texts_of(spec: TaskSpec, tokenization: Tokenization) -> dict[str, str]:
    """Return {name of the task: its text}; {} without `task_text_first`, and for a task without observations.

    The text is the first instruction in the TaskSpec, or else the plain sentence that a template makes of the task's
    name (see `generate_instructions`). It is the same for all episodes of a task.
    """
    if not tokenization.task_text_first or not spec.observation:
        return {}
    written = next((text for text in spec.instructions or () if text.strip()), None)
    return {spec.name: written or generate_instructions(spec.name, count=1)[0]}
