"""From real episodes to a scored agent and its report, in one command and on two cores.

    .venv/bin/python -m experiments.quickstart --config=configs/quickstart.py --workdir=runs/quickstart

Every stage runs in processes of its own, so that none that trains or acts ever holds TensorFlow. Killed and run again,
it goes on with the job, and in training with the checkpoint, where it was.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from benchmarks.record import machine
from experiments import quickstart_jobs
from experiments.stages import Job, JobError, Stages, write_json
from gato_jax.episodes import dataset_name
from gato_jax.reports import read_results, summary_table
from gato_jax.verbs.flags import UsageError, parse_flags

_CONFIG = config_flags.DEFINE_config_file("config", help_string="configs/quickstart.py unless given")
_WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "folder of the run")
_JOB = flags.DEFINE_string("job", None, "run this one job, in this process; the script calls itself with it")

_FREE_BYTES = 2 << 30


def main(argv: list[str]):
    """Runs what is not done yet, or the one job that --job names, and prints the scores."""
    config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
    if _JOB.value:
        logging.set_verbosity(logging.ERROR)  # orbax and TFDS tell a job's every step
        quickstart_jobs.run(_JOB.value, config, workdir)
        return
    try:
        _prepare(config, workdir)
        stages = Stages(workdir)
        if (workdir / "report.html").exists() and "report" in stages.done:
            print(f"Finished before; remove {workdir} to start anew.\n")
        else:
            _run(stages, config, workdir)
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted; run it again to go on", 130))
    except JobError as error:
        sys.exit(_complain(error, error.status if error.status in (1, 2) else 1))
    except (OSError, ValueError) as error:
        sys.exit(_complain(error, 2))
    print(summary_table(read_results(workdir)))
    print(f"\nresults  {workdir / 'results.json'}\nreport   {workdir / 'report.html'}")


def _run(stages: Stages, config, workdir: pathlib.Path):
    tasks, settings = config.experiment.tasks, config.experiment
    gato = [sys.executable, "-m", "gato_jax.cli"]
    own = [sys.executable, "-m", "experiments.quickstart", *_arguments()]
    train = [*gato, "train", *_arguments(), f"--json={workdir / 'train.json'}"]

    def collect(task: str) -> Job:
        episodes = settings.episodes[dataset_name(task)]
        flags = [f"--tasks={task}", f"--episodes={episodes}", f"--output={workdir / 'data'}", "--overwrite"]
        return Job(f"record {task}", [*gato, "collect", *flags])

    def job(name: str) -> Job:
        return Job(name, [*own, f"--job={name}"])

    # The longest first, so that the two that run side by side end together.
    record = [job("record robot"), *map(collect, reversed(tasks)), job("record captions"), job("record dialogue")]
    stages.run("record", record, side_by_side=2)
    stages.run("train", [Job("train", train)])
    evaluate = [
        f"--workdir={workdir}",
        f"--tasks={','.join(tasks)}",
        f"--episodes={settings.evaluation_episodes}",
        "--measure_references",  # measures nothing as long as the committed table has these versions of the tasks
        f"--environments={settings.environments}",
        f"--temperature={settings.temperature}",
        f"--json={workdir / 'evaluation.json'}",
    ]
    stages.run("evaluate", [Job("evaluate", [*gato, "evaluate", *evaluate])])
    stages.run("held out", [job("held out")])
    _write_results(stages, config, workdir)
    stages.run("report", [Job("report", [*gato, "report", f"--workdir={workdir}"])])


def _prepare(config, workdir: pathlib.Path):
    """What can be known to stop the run half-way stops it here."""
    workdir.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(workdir).free < _FREE_BYTES:
        raise OSError(f"{workdir} has less than {_FREE_BYTES >> 30} GiB free; free some or name another --workdir")
    wanted, path = json.loads(config.to_json()), workdir / "config.json"
    if path.exists():
        there = json.loads(path.read_text())
        for key in wanted.keys() | there.keys():
            if wanted.get(key) != there.get(key):
                raise ValueError(
                    f"{workdir} holds a run of another config: {key} is {there.get(key)!r} there and "
                    f"{wanted.get(key)!r} here; remove it or name another --workdir"
                )
    else:
        _check(config)
    quickstart_jobs.emoji_folder(workdir)
    write_json(path, wanted)


def _check(config):
    """A config that `gato train` would refuse is refused now, in a process of its own: this one stays small."""
    settings = config.experiment
    for name in ("robot_episodes", "robot_held_out", "evaluation_episodes", "environments"):
        if settings[name] < 1:
            raise ValueError(f"experiment.{name} must be positive, got {settings[name]}")
    if not settings.temperature >= 0:
        raise ValueError(f"experiment.temperature must not be negative, got {settings.temperature}")
    code = "import json, sys; from gato_jax.training import TrainConfig; TrainConfig.from_mapping(json.load(sys.stdin))"
    fields = {key: value for key, value in json.loads(config.to_json()).items() if key != "experiment"}
    checked = subprocess.run([sys.executable, "-c", code], input=json.dumps(fields), capture_output=True, text=True)
    if checked.returncode:
        raise ValueError(checked.stderr.strip().splitlines()[-1].partition(": ")[2])


def _write_results(stages: Stages, config, workdir: pathlib.Path):
    """`gato evaluate --json`, and what the run took."""
    results = json.loads((workdir / "evaluation.json").read_text())
    results["held_out"] = json.loads((workdir / "held_out.json").read_text())
    results["minutes"] = sum(stages.seconds.values()) / 60
    results["peak_memory_bytes"] = stages.peak_memory_bytes
    trained = json.loads((workdir / "train.json").read_text())
    results["run"] = {
        "steps": trained["step"],
        "tokens": trained["tokens"],
        "parameters": trained["parameters"],
        "seed": config.seed,
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "grain", "mujoco")},
        "command": " ".join(["python -m experiments.quickstart", *sys.argv[1:]]),
        "stages": stages.seconds,
    }
    write_json(workdir / "results.json", results)


def _arguments() -> list[str]:
    """The config and folder of this call, for the processes below it."""
    mine = [argument for argument in sys.argv[1:] if argument.lstrip("-").startswith("config.")]
    return [f"--config={config_flags.get_config_filename(flags.FLAGS['config'])}", f"--workdir={_WORKDIR.value}", *mine]


def _complain(error: Exception | str, status: int) -> int:
    print(f"quickstart: {error}", file=sys.stderr)
    return status


def _parse(argv: list[str]) -> list[str]:
    """The flags; a wrong one is one line, as everywhere."""
    given = any(argument.lstrip("-").split("=")[0] == "config" for argument in argv[1:])
    try:  # a default of the flag would be loaded, and fail, as this module is imported
        parse_flags(flags.FLAGS, argv if given else [argv[0], "--config=configs/quickstart.py", *argv[1:]])
    except (flags.Error, UsageError) as error:
        sys.exit(_complain(error, 2))
    return argv[:1]


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
