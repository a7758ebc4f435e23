"""The launchers: what they refuse, what they would run, and that it arrives as it was given, through every shell."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.integration.conftest import CONFIG, ROOT

LAUNCH = ROOT / "experiments" / "launch"
LAUNCHERS = ["one_gpu.sh", "several_gpus.sh", "slurm.sbatch", "tpu_pod.sh"]
TOOLS = ("bash", "basename", "dirname", "env", "seq")
SLICE = {"TPU_NAME": "pod", "ZONE": "us-central2-b"}
FLAGS = ["--config.steps=3", '--config.model.bin_init=it\'s ("odd", $HOME)']  # nothing of this is the shell's

# A command that leaves its words and its environment, one a line each, in files of its own name, and, as gcloud would
# on a host, runs what it finds in --command.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$SAID/$(basename "$0").words"
env > "$SAID/$(basename "$0").env"
case "$(basename "$0")" in
  srun) while [[ "$1" == --* ]]; do shift; done; exec "$@" ;;
  gcloud) for word in "$@"; do [[ "$word" != --command=* ]] || (cd "$HOME" && bash -c "${word#--command=}"); done ;;
esac
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> pathlib.Path:
    """The only commands that a launcher finds: no test must reach a cloud or a cluster that this machine knows."""
    folder = tmp_path_factory.mktemp("tools")
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


@pytest.fixture(scope="module")
def launch(tools):
    """`launch(name, *arguments, **environment)` calls a launcher in the repository's root, with no environment more."""

    def call(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", LAUNCH / name, *map(str, arguments)]
        environment = {"PATH": str(tools), **environment}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    return call


@pytest.fixture(scope="module")
def dry_run(launch):
    """`dry_run(name, **environment)` gives the words of the command that would run."""

    def words(name: str, **environment: str) -> list[str]:
        said = launch(name, CONFIG, "runs/a b", *FLAGS, DRY_RUN="1", **SLICE, **environment)
        assert said.returncode == 0 and not said.stderr and said.stdout.count("\n") == 1, said
        return shlex.split(said.stdout)

    return words


def train_words() -> list[str]:
    return [".venv/bin/gato", "train", f"--config={CONFIG}", "--workdir=runs/a b", *FLAGS]


def flags_of(words: list[str]) -> list[str]:
    (flags,) = (word.removeprefix("XLA_FLAGS=") for word in words if word.startswith("XLA_FLAGS="))
    return flags.split()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_without_arguments_the_usage(launch, name):
    for arguments in ((), (CONFIG,)):
        said = launch(name, *arguments)
        assert said.returncode == 2 and not said.stdout
        assert said.stderr.startswith("usage: ") and said.stderr.count("\n") == 1
        assert f"experiments/launch/{name} CONFIG WORKDIR" in said.stderr
    assert os.access(LAUNCH / name, os.X_OK)


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize(
    "arguments, said",
    [
        (("configs/none.py", "runs/x"), "no config configs/none.py; name a file"),
        ((CONFIG, "gs://bucket/run"), "gs://bucket/run is no folder; mount the bucket"),
        ((CONFIG, "runs/x", "steps=3"), "'steps=3' is no flag; write it as --config.KEY=VALUE"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(launch, name, arguments, said):
    complaint = launch(name, *arguments, **SLICE)
    assert complaint.returncode == 2 and not complaint.stdout and complaint.stderr.count("\n") == 1
    assert complaint.stderr.startswith("launch: ") and said in complaint.stderr


@pytest.mark.parametrize(
    "name, environment, said",
    [
        ("one_gpu.sh", {"GPU": "0,1"}, "GPU=0,1 is no number; for more than one: experiments/launch/several_gpus.sh"),
        ("one_gpu.sh", {"GATO": "/nowhere/gato"}, "no command /nowhere/gato; run 'make install'"),
        ("slurm.sbatch", {}, "there is no job here; submit this file with sbatch"),
        ("slurm.sbatch", {"SLURM_JOB_ID": "7", "SLURM_NTASKS_PER_NODE": "3"}, "set it to 8 or to 1"),
        ("tpu_pod.sh", {"ZONE": "here"}, "TPU_NAME='' ZONE='here': set both"),
        ("tpu_pod.sh", SLICE, "no command gcloud on this machine"),
    ],
)
def test_a_bad_environment_is_one_line_and_status_2(launch, name, environment, said):
    complaint = launch(name, CONFIG, "runs/x", **environment)
    assert complaint.returncode == 2 and not complaint.stdout and complaint.stderr.count("\n") == 1
    assert said in complaint.stderr


def test_one_gpu(dry_run):
    words = dry_run("one_gpu.sh", GPU="3")
    assert words[0] == "env" and words[-6:] == train_words()
    assert {"JAX_PLATFORMS=cuda", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=3"} < set(words)
    assert not any(word.startswith("XLA_FLAGS") for word in words)


def test_several_gpus(dry_run):
    words = dry_run("several_gpus.sh")
    assert words[-6:] == train_words() and "JAX_PLATFORMS=cuda" in words
    assert "--xla_gpu_enable_latency_hiding_scheduler=true" in flags_of(words)
    assert flags_of(dry_run("several_gpus.sh", XLA_FLAGS="--mine=1 --too=2")) == ["--mine=1", "--too=2"]


def test_slurm_has_a_process_for_each_gpu_or_one_with_all_of_a_node(dry_run):
    words = dry_run("slurm.sbatch", SLURM_CPUS_PER_TASK="5")
    assert words[:3] == ["srun", "--kill-on-bad-exit=1", "--cpus-per-task=5"]
    assert words[-7:] == [*train_words(), "--config.distributed=True"]
    assert flags_of(words) == flags_of(dry_run("several_gpus.sh"))
    assert not any(word.startswith("JAX_LOCAL_DEVICE_IDS") for word in words)
    words = dry_run("slurm.sbatch", SLURM_NTASKS_PER_NODE="1", SLURM_GPUS_ON_NODE="4")
    assert "JAX_LOCAL_DEVICE_IDS=0,1,2,3" in words


def test_a_tpu_pod_runs_it_on_every_host(dry_run):
    words = dry_run("tpu_pod.sh", REPOSITORY="my code", PROJECT="robots")
    assert words[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod"]
    assert {"--zone=us-central2-b", "--project=robots", "--worker=all"} < set(words)
    there = shlex.split(words[-1].removeprefix("--command="))
    assert there[:6] == ["cd", "my code", "&&", "exec", "env", "JAX_PLATFORMS=tpu"]
    assert there[6:] == [*train_words(), "--config.distributed=True"]
    assert not any(word.startswith("--project") for word in dry_run("tpu_pod.sh"))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_given_arrives(launch, tools, name, tmp_path):
    repository = tmp_path / "gato_jax"
    stand_ins = [tmp_path / "bin" / command for command in ("srun", "gcloud")]
    gato = repository / ".venv" / "bin" / "gato"
    for path in (*stand_ins, gato):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
    on_hosts = name == "tpu_pod.sh"
    said = launch(
        name, CONFIG, "runs/a b", *FLAGS, **SLICE,
        PATH=f"{tmp_path / 'bin'}:{tools}", HOME=str(tmp_path), SAID=str(tmp_path), SLURM_JOB_ID="7",
        **({} if on_hosts else {"GATO": str(gato)}),
    )  # fmt: skip
    assert said.returncode == 0 and not said.stderr, said
    distributed = ["--config.distributed=True"] if name in ("slurm.sbatch", "tpu_pod.sh") else []
    assert (tmp_path / "gato.words").read_text().splitlines() == [*train_words()[1:], *distributed]
    environment = dict(line.partition("=")[::2] for line in (tmp_path / "gato.env").read_text().splitlines())
    assert environment["JAX_PLATFORMS"] == ("tpu" if on_hosts else "cuda")
    assert ("XLA_FLAGS" in environment) == (name in ("several_gpus.sh", "slurm.sbatch"))
    assert pathlib.Path(environment["PWD"]) == (repository if on_hosts else ROOT)


def test_xla_knows_every_flag(dry_run):
    """XLA ends a process that names a flag it does not have."""
    code = "import jax; jax.devices()"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags_of(dry_run("several_gpus.sh")))}
    known = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert known.returncode == 0, known.stderr
    environment["XLA_FLAGS"] += " --xla_gpu_enable_wishes=true"
    unknown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert unknown.returncode != 0 and "--xla_gpu_enable_wishes=true" in unknown.stderr
