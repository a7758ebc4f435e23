"""`gato export --format=safetensors`: an agent in one file, that acts as the run does; what is refused; a kill."""

import itertools
import json
import os
import signal
import time

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from gato_jax.checkpoints import CheckpointError, import_params
from gato_jax.episodes import open_dataset
from gato_jax.policy import Agent, Policy
from tests.integration.conftest import CONFIG, DATASET, TASK, finish, gato, start

# Writes half of the file, and then never the rest.
STUCK = """
import pathlib, time
from gato_jax import cli
from gato_jax.checkpoints import safetensors_format
def save_file(tensors, path, metadata):
    pathlib.Path(path).write_bytes(bytes(1000))
    time.sleep(600)
safetensors_format.save_file = save_file
cli.main()
"""


def export(run, output, *arguments):
    return gato("export", f"--workdir={run}", "--format=safetensors", f"--output={output}", *arguments)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """An agent's file, and what the command said of it. Do not change it."""
    folder = tmp_path_factory.mktemp("agent")
    return folder / "agent.safetensors", export(trained, folder / "agent.safetensors", f"--json={folder / 'out.json'}")


def test_the_command_says_what_it_wrote(exported, trained):
    path, said = exported
    made, tensors = json.loads((path.parent / "out.json").read_text()), load_file(path)
    assert made == {
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "tensors": len(tensors),
        "bytes": path.stat().st_size,
        "step": 20,
    }
    assert json.loads((trained / "train.json").read_text())["parameters"] == made["parameters"]
    assert (
        said.status == 0
        and not said.err
        and said.out == (f"{made['parameters']} parameters of step 20, in float32: {made['bytes']} bytes in {path}\n")
    )


def test_an_agent_from_the_file_is_the_agent_of_the_run(exported, trained):
    agent, other = Agent.restore(exported[0]), Agent.restore(trained)
    assert jax.tree.structure(agent.params) == jax.tree.structure(other.params)
    jax.tree.map(np.testing.assert_array_equal, agent.params, other.params)
    for name in ("model", "graph", "contract", "context", "memory_steps", "step", "image_tokenizer"):
        assert getattr(agent, name) == getattr(other, name)
    [episode] = itertools.islice(open_dataset(trained / "data" / DATASET / "1.0.0"), 1)
    observation = {key: values[0] for key, values in episode.observation.items()}
    acted = [Policy(one, TASK, 1, temperature=0.0).act([observation]) for one in (agent, other)]
    assert acted[0] == acted[1]


def test_half_of_the_bytes_are_asked_for(exported, trained, tmp_path):
    said = export(trained, tmp_path / "half.safetensors", "--dtype=bfloat16")
    assert said.status == 0 and "in bfloat16: " in said.out
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * exported[0].stat().st_size
    found, exact = (import_params(path).params for path in (tmp_path / "half.safetensors", exported[0]))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2**-8), found, exact)


def test_what_is_there_is_replaced_only_if_asked_for(trained, tmp_path):
    path = tmp_path / "agent.safetensors"
    path.write_text("before")
    said = export(trained, path).complaint()
    assert f"--output is {path}, which exists already. Name another file, or replace it (--overwrite)." in said
    assert path.read_text() == "before"
    assert export(trained, path, "--overwrite").status == 0 and import_params(path).step == 20


AGENT = ["--workdir={run}", "--format=safetensors", "--output={tmp}/a.safetensors"]
DATA = ["--data={run}/data", "--format=parquet", "--output={tmp}/out"]


@pytest.mark.parametrize(
    "words, said",
    [
        ([*AGENT, "--data={run}/data"], "--data is given with --format=safetensors, expected array_record or parquet"),
        ([*AGENT, "--split=train"], "--split is given with --format=safetensors"),
        ([*AGENT, "--context=9"], "--context is given with --format=safetensors, expected parquet"),
        ([*AGENT, f"--config={CONFIG}"], "--config is given with --format=safetensors"),
        ([*DATA, "--workdir={run}"], "--workdir is given with --format=parquet, expected safetensors"),
        ([*DATA, "--dtype=float32"], "--dtype is given with --format=parquet, expected safetensors"),
        (AGENT[1:], "--workdir is missing"),
        (AGENT[:2], "--output is missing"),
        ([*AGENT, "--dtype=float16"], "should be one of <float32|bfloat16>"),
        (
            [*AGENT[:2], "--output={tmp}/agent.bin"],
            "agent.bin has the suffix '.bin', expected .safetensors",
        ),
        ([*AGENT[:2], "--output={tmp}"], "a folder, expected a file. Name a file"),
        (
            [*AGENT[:2], f"--output={CONFIG}/a.safetensors"],
            f"{CONFIG} is a file, expected a folder. Name another folder",
        ),
        (
            ["--workdir={tmp}", *AGENT[1:]],
            "expected the folder of a run. It holds no checkpoints. Train there first, or name another one",
        ),
    ],
)
def test_what_cannot_be_is_one_line(words, said, trained, tmp_path):
    def fill(word):
        return word.replace("{run}", str(trained)).replace("{tmp}", str(tmp_path))

    assert fill(said) in gato("export", *map(fill, words)).complaint() and not list(tmp_path.iterdir())


def test_killed_in_the_middle_no_file_is_there(trained, tmp_path):
    out, partial = tmp_path / "a.safetensors", tmp_path / "a.safetensors.partial"
    words = ["export", f"--workdir={trained}", "--format=safetensors", f"--output={out}"]
    process = start("-c", STUCK, *words)
    deadline = time.monotonic() + 120
    while not any(file.stat().st_size for file in partial.rglob("*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process).status == -signal.SIGKILL
    assert partial.exists() and not out.exists()
    with pytest.raises(CheckpointError, match=f"{out} is no file"):
        import_params(out)
    assert gato(*words).status == 0 and list(tmp_path.iterdir()) == [out]
