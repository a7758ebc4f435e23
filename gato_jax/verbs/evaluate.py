"""The verb `gato evaluate`: play the agent of a run and put its scores beside the reference scores."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime import Interruption, devices, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import as_path, require_local
from gato_jax.verbs.decoding import define_decoding, read_decoding, read_sampling
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.renderers import choose_renderer, define_renderer
from gato_jax.verbs.runs import require_folder, require_run

with epy.lazy_imports():
    from gato_jax import environments, evaluation, policy, rollouts
    from gato_jax.evaluation import agent_results, baselines, held_out_recordings

_log = logging.getLogger(__name__)


def evaluate(flag: flags.FlagValues, argv: Sequence[str]):
    """Play the agent of a run and compare its scores with random play, the best constant action and the expert.

    Run it again to resume after an interruption. Several calls with different --tasks add their scores to one file.

    --actor=nearest_neighbour plays a baseline instead: the action of the closest recorded observation of --datasets.
    Its scores stand beside those of the agent.

    An agent of which no task has an environment, as one of your own robot, is measured on the held-out recordings of
    the run's datasets instead: the error of its actions. --held_out measures any agent there besides.
    """
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    flags.DEFINE_list(
        "tasks", [], "Names of the tasks to play, comma-separated. Default: all control tasks of the agent, or of "
        "--datasets.", flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_enum(
        "actor", "agent", ["agent", "nearest_neighbour"],
        "Actor that plays: the agent of the run, or the 1-nearest-neighbour baseline.", flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string(
        "datasets", None, "Folder of the datasets from which --actor=nearest_neighbour plays.", flag_values=flag
    )
    flags.DEFINE_integer("episodes", 50, "Number of episodes to play of each task.", lower_bound=1, flag_values=flag)
    flags.DEFINE_bool(
        "measure_references", False,
        "Measure the reference scores that the committed table lacks, or holds for another version of a task.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "reference_episodes", 20, "Number of episodes of each reference score that is measured.", lower_bound=1,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "environments", 10, "Number of episodes that are played side by side.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_integer(
        "workers", None,
        "Number of processes in which the environments are simulated; 0 simulates in the process of the actor. "
        "Default: one for each core where the agent computes on an accelerator, otherwise 0.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "step_seconds", 600.0,
        "Limit of the time of one step of an environment in a process, in seconds, after which its episode fails.",
        lower_bound=0.001, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string(
        "save_episodes", None,
        "Folder to write the played episodes to, as one dataset for each task with the split `evaluation`.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool(
        "held_out", None,
        "Measure the error of the agent's actions on held-out recordings of the run's datasets, --episodes of each. "
        "Default: only if no task of the agent has an environment.", flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool(
        "probabilities", True,
        "Compute the probabilities of the actions and an attention map for the film of each task in the report.",
        flag_values=flag,
    )  # fmt: skip
    define_decoding(flag)
    define_renderer(flag)
    flags.DEFINE_string(
        "json", None, "File to add the scores to. Default: results.json in --workdir.", flag_values=flag
    )
    parse_flags(flag, argv, required=("workdir",))
    available = len(environments.EVALUATION_SEEDS)
    if flag.episodes > available:
        raise UsageError(f"--episodes is {flag.episodes}, expected at most {available}. Play fewer episodes.")
    if (flag.actor == "nearest_neighbour") != bool(flag.datasets):
        raise UsageError(
            f"--datasets is {flag.datasets!r} and --actor is {flag.actor}, expected --datasets with "
            "--actor=nearest_neighbour, and only there. Correct one of them."
        )
    workdir = require_run("workdir", flag.workdir)
    path = as_path(flag.json or workdir / "results.json")
    with interruptible(GO_ON) as interruption, interruption.at_once():
        choose_renderer(flag)
        evaluation.read_results_file(path)
        player = _Neighbour(flag, workdir) if flag.datasets else _Agent(flag, workdir)
        if player.tasks:
            _evaluate(flag, player, path, interruption)
        if isinstance(player, _Agent) and player.recordings:
            _measure_recordings(flag, player, path)


class _Agent:
    """The agent of the run as the actor that plays."""

    def __init__(self, flag: flags.FlagValues, workdir: pathlib.Path):
        _log.info("evaluate: loading the agent of %s", workdir)
        devices.print_devices()
        self._sampling, self._annotate = read_sampling(flag), flag.probabilities
        self.workdir, self.agent = workdir, policy.Agent.restore(workdir, decoding=read_decoding(flag))
        plays = bool(flag.tasks) or flag.held_out is False or agent_results.has_playable_task(self.agent)
        self.tasks = agent_results.playable_tasks(self.agent, flag.tasks) if plays else []
        measures = flag.held_out or not plays
        self.recordings = held_out_recordings.find_recordings(self.agent, workdir) if measures else {}
        self.prompts = evaluation.open_demonstrations(self.agent, workdir, self.tasks, flag.prompt)
        self.played_by = evaluation.PlayedBy(
            step=self.agent.step, digest=self.agent.digest, prompt=self.prompts.mode, **self._sampling.to_json()
        )
        self.merge = evaluation.merge_results
        _log.info("evaluate: step %d, %d episodes of each of %d tasks", self.agent.step, flag.episodes, len(self.tasks))

    def evaluate(self, references: Any, **settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Play the tasks, and yield the entry of each."""
        return agent_results.evaluate_agent(
            self.agent, references, self.workdir / "rollouts", sampling=self._sampling, prompts=self.prompts,
            annotate=self._annotate, **settings,
        )  # fmt: skip


class _Neighbour:
    """The 1-nearest-neighbour baseline as the actor that plays; its files are in a folder of its own in the run's."""

    def __init__(self, flag: flags.FlagValues, workdir: pathlib.Path):
        root = require_folder("datasets", flag.datasets, "the folder of the datasets that `gato collect` wrote")
        name = baselines.NEAREST_NEIGHBOUR
        self.workdir, self.datasets = workdir / "baselines" / name, baselines.open_recordings(root, flag.tasks)
        self.played_by = baselines.identity(root)
        self.tasks = list(self.datasets)
        self.merge = functools.partial(evaluation.merge_baseline, name=name)
        _log.info("evaluate: %d episodes of each of %d tasks from %s", flag.episodes, len(self.tasks), root)

    def evaluate(self, references: Any, **settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Play the tasks, and yield the entry of each."""
        make_actor = functools.partial(rollouts.NearestNeighbourActor, self.datasets)
        folder = self.workdir / "rollouts"
        return evaluation.evaluate_actor(make_actor, references, folder, played_by={"step": 0}, **settings)


def _evaluate(flag: flags.FlagValues, player: _Agent | _Neighbour, path: pathlib.Path, interruption: Interruption):
    """Play the tasks of the flags, and print the scores and add them to the file `path` after each task."""
    failures: dict[str, list[evaluation.EpisodeFailure]] = {task: [] for task in player.tasks}
    run = as_path(flag.workdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluation.evaluation_lock(run))  # also for a baseline, as all add to one file
        journal = stack.enter_context(evaluation.ScoreJournal(player.workdir, player.played_by))
        saved = _open_saved(flag, player.played_by)
        if saved is not None:
            stack.enter_context(saved)
        interruption.farewell = f"The finished episodes are kept in {player.workdir / 'evaluation'}. {GO_ON}"
        references = evaluation.gather_references(
            player.tasks, run, measure_episodes=flag.reference_episodes if flag.measure_references else None
        )
        for name, result in player.evaluate(
            references, episodes=flag.episodes, environments=flag.environments, workers=_workers(flag),
            step_seconds=flag.step_seconds, journal=journal, saved=saved,
            on_failure=lambda failure: failures[failure.task].append(failure),
        ):  # fmt: skip
            _add_to_file(path, player, {name: result}, {name: failures[name]})
            print(f"{name}: {evaluation.describe_task(result)}", flush=True)
        merged = _add_to_file(path, player, {}, failures)
    scores = merged if isinstance(player, _Agent) else merged["baselines"][baselines.NEAREST_NEIGHBOUR]
    if isinstance(player, _Neighbour):
        print(f"scores of the 1-nearest-neighbour baseline, which plays from {flag.datasets}:")
    print(*evaluation.summary_lines(scores), sep="\n")
    known = scores["tasks"]
    if others := [name for name in known if name not in player.tasks]:
        print(f"with the scores of an earlier evaluation of this checkpoint: {', '.join(others)}")
    if left := sorted({name for group in scores.get("earlier", []) for name in group["tasks"]} - known.keys()):
        print(f"of other checkpoints, ways of sampling or prompts only, and left out: {', '.join(left)}")
    print(f"scores in {path}, rollouts in {player.workdir / 'rollouts'}")
    evaluation.require_played([failure for listed in failures.values() for failure in listed])


def _measure_recordings(flag: flags.FlagValues, player: _Agent, path: pathlib.Path):
    """Measure the agent on held-out recordings, and print the errors and add them to the file `path`."""
    with evaluation.evaluation_lock(player.workdir):
        for name, entry in held_out_recordings.measure_recordings(
            player.agent, player.recordings, player.workdir, episodes=flag.episodes
        ):
            merged = evaluation.merge_held_out(evaluation.read_results_file(path), {name: entry})
            evaluation.write_results_file(path, merged)
            print(f"{name}: {held_out_recordings.describe_recordings(entry)}", flush=True)
    print(f"errors in {path}, actions in {player.workdir / held_out_recordings.FOLDER}")


def _add_to_file(
    path: pathlib.Path, player: _Agent | _Neighbour, tasks: dict[str, Any], failures: dict[str, Any]
) -> dict[str, Any]:
    merged = player.merge(evaluation.read_results_file(path), agent=player.played_by, tasks=tasks, failures=failures)
    evaluation.write_results_file(path, merged)
    return merged


def _open_saved(flag: flags.FlagValues, played_by: evaluation.PlayedBy) -> evaluation.SavedEpisodes | None:
    if not flag.save_episodes:
        return None
    root = require_local(flag.save_episodes, "--save_episodes", "Write to a disk, then copy the folder to the bucket.")
    return evaluation.SavedEpisodes(root, played_by.to_json())


def _workers(flag: flags.FlagValues) -> int:
    """Return the number of processes that simulate. On a CPU alone, the actor computes on all cores."""
    if flag.workers is not None:
        return flag.workers
    accelerated = flag.actor == "agent" and devices.open_devices()[0].platform != "cpu"
    return len(os.sched_getaffinity(0)) if accelerated else 0
