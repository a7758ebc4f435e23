"""The quickstart: record episodes, train one agent, play and score it, and write a report, on two cores.

    .venv/bin/python -m experiments.quickstart --config=configs/quickstart.py --workdir=runs/quickstart

Every stage runs in processes of its own, so that no process that trains or acts imports TensorFlow. A run that was
killed continues when the command is repeated: with the first unfinished job, and in training with the newest
checkpoint.
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

from experiments import quickstart_jobs
from experiments.stages import Job, JobError, Stages, write_json
from gato_jax.episodes import dataset_name
from gato_jax.episodes.differences import require_same
from gato_jax.reports import read_results, summary_table
from gato_jax.runtime.sessions import machine
from gato_jax.verbs.flags import define_config, parse_flags
from gato_jax.verbs.outputs import one_line
from gato_jax.verbs.usage import UsageError

_CONFIG = define_config(flags.FLAGS, sys.argv)  # default: configs/quickstart.py
_WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "Folder of the run.")
_JOB = flags.DEFINE_string("job", None, "Name of one job to run in this process; used by the script itself.")

_FREE_BYTES = 2 << 30


def main(argv: list[str]):
    """Run the unfinished stages and print the scores, or run the one job that --job names."""
    config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
    if _JOB.value:
        logging.set_verbosity(logging.ERROR)  # orbax and TFDS log every step of a job
        quickstart_jobs.run(_JOB.value, config, workdir)
        return
    try:
        _prepare(config, workdir)
        stages = Stages(workdir)
        if (workdir / "report.html").exists() and "report" in stages.done:
            print(f"{workdir} holds a finished run. Remove it to start again.\n")
        else:
            _run(stages, config, workdir)
    except KeyboardInterrupt:
        sys.exit(_print_error("interrupted. Run the command again to continue.", 130))
    except JobError as error:
        sys.exit(_print_error(error, error.status if error.status in (1, 2) else 1))
    except (OSError, ValueError) as error:
        sys.exit(_print_error(one_line(str(error)), 2))
    print(summary_table(read_results(workdir)))
    print(f"\nresults  {workdir / 'results.json'}\nreport   {workdir / 'report.html'}")


def _run(stages: Stages, config, workdir: pathlib.Path):
    tasks, settings = config.experiment.tasks, config.experiment
    gato = [sys.executable, "-m", "gato_jax.cli"]
    own = [sys.executable, "-m", "experiments.quickstart", *_arguments()]
    train = [*gato, "train", *_arguments(), f"--json={workdir / 'train.json'}"]

    def collect(task: str) -> Job:
        episodes = settings.episodes[dataset_name(task)]
        flags = [f"--tasks={task}", f"--episodes={episodes}", f"--output={workdir / 'data'}", "--workers=0"]
        dataset = workdir / "data" / dataset_name(task) / "1.0.0"
        return Job(f"record {task}", [*gato, "collect", *flags], is_done=dataset.exists)

    def job(name: str) -> Job:
        return Job(name, [*own, f"--job={name}"])

    # The longest jobs come first, so that the two workers finish at about the same time.
    record = [job("record robot"), *map(collect, reversed(tasks)), job("record captions"), job("record dialogue")]
    stages.run("record", record, side_by_side=2)
    stages.run("train", [Job("train", train, is_done=(workdir / "train.json").exists)])
    evaluate = [
        f"--workdir={workdir}",
        f"--tasks={','.join(tasks)}",
        f"--episodes={settings.evaluation_episodes}",
        "--measure_references",  # only what the committed table lacks for the installed versions
        f"--environments={settings.environments}",
        f"--temperature={settings.temperature}",
        "--prompt=none",
        f"--json={workdir / 'evaluation.json'}",
    ]
    scores = workdir / "evaluation.json"

    def is_evaluated() -> bool:
        return scores.exists() and set(tasks) <= json.loads(scores.read_text())["tasks"].keys()

    stages.run("evaluate", [Job("evaluate", [*gato, "evaluate", *evaluate], is_done=is_evaluated)])
    stages.run("evaluate prompted", [job("evaluate prompted")])
    stages.run("held out", [job("held out")])
    _write_results(stages, config, workdir)
    stages.run("report", [Job("report", [*gato, "report", f"--workdir={workdir}"])])


def _prepare(config, workdir: pathlib.Path):
    """Check disk space, config and packages, so that nothing foreseeable stops the run later, and keep the config."""
    workdir.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(workdir).free < _FREE_BYTES:
        raise OSError(
            f"{workdir} has less than {_FREE_BYTES >> 30} GiB free. Free some space or choose another --workdir."
        )
    wanted, path = json.loads(config.to_json()), workdir / "quickstart_config.json"
    if path.exists():
        require_same(
            wanted, json.loads(path.read_text()), problem=f"{workdir} holds a run of another config", holder=path.name,
            remedy="Remove the folder or choose another --workdir.", error=ValueError,
        )  # fmt: skip
    else:
        _check(config)
    quickstart_jobs.emoji_folder(workdir)
    write_json(path, wanted)


def _check(config):
    """Raise ValueError if `gato train` would refuse the config. A separate process checks it to keep this one small."""
    settings = config.experiment
    for name in ("robot_episodes", "robot_held_out", "evaluation_episodes", "prompted_episodes", "environments"):
        if settings[name] < 1:
            raise ValueError(f"experiment.{name} is {settings[name]}, expected a positive number")
    if not settings.temperature >= 0:
        raise ValueError(f"experiment.temperature is {settings.temperature}, expected 0 or more")
    code = "import json, sys; from gato_jax.training import TrainConfig; TrainConfig.from_mapping(json.load(sys.stdin))"
    fields = {key: value for key, value in json.loads(config.to_json()).items() if key != "experiment"}
    checked = subprocess.run([sys.executable, "-c", code], input=json.dumps(fields), capture_output=True, text=True)
    if checked.returncode:
        raise ValueError(checked.stderr.strip().split("\n")[-1].partition(": ")[2])


def _write_results(stages: Stages, config, workdir: pathlib.Path):
    """Write results.json: scores without and with prompts, held-out scores, and duration, memory and versions."""
    results = json.loads((workdir / "evaluation.json").read_text())
    results["prompted"] = json.loads((workdir / "prompted.json").read_text())
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
    """Return the flags of this call that the processes of its jobs need: config, overrides and folder."""
    overrides = [argument for argument in sys.argv[1:] if argument.lstrip("-").startswith("config.")]
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    return [f"--config={config_file}", f"--workdir={_WORKDIR.value}", *overrides]


def _print_error(error: Exception | str, status: int) -> int:
    """Print an error to stderr and return the exit status."""
    print(f"quickstart: {error}", file=sys.stderr)
    return status


def _parse(argv: list[str]) -> list[str]:
    """Parse the flags. An error is printed in one line, and the process exits with status 2."""
    has_config = any(argument.lstrip("-").split("=")[0] == "config" for argument in argv[1:])
    try:  # a default of the flag itself would be loaded, and could fail, while this module is imported
        parse_flags(flags.FLAGS, argv if has_config else [argv[0], "--config=configs/quickstart.py", *argv[1:]])
    except (flags.Error, UsageError) as error:
        sys.exit(_print_error(error, 2))
    return argv[:1]


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
