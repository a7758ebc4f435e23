"""The `gato` command: one verb for each thing a person does. May import any.

Exit status 0 means done; 2 is bad input, told in one line on stderr; 1, with a traceback, is a fault of ours.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import errno
import json
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

# Said before JAX is imported: with the TPU library installed and no TPU, every verb would begin with its complaints.
if not any(os.path.exists(device) for device in ("/dev/accel0", "/dev/vfio/0", "/dev/nvidia0")):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

from absl import flags  # noqa: E402

# What a person can do something about; any other OSError is a fault of ours.
_DISK_ERRORS = {
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip

# What loading a config file and setting its keys may raise: the file is a person's Python.
_CONFIG_ERRORS = (
    AttributeError, ImportError, IndexError, KeyError, NameError, OSError, SyntaxError, TypeError, ValueError,
)  # fmt: skip

Verb = Callable[[flags.FlagValues, Sequence[str]], None]


class UsageError(ValueError):
    """What was asked for cannot be done; the message names the flag, the value and the remedy."""


def tasks(flag: flags.FlagValues, argv: Sequence[str]):
    """The registry: every task, whether it runs here, and its expert; scores are null until they are measured here."""
    flags.DEFINE_string("suite", None, "only this suite", flag_values=flag)
    flags.DEFINE_string("json", None, "write the list here", flag_values=flag)
    parse_flags(flag, argv)
    from gato_jax.environments import status, task_names
    from gato_jax.experts import description, expert_names

    names = [name for name in task_names() if flag.suite in (None, name.split("/")[0])]
    if not names:
        suites = sorted({name.split("/")[0] for name in task_names()})
        raise UsageError(f"--suite: no suite {flag.suite!r}; suites are {', '.join(suites)}")
    experts = set(expert_names())
    rows = []
    for name in names:
        state, reason = status(name)
        expert = description(name) if name in experts else None
        rows.append(
            {
                "name": name,
                "suite": name.split("/")[0],
                "status": state,
                "reason": reason,
                "expert": expert,
                "random_score": None,
                "expert_score": None,
                "score_source": None,
            }
        )
    _write_json(flag.json, {"tasks": rows})
    for row in rows:
        print(f"{row['name']:<44} {row['status']:<12} {row['expert'] or '-'}")


def collect(flag: flags.FlagValues, argv: Sequence[str]):
    """Records experts into RLDS datasets, one for each task."""
    flags.DEFINE_list("tasks", [], "names, comma-separated", flag_values=flag)
    flags.DEFINE_integer("episodes", 100, "of each task", lower_bound=1, flag_values=flag)
    flags.DEFINE_string("output", None, "folder of the datasets", flag_values=flag)
    flags.DEFINE_float(
        "noise", None, "on executed actions; the expert's own default otherwise", lower_bound=0.0, flag_values=flag
    )
    flags.DEFINE_bool("successes_only", False, "keep successful episodes only", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "replace a dataset that is there", flag_values=flag)
    flags.DEFINE_string("json", None, "write the counts here", flag_values=flag)
    parse_flags(flag, argv)
    _require(flag, "tasks", "output")
    from gato_jax.environments import RECORDING_SEEDS, task_spec
    from gato_jax.episodes import open_dataset, write_dataset
    from gato_jax.experts import expert, record

    specs = {name: task_spec(name) for name in flag.tasks}
    for name in flag.tasks:
        expert(name)  # a task without one is an error before the first is recorded
    report = {}
    for name, spec in specs.items():
        seeds = RECORDING_SEEDS[: flag.episodes]
        episodes = record(name, seeds, noise=flag.noise, successes_only=flag.successes_only)
        with contextlib.closing(_watched(episodes, total=len(seeds), desc=f"record {name}", unit="episode")) as watched:
            directory = write_dataset(flag.output, spec, {"train": watched}, overwrite=flag.overwrite)
        dataset = open_dataset(directory)
        successes = dataset.index.success[dataset.index.success >= 0]
        report[name] = {
            "episodes": len(dataset),
            "steps": int(dataset.acting_lengths.sum()),
            "return_mean": float(dataset.returns.mean()),
            "success_rate": float(successes.mean()) if len(successes) else None,
        }
        print(f"{name}: {len(dataset)} episodes in {directory}")
    _write_json(flag.json, {"tasks": report})


def train(flag: flags.FlagValues, argv: Sequence[str]):
    """Trains an agent; run again, it goes on from its newest checkpoint."""
    config_file = _define_config(flag, argv)
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=flag)
    flags.DEFINE_string("json", None, "write the last metrics here", flag_values=flag)
    flags.DEFINE_integer(
        "stop_after", None, "stop, with a checkpoint, after this step", lower_bound=1, flag_values=flag
    )
    parse_flags(flag, argv)
    _require(flag, "config", "workdir")
    from gato_jax.batching import Mixture, MixtureEntry, write_records
    from gato_jax.episodes import dataset_name
    from gato_jax.sources import open_source
    from gato_jax.training import TrainConfig
    from gato_jax.training import train as run_training

    config = TrainConfig.from_mapping(_training_part(config_file.value))
    workdir = _make_folder(flag.workdir)
    entries, data = [], []
    for dataset in config.datasets:
        reader = open_source(dataset.source.replace("{workdir}", str(workdir)), "train")
        directory = workdir / "records" / dataset_name(reader.spec.name)
        records = write_records(directory, reader.spec, reader, reader.fingerprint, config.model.tokenization)
        entries.append(
            MixtureEntry(
                records=records,
                weight=dataset.weight,
                window_steps=dataset.window_steps,
                prompt_share=dataset.prompt_share,
                prompt_steps=dataset.prompt_steps,
                loss_weight=dataset.loss_weight,
            )
        )
        provenance = reader[0].provenance
        data.append(
            {
                "dataset": reader.spec.name,
                "episodes": len(reader),
                "steps": int(len(records.step_tokens)),
                "source": provenance.source,
                "licence": provenance.licence,
                "kind": provenance.kind,
                "agent": provenance.agent,
                "weight": dataset.weight,
            }
        )
    total = sum(row["weight"] for row in data)
    _write_json(workdir / "data.json", [{**row, "weight": row["weight"] / total} for row in data])
    mixture = Mixture(tuple(entries), config.batch_size, config.context, config.seed, config.predict_prompts)
    metrics = run_training(config, mixture, workdir, stop_after=flag.stop_after)
    _write_json(
        flag.json, {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
    )
    reached = f"trained to step {metrics['step']}, loss {metrics['loss']:.4f}" if "step" in metrics else "stopped early"
    print(f"{reached}; run in {workdir}")


def evaluate(flag: flags.FlagValues, argv: Sequence[str]):
    """Plays the agent of a run, beside random play, the best constant action and the expert."""
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=flag)
    flags.DEFINE_list("tasks", [], "names, comma-separated; all control tasks of the agent otherwise", flag_values=flag)
    flags.DEFINE_integer("episodes", 50, "of each task", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("reference_episodes", 20, "behind each reference score", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("environments", 10, "played side by side", lower_bound=1, flag_values=flag)
    flags.DEFINE_float("temperature", 1.0, "of sampling; 0 is greedy", lower_bound=0.0, flag_values=flag)
    flags.DEFINE_string("json", None, "write the scores here", flag_values=flag)
    parse_flags(flag, argv)
    _require(flag, "workdir")
    workdir = pathlib.Path(flag.workdir)
    from gato_jax.environments import EVALUATION_SEEDS, task_names, task_spec
    from gato_jax.evaluation import aggregate, measure_references, play_episodes, save_rollout, task_result
    from gato_jax.experts import expert
    from gato_jax.policy import Agent

    agent = Agent.restore(workdir)
    names = flag.tasks or [name for name in agent.contract.tasks if name in task_names()]
    if not names:
        raise UsageError(f"{workdir}: the agent knows no task to play, only {', '.join(agent.contract.tasks)}")
    for name in names:  # nothing is played before every task is known to be the agent's and to have an expert
        agent.require_task(task_spec(name))
        expert(name)
    how = {"episodes": flag.reference_episodes, "directory": workdir / "references"}
    references = {name: measure_references(name, **how) for name in names}
    for measured in references.values():
        measured.require_scale()
    results = {}
    for name in names:
        rollouts = play_episodes(
            agent, name, EVALUATION_SEEDS[: flag.episodes],
            environments=flag.environments, temperature=flag.temperature, film=1,
        )  # fmt: skip
        save_rollout(rollouts[0], workdir / "rollouts")
        results[name] = task_result(rollouts, references[name])
        print(f"{name}: {results[name]['agent']:.3g} (normalised {results[name]['normalised']:.2f})")
    path = pathlib.Path(flag.json or workdir / "results.json")
    kept = json.loads(path.read_text()) if path.exists() and not flag.json else {}  # what the run's script put there
    _write_json(path, {**kept, "tasks": results, "aggregate": aggregate(results)})
    print(f"scores in {path}, rollouts in {workdir / 'rollouts'}")


def report(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes a run's page, report.html."""
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=flag)
    parse_flags(flag, argv)
    _require(flag, "workdir")
    from gato_jax.reports import write_report

    print(write_report(pathlib.Path(flag.workdir)))


VERBS: dict[str, Verb] = {verb.__name__: verb for verb in (tasks, collect, train, evaluate, report)}


def main(argv: Sequence[str] | None = None):
    """Entry point of `gato`."""
    argv = list(sys.argv if argv is None else argv)
    name = argv[1] if len(argv) > 1 else "--help"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)
    if name in ("help", "--help", "-h"):
        print("gato VERB --flags; gato VERB --help lists a verb's flags\n")
        for verb, function in VERBS.items():
            print(f"  {verb:<10} {(function.__doc__ or '').splitlines()[0]}")
        return
    sys.exit(_run(name, argv))


def _run(name: str, argv: list[str]) -> int:
    flag = flags.FlagValues()
    try:
        if name not in VERBS:
            near = difflib.get_close_matches(name, VERBS, 1)
            raise UsageError(f"no verb {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(VERBS)}")
        if {"--help", "-help", "-h"} & set(argv):
            _help(name, flag)
            return 0
        VERBS[name](flag, [f"gato {name}", *argv[2:]])
        sys.stdout.flush()
    except BrokenPipeError:  # `gato tasks | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"gato {name}: interrupted; run it again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_bad_input(error):
            raise
        print(f"gato {name}: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _is_bad_input(error: Exception) -> bool:
    """Our own errors, those of the flags, and a disk that is full, read-only or not there."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return True
    if isinstance(error, RuntimeError) and os.strerror(errno.ENOSPC) in str(error):
        return True  # ArrayRecord's way to say it
    return isinstance(error, (flags.Error, UsageError)) or (
        isinstance(error, (ValueError, ImportError, RuntimeError)) and type(error).__module__.startswith("gato_jax")
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror}; free space or name another folder"
    return " ".join(line.strip() for line in str(error).splitlines())


def _help(name: str, flag: flags.FlagValues):
    """A verb defines its flags when it runs, so it is run up to where it parses them."""
    print(f"gato {name}: {VERBS[name].__doc__}\n")
    try:
        VERBS[name](flag, [f"gato {name}", "--__help__"])
    except flags.Error:
        print(flag.main_module_help() or flag.get_help())


def parse_flags(flag: flags.FlagValues, argv: Sequence[str]):
    """Parses the flags; what ml_collections says of a config in its own way becomes one line."""
    try:
        left_over = flag(argv)[1:]
        if "config" in flag and flag.config is not None:
            flag.config.to_dict()  # a file that is missing is said when it is first used
    except flags.IllegalFlagValueError as error:
        raise UsageError(_ends_of_traceback(str(error))) from error
    except flags.Error:
        raise
    except _CONFIG_ERRORS as error:
        raise UsageError(f"--config: {_said(error)}") from error
    if left_over:
        raise UsageError(f"unexpected {left_over[0]!r}; everything is a flag, --name=value")
    if "json" in flag and flag.json and pathlib.Path(flag.json).is_dir():
        raise UsageError(f"--json={flag.json} is a folder; name a file")


def _define_config(flag: flags.FlagValues, argv: Sequence[str]):
    from ml_collections import config_flags

    return config_flags.DEFINE_config_file("config", help_string="config file", flag_values=flag, sys_argv=list(argv))


def _training_part(config: Any) -> dict[str, Any]:
    """The config without what only an experiment's script reads."""
    return {key: value for key, value in config.to_dict().items() if key != "experiment"}


def _said(error: Exception) -> str:
    """The message in one line, without the quotes that each KeyError on its way has put around it."""
    text = str(error)
    while text[:1] in ("'", '"') and text[-1] == text[0]:
        text = ast.literal_eval(text)
    if text.replace(".", "_").isidentifier():  # with no key near enough to be named, it says the wrong one only
        text = f"no key {text!r} in the config file"
    return _ends_of_traceback(text)


def _ends_of_traceback(text: str) -> str:
    """A message of several lines in one: of a traceback its two ends, of what was tried the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [lines[0], lines[-1]]
    elif any(line.startswith("Attempted") for line in lines):
        lines = lines[-1:]
    return " ".join(lines)


def _watched(episodes: Iterator[Any], **bar: Any) -> Generator[Any, None, None]:
    """A progress bar from the first episode on: a refusal before it stays the only line on stderr."""
    from tqdm import tqdm

    with tqdm(episodes, **bar) as progress:
        yield from progress


def _require(flag: flags.FlagValues, *names: str):
    for name in names:
        if not flag[name].value:
            raise UsageError(f"--{name} is missing")


def _make_folder(path: str) -> pathlib.Path:
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_json(path: str | pathlib.Path | None, value: Any):
    if path is not None:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(json.dumps(value, indent=2))


if __name__ == "__main__":
    main()
