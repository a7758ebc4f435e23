"""DAgger (arXiv 1011.0686): a network learns from a teacher's actions in the states that the network itself reaches.

The teacher plays the first round of episodes, with its own noise. In each later round the newest network plays most of
the time, and the teacher says in every state what it would do. After each round a new network is fitted to all labels,
and is scored by itself; the best one becomes the policy.

A round ends with the file of its network, and each of its episodes is kept in a journal as it ends. So a distillation
that is killed goes on where it was, and ends with the same policy.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import cast

import dm_env
import numpy as np
from tqdm import tqdm

from gato_jax.environments import EXPERT_TRAINING_SEEDS, Environment, load, package_versions, task_spec
from gato_jax.environments.base import limits
from gato_jax.episodes import Episode
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.ranges import PositiveFloat, PositiveInt, Seed, UnitInterval
from gato_jax.experts.actor import ExpertActor
from gato_jax.experts.base import Expert
from gato_jax.experts.distillation.fitting import fit_network
from gato_jax.experts.distillation.labels import LabelJournal, LabelledEpisode
from gato_jax.experts.distillation.policy import (
    DistillationError,
    DistilledPolicy,
    network_inputs,
    observation_sizes,
    to_unit,
    vector_action,
)
from gato_jax.experts.distillation.policy_file import SCHEMA, SUFFIX, PolicyAbout, PolicyFile
from gato_jax.experts.planning import Planner
from gato_jax.experts.registry import teacher, teacher_description
from gato_jax.rollouts import Action, ActorFailure, play
from gato_jax.rollouts.play import play_as_they_end
from gato_jax.runtime.atomic_writes import atomic_file

_BLOCK = 25  # steps that the teacher or the network plays before the next draw of who plays
_STREAM = 0x44414747  # separates the draws of who plays from the other random numbers of the episode
_RUN, _LABELS, POLICY = "run.json", "labels.tfrecord", f"policy{SUFFIX}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """Settings of a distillation, from which the policy follows.

    Attributes:
      task: Name of the task, `suite/task`.
      rounds: Number of rounds.
      episodes: Number of labelled episodes in each round.
      steps: Number of steps after which labelled episodes are cut off; 0 for the limit of the task.
      teacher_samples: Factor on the number of samples of a teacher that plans, which has more time here than in play.
      teacher_share: Probability with which the teacher plays a block of steps in the second round; in round n, counted
        from 0, it is the n-th power of it.
      angles: Keys of observations that are angles in radians and may turn several times: the network reads sine and
        cosine of them.
      hidden: Sizes of the hidden layers.
      modes: Number of actions between which the network chooses; 1 for the mean of the labels.
      updates: Number of updates of each fit.
      batch_size: Number of states for an update.
      learning_rate: Learning rate at the first update of each fit.
      scored: Number of episodes for the score of each network.
      seed: Seed of the initial params and of the batches.

    Raises:
      DistillationError: A setting is out of its range.
    """

    task: str
    rounds: PositiveInt = 10
    episodes: PositiveInt = 4
    steps: int = 0
    teacher_samples: PositiveInt = 1
    teacher_share: UnitInterval = 0.5
    angles: tuple[str, ...] = ()
    hidden: tuple[PositiveInt, ...] = (128, 128)
    modes: PositiveInt = 4
    updates: PositiveInt = 4000
    batch_size: PositiveInt = 256
    learning_rate: PositiveFloat = 1e-3
    scored: PositiveInt = 10
    seed: Seed = 0

    def __post_init__(self):
        DataclassReader(error=DistillationError).check(self, "distillation")

    @property
    def command(self) -> str:
        """The command that makes the policy, without the folder to which it is written."""
        values = dataclasses.asdict(self) | {"hidden": ",".join(map(str, self.hidden)), "angles": ",".join(self.angles)}
        return " ".join(["gato train_expert", *(f"--{key}={value}" for key, value in values.items() if value != "")])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """The result of one round: its number from 0, and the loss and the description of its network."""

    number: int
    loss: float
    about: PolicyAbout


class Labeller(ExpertActor):
    """An actor that records the actions of the teacher, and executes those of the teacher or of the learner.

    Args:
      make_teacher: Function that returns a new teacher of the task `suite/task`.
      learner: The network; None lets the teacher play alone.
      teacher_samples: Factor on the number of samples of a teacher that plans, which has more time here than in play.
      teacher_share: Probability with which the teacher plays a block of steps, with its default noise.
    """

    def __init__(self, make_teacher: Callable[[str], Expert], learner: PolicyFile | None, teacher_share: float):
        super().__init__(noise=None, make_expert=make_teacher)
        self._policy, self._share = learner, teacher_share
        self._learners: dict[int, _Learner] = {}

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        super().reset(environments, seeds)
        for number, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
            if seed is not None and self._policy is not None:
                self._learners[number] = _Learner(environment.unwrapped, self._policy, seed)

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        self._timesteps = timesteps
        return super().act(timesteps)

    def executed(self, slot: int, action: Action) -> Action:
        if slot not in self._learners or self._learners[slot].leaves_to_teacher(self._share):
            return super().executed(slot, action)
        timestep = self._timesteps[slot]
        assert timestep is not None  # the slot has just acted on it
        return self._learners[slot].act(timestep)


class _Learner:
    """The network in one slot, with the draws of who plays."""

    def __init__(self, environment: Environment, policy: PolicyFile, seed: int):
        self._environment = environment
        self._expert = DistilledPolicy(environment.task_spec.task, policy)
        self._expert.reset(environment, seed)
        self._generator = np.random.default_rng([seed, _STREAM])
        self._steps, self._teacher_plays = 0, False

    def leaves_to_teacher(self, share: float) -> bool:
        if self._steps % _BLOCK == 0:
            self._teacher_plays = bool(self._generator.random() < share)
        self._steps += 1
        return self._teacher_plays

    def act(self, timestep: dm_env.TimeStep) -> Action:
        return self._expert.act(self._environment, timestep)


def distill(
    settings: Distillation,
    folder: pathlib.Path,
    *,
    workers: int = 0,
    on_round: Callable[[Round], None] = lambda result: None,
) -> PolicyFile:
    """Train a policy, from where an earlier call with the same settings was ended, and write it to the folder.

    Args:
      settings: Settings of the distillation.
      folder: Folder of the policy (`policy.safetensors`), of the journal and of the networks of all rounds.
      workers: Number of processes that each label one episode at a time; 0 for this process. The policy does not
        depend on it.
      on_round: Function that is called after each round.

    Raises:
      UnknownTaskError, NoExpertError, MissingPackageError: The task has no teacher here.
      DistillationError: The task cannot be distilled, the teacher gave up every episode, or the folder holds a
        distillation with other settings.
      PolicyFileError: A file of a round is damaged.
    """
    _teacher(settings.teacher_samples, settings.task)
    about = _describe(settings)
    _require_same_run(folder, settings)
    policies: list[PolicyFile] = []
    with LabelJournal(folder / _LABELS, inputs=about.inputs, outputs=about.action) as journal:
        for number in range(settings.rounds):
            path = folder / f"round_{number}{SUFFIX}"
            if path.exists():
                policies.append(PolicyFile.read(path))
                continue
            _label(settings, about, journal, number, policies[-1] if policies else None, workers)
            policy, loss = _fit(settings, about, number, journal)
            scores = _scores(settings, policy, workers)
            policy = dataclasses.replace(policy, about=dataclasses.replace(policy.about, scores=scores))
            policy.write(path)
            policies.append(policy)
            on_round(Round(number=number, loss=loss, about=policy.about))
    best = max(policies, key=lambda policy: policy.about.score)
    best.write(folder / POLICY)
    return best


def _describe(settings: Distillation) -> PolicyAbout:
    """Return the description of the policies of a distillation, without labels and scores.

    Raises:
      DistillationError: The task cannot be distilled, or one of the angles is no observation of it.
    """
    spec = task_spec(settings.task)
    sizes, (_, modality) = observation_sizes(spec), vector_action(spec)
    if unknown := sorted(set(settings.angles) - sizes.keys()):
        raise DistillationError(
            f"distillation: angles is {', '.join(unknown)}, expected observations of {settings.task}. "
            f"Choose from {', '.join(sizes)}."
        )
    return PolicyAbout(
        schema=SCHEMA,
        task=settings.task,
        observation=sizes,
        angles=settings.angles,
        action=modality.shape[0],
        hidden=settings.hidden,
        modes=settings.modes,
        teacher=teacher_description(settings.task),
        command=settings.command,
        packages=tuple(package_versions(settings.task)),
        labels=0,
        scores=(),
    )


def _seeds(settings: Distillation, rounds: range) -> list[int]:
    first, last = rounds.start * settings.episodes, rounds.stop * settings.episodes
    return list(EXPERT_TRAINING_SEEDS[first:last])


def _label(
    settings: Distillation,
    about: PolicyAbout,
    journal: LabelJournal,
    number: int,
    learner: PolicyFile | None,
    workers: int,
):
    """Play the episodes of a round that the journal does not hold yet."""
    every = _steps_between_decisions(_teacher(settings.teacher_samples, settings.task))
    seeds = _seeds(settings, range(number, number + 1))
    missing = [seed for seed in seeds if seed not in journal]
    results = play_as_they_end(
        functools.partial(
            Labeller,
            functools.partial(_teacher, settings.teacher_samples),
            learner,
            settings.teacher_share**number,
        ),
        [(settings.task, seed) for seed in missing],
        workers=workers,
        load=functools.partial(_load, settings.steps),
    )
    bar = {"initial": len(seeds) - len(missing), "total": len(seeds), "unit": "episode"}
    for job, result in tqdm(results, desc=f"round {number} of {settings.rounds}", **bar):
        journal.add(job.seed, _labelled(about, result, every))


def _teacher(samples: int, name: str) -> Expert:
    """Return a new teacher of the task `suite/task`, with this factor on its number of samples.

    Raises:
      DistillationError: The factor is not 1, and the teacher does not plan.
    """
    expert = teacher(name)
    if samples == 1:
        return expert
    if not isinstance(expert, Planner):
        raise DistillationError(
            f"distillation: teacher_samples is {samples}, expected 1 for {name}, whose expert is a {expert.agent}. "
            "Leave it out."
        )
    budget = dataclasses.replace(expert.plan.budget, samples=samples * expert.plan.budget.samples)
    return type(expert)(name.partition("/")[2], dataclasses.replace(expert.plan, budget=budget))


def _load(steps: int, task: str) -> Environment:
    environment = load(task)
    if steps:
        environment.max_steps = steps
    return environment


def _steps_between_decisions(expert: Expert) -> int:
    """Return the number of steps after which an expert looks at the state again, before which its action is no label.

    In between, a planner executes a plan for states that the network may have left.
    """
    return expert.plan.hold * expert.plan.replan_every if isinstance(expert, Planner) else 1


def _labelled(about: PolicyAbout, result: Episode | ActorFailure, every: int) -> LabelledEpisode:
    """Return the labels of an episode, one in `every` steps; none if the teacher gave it up."""
    if isinstance(result, ActorFailure):
        empty = np.zeros((0, about.inputs + about.action), np.float32)
        return LabelledEpisode(inputs=empty[:, : about.inputs], labels=empty[:, about.inputs :], score=float("nan"))
    key, modality = vector_action(task_spec(about.task))
    steps = result.acting_steps
    return LabelledEpisode(
        inputs=network_inputs(result.observation, about.observation, about.angles)[:steps:every],
        labels=to_unit(result.action[key][:steps:every], *limits(modality)),
        score=cast(float, result.score),  # every played episode has one
    )


def _fit(settings: Distillation, about: PolicyAbout, number: int, journal: LabelJournal) -> tuple[PolicyFile, float]:
    """Return a network that was fitted to the labels of all rounds so far, and its loss."""
    labelled = [journal[seed] for seed in _seeds(settings, range(number + 1))]
    inputs = np.concatenate([episode.inputs for episode in labelled])
    if not len(inputs):
        raise DistillationError(
            f"distillation: the teacher of {about.task} gave up all {len(labelled)} episodes, expected some labels. "
            "Label more episodes."
        )
    params, loss = fit_network(
        about.param_shapes(),
        inputs,
        np.concatenate([episode.labels for episode in labelled]),
        modes=about.modes,
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed + number,
    )
    return PolicyFile(about=dataclasses.replace(about, labels=len(inputs)), params=params), loss


def _scores(settings: Distillation, policy: PolicyFile, workers: int) -> tuple[float, ...]:
    """Return the scores of a network over the last of the seeds for training, which are never labelled."""
    jobs = [(settings.task, seed) for seed in EXPERT_TRAINING_SEEDS[-settings.scored :]]
    make_actor = functools.partial(ExpertActor, make_expert=functools.partial(_policy_expert, policy))
    return tuple(cast(float, episode.score) for episode in play(make_actor, jobs, workers=workers))


def _policy_expert(policy: PolicyFile, name: str) -> DistilledPolicy:
    return DistilledPolicy(name.partition("/")[2], policy)


def _require_same_run(folder: pathlib.Path, settings: Distillation):
    """Write the settings to run.json, or check that those of an earlier run are the same.

    Raises:
      DistillationError: They are not the same, or run.json is damaged.
    """
    path, run = folder / _RUN, json.loads(json.dumps(dataclasses.asdict(settings)))
    if not path.exists():
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(run, indent=2) + "\n")
        return
    try:
        earlier = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DistillationError(f"{path} is damaged ({error}). Name another folder.") from None
    require_same(
        run, earlier, problem=f"{folder} holds another distillation", holder=path.name,
        remedy="Name another folder.", error=DistillationError,
    )  # fmt: skip
