"""Scores of the episodes that an agent has played so far, by which an evaluation that was killed goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

from gato_jax.environments import is_rendered
from gato_jax.environments.rendering import describe_renderer
from gato_jax.evaluation.references import installed_version
from gato_jax.runtime import writer_lock
from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.runtime.atomic_writes import atomic_file

FOLDER = "evaluation"  # in the folder of a run
_FILE = "episodes.jsonl"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeScore:
    """The scores of one episode, as `Episode` has them.

    Attributes:
      seed: seed of the episode.
      score: score in the task's own metric.
      episode_return: undiscounted sum of the rewards.
      success: whether the episode succeeded; None for a task without a success.
    """

    seed: int
    score: float
    episode_return: float
    success: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayedBy:
    """Everything of an agent that its scores depend on.

    Attributes:
      step: training step of its parameters; 0 for another actor.
      digest: `Agent.digest`, or a digest of the recordings from which a baseline plays.
      temperature: temperature of sampling the actions.
      prompt: `demonstration` if episodes are prompted, `none` if not.
      top_k, top_p: limits of the tokens that are sampled, see `policy.TopK` and `policy.TopP`; None without them.
    """

    step: int
    digest: str
    temperature: float
    prompt: str = "none"
    top_k: int | None = None
    top_p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, but `prompt`, `top_k` and `top_p` only if they are set: earlier files lack them."""
        fields = dataclasses.asdict(self)
        fixed = ("step", "digest", "temperature")
        return {name: value for name, value in fields.items() if name in fixed or value not in (None, "none")}


@contextlib.contextmanager
def evaluation_lock(workdir: pathlib.Path) -> Iterator[None]:
    """Be the only process that evaluates the agent of a run during the block; another one may train it meanwhile.

    Raises:
      FolderInUseError: another process evaluates it.
    """
    with writer_lock(workdir / FOLDER):
        yield


class ScoreJournal(contextlib.AbstractContextManager):
    """The file `evaluation/episodes.jsonl` of a run, to which the scores of each episode are added as it ends.

    A line holds agent, task, version of the task, renderer of its observations if they are rendered, origin of the
    prompts if there are any, and scores. Lines of other checkpoints are removed, and the log says so. A process that is
    killed while it adds a line loses that line.

    Args:
      workdir: folder of the run.
      agent: the agent that plays.
    """

    def __init__(self, workdir: pathlib.Path, agent: PlayedBy):
        self._agent, self._path = agent, workdir / FOLDER / _FILE
        lines = _read_lines(self._path)
        self._lines = [line for line in lines if line["agent"]["digest"] == agent.digest]
        if dropped := [line for line in lines if line not in self._lines]:
            steps = ", ".join(str(step) for step in sorted({line["agent"]["step"] for line in dropped}))
            _log.info(
                "starting anew: the %d episodes in %s are of another checkpoint, of step %s, not of step %d",
                len(dropped), self._path, steps, agent.step,
            )  # fmt: skip
        with atomic_file(self._path) as written:  # also without a line that was cut short
            written.write_text("".join(json.dumps(line) + "\n" for line in self._lines))
        self._file = AppendedFile(self._path)

    def scores(self, task: str, prompt: str | None = None) -> dict[int, EpisodeScore]:
        """Return {seed: scores} of the episodes of the task's installed version that this agent has played.

        Args:
          task: name of the task.
          prompt: origin of the prompts of its episodes; None if they have none.
        """
        key = self._key(task, prompt)
        found = [line["episode"] for line in self._lines if {name: line.get(name) for name in key} == key]
        return {fields["seed"]: EpisodeScore(**fields) for fields in found}

    def add(self, task: str, episode: EpisodeScore, prompt: str | None = None):
        """Add the scores of an episode, which stay if the process is killed; `prompt` is as in `scores`."""
        line = {**self._key(task, prompt), "episode": dataclasses.asdict(episode)}
        self._lines.append(line)
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def __exit__(self, *error: object):
        self._file.close()

    def _key(self, task: str, prompt: str | None) -> dict[str, Any]:
        rendered = {"renderer": describe_renderer()} if is_rendered(task) else {}
        return {
            "agent": self._agent.to_json(),
            "task": task,
            "version": installed_version(task),
            "prompt": prompt,
            **rendered,
        }


def _read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the complete lines of the file; those of an earlier format and a damaged one at its end are left out."""
    lines = []
    for text in path.read_text().split("\n") if path.exists() else []:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            line = json.loads(text)
            _ = PlayedBy(**line["agent"]), EpisodeScore(**line["episode"])
            lines.append(line)
    return lines
