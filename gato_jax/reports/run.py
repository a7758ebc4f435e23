"""Dataclasses with the contents of a run's report; `reports.reading` fills them from the run's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from gato_jax.reports.annotations.records import Annotations
from gato_jax.reports.errors import ReportError
from gato_jax.reports.held_out.records import HeldOut, Prediction
from gato_jax.reports.scores.records import Aggregate, FailedEpisode, HumanAggregate, Interval, PublishedScore


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScore:
    """The scores of one task, in the metric of the task.

    Attributes:
      task: name of the task.
      episodes: number of episodes that the agent played.
      metric: "success" for a success rate in [0, 1], else the name of the metric, such as "return".
      agent, random, constant, expert: mean scores of the agent, of random play, of the best constant action and of the
        expert; None where a reference was not measured.
      human: published mean score of people; None where there is none.
      normalised: (agent - random) / (expert - random); None where it is not known, as without an expert.
      unscaled: why `normalised` is None; None if it is not, or the reason is not known.
      scores: score of each episode, in the metric of the task; () if they are not known.
      agent_ci: confidence interval (low, high) of `agent`, in the metric of the task; None if it was not computed.
      normalised_ci: the same interval on the scale of `normalised`.
      noise_floor: the least normalised score that random play would reach in one of forty such evaluations.
      human_normalised: score on the scale from random play to the human.
      published: {agent: its published result on the task}.
      return_mean, success_rate: the agent's mean return and success rate, whatever the metric; None if not known.
      step: training step of the agent that played; None if not known.
      temperature: temperature of sampling its actions; None if not known.
      prompt: origin of the demonstrations that prompt its episodes; None without prompts.
    """

    task: str
    episodes: int
    metric: str
    agent: float
    random: float | None = None
    constant: float | None = None
    expert: float | None = None
    human: float | None = None
    normalised: float | None = None
    unscaled: str | None = None
    scores: tuple[float, ...] = ()
    agent_ci: Interval | None = None
    normalised_ci: Interval | None = None
    noise_floor: float | None = None
    human_normalised: float | None = None
    published: Mapping[str, PublishedScore] = dataclasses.field(default_factory=dict)
    return_mean: float | None = None
    success_rate: float | None = None
    step: int | None = None
    temperature: float | None = None
    prompt: str | None = None

    def normalise(self, score: float | None) -> float | None:
        """Return (score - random) / (expert - random), or None if a term is None or expert equals random."""
        if score is None or self.random is None or self.expert is None or self.expert == self.random:
            return None
        return (score - self.random) / (self.expert - self.random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Making:
    """Facts about the training of a run; a field that the evaluation did not know is None or {}.

    Attributes:
      parameters: number of parameters of the model.
      steps, tokens: numbers of training steps and of tokens trained on.
      planned_steps: number of training steps that the run is to have in all.
      seed: random seed of the run.
      batch_size, context: rows of a batch, and tokens of a row.
      begun_as: step and digest of the params that fine-tuning started from.
      started: time at which training started, UTC in ISO 8601.
      commit: commit of the source of gato_jax; distinct ones of a run that was continued are joined by ", ".
      machine, command: descriptions of the machine, and the command line that trained the agent.
      devices: number and kind of the devices, such as "8 x TPU v5e".
      versions: {package: version}.
      stages: {stage of the run: its duration in seconds}.
    """

    parameters: int | None = None
    steps: int | None = None
    tokens: int | None = None
    planned_steps: int | None = None
    seed: int | None = None
    batch_size: int | None = None
    context: int | None = None
    begun_as: tuple[int, str] | None = None
    started: str | None = None
    commit: str | None = None
    devices: str | None = None
    machine: str | None = None
    command: str | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """One line of sessions.jsonl: a process that trained the run; see `runtime.sessions`."""

    started: str
    command: str | None = None
    machine: str | None = None
    devices: str | None = None
    commit: str | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve: the mean score of some episodes of the agent at a training step."""

    step: int
    mean: float
    episodes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuning:
    """The learning curve of a fine-tuning run, the contents of finetune.json.

    Attributes:
      task: name of the task.
      metric: metric of the scores, as in `TaskScore`.
      episodes: number of episodes that the agent learned from.
      series: index of the repetition.
      curve: the evaluations; empty if the agent was not played.
      smoothed: moving average over several evaluations, each point at the last step of its window.
      score, best_step: highest value of the smoothed curve and its step; None while the curve is empty.
      normalised: (score - random) / (expert - random); None where it is not known.
    """

    task: str
    metric: str
    episodes: int
    series: int = 0
    curve: tuple[CurvePoint, ...] = ()
    smoothed: tuple[CurvePoint, ...] = ()
    score: float | None = None
    best_step: int | None = None
    normalised: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """The contents of results.json, which `gato evaluate --json` writes and the quickstart extends.

    Attributes:
      tasks: scores of each task.
      aggregate: aggregates of their normalised scores.
      domains: {suite: aggregates of its tasks}.
      human: aggregates on the scale of human scores; None without a task that has one.
      failed: {task: its episodes that were not played to their end}.
      baselines: {name: scores of each task that a baseline has played}, such as "nearest_neighbour".
      held_out: measurements on held-out data.
      prompted: scores of the same agent after a demonstration of each task, where they were measured.
      no_room: names of the tasks whose timesteps are too long for a prompt, which have no such score.
      making: facts about the training, the key `run` of the file.
      minutes: duration of the whole run, with its evaluation, in minutes; None if not known.
      peak_memory_bytes: peak memory; None if not known.
    """

    tasks: tuple[TaskScore, ...]
    aggregate: Aggregate = Aggregate()
    domains: Mapping[str, Aggregate] = dataclasses.field(default_factory=dict)
    human: HumanAggregate | None = None
    failed: Mapping[str, tuple[FailedEpisode, ...]] = dataclasses.field(default_factory=dict)
    baselines: Mapping[str, tuple[TaskScore, ...]] = dataclasses.field(default_factory=dict)
    held_out: tuple[HeldOut, ...] = ()
    prompted: tuple[TaskScore, ...] = ()
    no_room: tuple[str, ...] = ()
    making: Making = Making()
    minutes: float | None = None
    peak_memory_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """One recorded episode of the agent, of T steps.

    Construction raises ReportError if `frames` is not a uint8 array of four axes with three channels, if T is 0, or if
    the lengths of frames, actions and rewards do not fit together.

    Attributes:
      task: name of the task.
      frames: uint8 (T or T + 1, H, W, 3).
      actions: (T, A).
      action_names: one name for each column of floating-point actions; one for each value of an integer action. Their
        number is not checked.
      rewards: (T,).
      seed: seed of the episode.
      score: score of the episode in the metric of the task.
      step, temperature: training step of the agent, and temperature of sampling its actions; None if not known.
      annotations: probabilities of the actions, and an attention map; None if they were not computed.
    """

    task: str
    frames: np.ndarray
    actions: np.ndarray
    action_names: tuple[str, ...]
    rewards: np.ndarray
    seed: int
    score: float
    step: int | None = None
    temperature: float | None = None
    annotations: Annotations | None = None

    def __post_init__(self):
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            shape = f"{self.frames.dtype} {self.frames.shape}"
            raise ReportError(f"frames is {shape}, expected uint8 (T, H, W, 3). Record the rollout again.")
        if not 0 < len(self.rewards) == len(self.actions) <= len(self.frames) <= len(self.rewards) + 1:
            lengths = f"{len(self.frames)} frames, {len(self.actions)} actions, {len(self.rewards)} rewards"
            raise ReportError(
                f"There are {lengths}, expected one action and one reward for each frame. Record it again."
            )
        if self.annotations is not None and self.annotations.probabilities.shape[:2] != self.actions.shape:
            shape = self.annotations.probabilities.shape
            raise ReportError(f"probabilities is {shape}, actions {self.actions.shape}. Evaluate the run again.")

    def is_of(self, task: TaskScore) -> bool:
        """Return whether the agent of this episode is the one that was scored, as far as both say which it was."""
        return (self.task, self.step, self.temperature) == (task.task, task.step, task.temperature)

    @property
    def discrete(self) -> bool:
        return np.issubdtype(self.actions.dtype, np.integer) and self.actions.shape[1] == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caption:
    """An image as a data URI (`data:image/...`), its true caption, and the captions that the agent sampled for it.

    Construction raises ReportError if `image` does not begin with `data:image/`.
    """

    image: str
    truth: str
    samples: tuple[str, ...]

    def __post_init__(self):
        if not self.image.startswith("data:image/"):
            raise ReportError(
                f"image is {self.image[:40]!r}, expected a data URI (data:image/...). Evaluate the run again."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialogue:
    """A prompt from a conversation, the answer of the corpus, and the answer that the agent sampled."""

    prompt: str
    truth: str
    sample: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One training dataset: its size, its weight in the mixture (a share of the rows in [0, 1]), and its provenance.

    Distinct values of source, licence, kind and agent are joined by "; ", as in data.json.
    """

    dataset: str
    episodes: int
    steps: int
    source: str
    licence: str
    kind: str
    agent: str = ""
    weight: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """All contents of a run's report.

    Attributes:
      results: scores; without tasks for a fine-tuning run that was not evaluated apart.
      making: facts about the training, from all files of the run that state some.
      finetuning: learning curve of a fine-tuning run; None for another run.
      metrics: {quantity: (steps, values)}, each of shape (N,).
      data: the training datasets.
      rollouts: episodes of the evaluation whose scores are shown.
      captions, dialogue: samples of the agent's behaviour; empty where the evaluation recorded none.
      predictions: held-out episodes with recorded and predicted actions.
      configuration: {key: value as text} of the config; {} for a run without one.
    """

    results: Results
    making: Making = Making()
    finetuning: FineTuning | None = None
    metrics: Mapping[str, tuple[np.ndarray, np.ndarray]]
    data: tuple[Dataset, ...]
    rollouts: tuple[Rollout, ...]
    captions: tuple[Caption, ...]
    dialogue: tuple[Dialogue, ...]
    predictions: tuple[Prediction, ...] = ()
    configuration: Mapping[str, str] = dataclasses.field(default_factory=dict)
