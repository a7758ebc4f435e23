"""`gato finetune` from an agent's file to a score on a task that is new to it; broken off; continued; refused."""

import dataclasses
import json
import shutil
import signal

import jax
import numpy as np
import pytest

from gato_jax.checkpoints import AgentCheckpoint, export_params
from gato_jax.environments import EVALUATION_SEEDS, load, package_versions
from gato_jax.environments.suites import dm_control
from gato_jax.episodes import dataset_name, write_dataset
from gato_jax.evaluation import learning_curve, reference_table, write_table
from gato_jax.evaluation.references import hash_spec
from gato_jax.model import graphdef
from gato_jax.policy import Agent
from gato_jax.tokenization import Contract
from gato_jax.training.finetuning import digest
from tests.evaluation.made_references import made_references
from tests.integration.conftest import finish, gato, metrics_of, start
from tests.model.made_model import TINY, alive
from tests.tokenization.made_tasks import CONTROL, random_episode

pytestmark = pytest.mark.usefixtures("shared_programs")

TASK = "dm_control/cartpole/swingup"
MODEL = dataclasses.replace(TINY, layers=1, stochastic_depth=0.1)
STEPS = 7  # of an episode; else it would be a thousand

CONFIG = """
from configs import finetune

def get_config(task="{task}"):
    config = finetune.get_config(task)
    config.steps, config.batch_size, config.context, config.log_every = 6, 8, 32, 1
    config.evaluate_every, config.rollouts, config.smoothing, config.environments = 2, 2, 2, 2
    config.episodes, config.keep_best = 3, 4
    config.compute.dtype, config.compute.remat, config.compute.scan = "float32", "none", False
    config.optimizer.peak_learning_rate = 1e-2
    config.dataset.source = "recorded:{data}"
    return config
"""

# Dies by SIGKILL when it begins to play at its first checkpoint.
DIES = f"""
import os, signal
from gato_jax import cli
from gato_jax.environments.suites import dm_control
from gato_jax.evaluation import learning_curve
dm_control.DMControl.max_steps = property(lambda _: {STEPS}, lambda *_: None)
learning_curve.play = lambda *_, **options: os.kill(os.getpid(), signal.SIGKILL)
cli.main()
"""


@pytest.fixture(scope="module", autouse=True)
def short_episodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dm_control.DMControl, "max_steps", property(lambda _: STEPS, lambda *_: None), raising=False)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The file of an agent that knows another task, with params that no training has."""
    path = tmp_path_factory.mktemp("base") / "agent.safetensors"
    contract = Contract.of(MODEL.tokenization, [CONTROL])
    run = {"context": 32, "memory_steps": {CONTROL.name: None}}
    export_params(AgentCheckpoint(40, MODEL, graphdef(MODEL), alive(MODEL), contract, run), path)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The dataset of five episodes of the new task."""
    folder = tmp_path_factory.mktemp("recorded")
    said = gato("collect", f"--tasks={TASK}", "--episodes=5", f"--output={folder}")
    assert said.status == 0, said.err
    return folder / dataset_name(TASK) / "1.0.0"


@pytest.fixture(scope="module")
def config(recorded, tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "config.py"
    file.write_text(CONFIG.format(task=TASK, data=recorded))
    return file


@pytest.fixture(scope="module")
def run(base, config):
    """A function that fine-tunes the agent of `base` in a folder."""

    def finetune(workdir, *arguments):
        return gato("finetune", f"--from={base}", f"--config={config}", f"--workdir={workdir}", *arguments)

    return finetune


@pytest.fixture(scope="module")
def tuned(run, tmp_path_factory):
    """The folder of a run without a break, its JSON and what it said. Do not change it."""
    folder = tmp_path_factory.mktemp("tuned")
    said = run(folder / "run", f"--json={folder / 'out.json'}")
    assert said.status == 0, said.err
    return folder / "run", json.loads((folder / "out.json").read_text()), said.out


def curve_of(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "finetune.jsonl").read_text().splitlines()]


def test_the_json_has_the_curve_and_its_maximum(tuned):
    workdir, result, out = tuned
    assert set(result) == {
        "step", "loss", "tokens", "tokens_per_second", "parameters", "task", "episodes", "series",
        "curve", "smoothed", "best_step", "score", "metric", "normalised",
    }  # fmt: skip
    assert (result["step"], result["tokens"]) == (6, 6 * 8 * 32) and result["loss"] == metrics_of(workdir)[-1]["loss"]
    assert (result["task"], result["episodes"], result["series"], result["metric"]) == (TASK, 3, 0, "return")
    assert [(point["step"], point["episodes"]) for point in result["curve"]] == [(2, 2), (4, 2), (6, 2)]
    one, two, three = (point["mean"] for point in result["curve"])
    smoothed = [(point["step"], point["mean"], point["episodes"]) for point in result["smoothed"]]
    assert smoothed == [(4, pytest.approx((one + two) / 2), 4), (6, pytest.approx((two + three) / 2), 4)]
    assert one != two and two != three and result["score"] == max(point["mean"] for point in result["smoothed"]) > 0
    assert result["best_step"] == next(p["step"] for p in result["smoothed"] if p["mean"] == result["score"])
    assert json.loads((workdir / "finetune.json").read_text()) == result
    assert f"score {result['score']:.4g} (return)" in out and f"up to step {result['best_step']}" in out


def test_its_report_has_its_curve_and_what_made_it(tuned, tmp_path):
    workdir = shutil.copytree(tuned[0], tmp_path / "run")
    [session] = map(json.loads, (workdir / "sessions.jsonl").read_text().splitlines())
    assert session["command"].startswith("gato finetune ") and "cpu" in session["devices"]
    assert gato("report", f"--workdir={workdir}").status == 0
    text = (workdir / "report.html").read_text()
    head = text.partition("<main>")[0]
    assert 'id="curve"' in text and session["started"][:10] in head and session["versions"]["jax"] in head


def test_it_learns_from_the_episodes_that_it_names(tuned, recorded):
    workdir, _, out = tuned
    began = json.loads((workdir / "finetune_start.json").read_text())
    index = np.load(recorded / "episode_index.npz")
    best = np.argsort(-index["train/episode_return"])[:4].tolist()
    chosen = [entry["episode"] for entry in began["selection"]]
    assert len(set(chosen)) == 3 and set(chosen) <= set(best)
    assert [entry["return"] for entry in began["selection"]] == index["train/episode_return"][chosen].tolist()
    assert "3 episodes, series 0, drawn from the best 4 of 5" in out
    assert all(f"{entry['episode']} ({entry['return']:.4g})" in out for entry in began["selection"])
    [row] = json.loads((workdir / "data.json").read_text())
    assert (row["dataset"], row["episodes"], row["steps"]) == (TASK, 3, 3 * STEPS)


def test_the_new_agent_has_the_old_ones_tokens_and_the_new_task(tuned):
    agent = Agent.restore(tuned[0])
    assert agent.contract.tokenization == MODEL.tokenization and list(agent.contract.tasks) == [TASK]
    assert agent.model == dataclasses.replace(MODEL, dropout=0.1, stochastic_depth=0.0)


def test_where_references_are_the_score_is_normalised(tuned, run, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "run")
    references = made_references(
        task=TASK, packages=tuple(package_versions(TASK)), spec_hash=hash_spec(load(TASK).task_spec)
    )
    write_table({TASK: references}, tmp_path / "run" / reference_table.MEASURED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_table, "COMMITTED", tmp_path / "none.jsonl")
        assert run(tmp_path / "run").status == 0  # it is finished: nothing is trained or played
    result = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert curve_of(tmp_path / "run") == curve_of(tuned[0])
    assert references.expert is not None
    fraction = (result["score"] - references.random.mean) / (references.expert.mean - references.random.mean)
    assert result["normalised"] == pytest.approx(fraction)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a broken run leaves its files open
def test_a_run_that_is_broken_off_goes_on_without_a_gap(run, tuned, tmp_path, monkeypatch):
    played = []

    def play_or_break(make_actor, episodes, **options):
        played.append((make_actor.args[0].step, [seed for _, seed in episodes]))
        if len(played) == 2:
            raise KeyboardInterrupt
        return play(make_actor, episodes, **options)

    play = learning_curve.play
    monkeypatch.setattr(learning_curve, "play", play_or_break)
    workdir = tmp_path / "run"
    assert run(workdir, "--stop_after=3").status == 0 and len(curve_of(workdir)) == 1
    assert json.loads((workdir / "finetune.json").read_text())["score"] is None
    broken_off = run(workdir)
    assert broken_off.status == 130 and broken_off.err.splitlines()[-1].startswith("gato finetune: interrupted")
    assert len(curve_of(workdir)) == 1
    assert run(workdir).status == 0
    assert curve_of(workdir) == curve_of(tuned[0]) and metrics_of(workdir) == metrics_of(tuned[0])
    seeds = {step: list(EVALUATION_SEEDS[step - 2 : step]) for step in (2, 4, 6)}
    assert played == [(step, seeds[step]) for step in (2, 4, 4, 6)]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_too(base, config, run, tmp_path):
    """Here even with two devices where it had one."""
    command = ["finetune", f"--from={base}", f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    killed = finish(start("-c", DIES, *command))
    assert killed.status == -signal.SIGKILL, killed.err
    assert (tmp_path / "run" / "checkpoints" / "2").exists() and not curve_of(tmp_path / "run")
    assert run(tmp_path / "run").status == 0
    assert [line["step"] for line in curve_of(tmp_path / "run")] == [2, 4, 6]


def test_a_task_without_an_environment_is_tuned_without_rollouts(tuned, config, tmp_path):
    """And without a learning rate: it ends with the params that it begins with, those of a run's newest checkpoint."""
    source = write_dataset(tmp_path / "data", CONTROL, {"train": [random_episode(CONTROL, n, 5) for n in range(4)]})
    words = [f"--from={tuned[0]}", f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    words += [f"--config.task={CONTROL.name}", f"--config.dataset.source=recorded:{source}"]
    words += ["--config.keep_best=2000", "--config.optimizer.peak_learning_rate=0.0", "--stop_after=2"]
    assert "rollouts=0 fine-tunes on a task that has no environment" in gato("finetune", *words).complaint()
    said = gato("finetune", *words, "--config.rollouts=0")
    assert said.status == 0, said.err
    assert "drawn from all, no more than 2000, of 4" in said.out and not curve_of(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert (result["step"], result["curve"], result["score"], result["best_step"]) == (2, [], None, None)
    agent, other = (Agent.restore(path) for path in (tmp_path / "run", tuned[0]))
    jax.tree.map(np.testing.assert_array_equal, agent.params, other.params)
    began = json.loads((tmp_path / "run" / "finetune_start.json").read_text())
    assert began["from"] == {"step": 6, "params": digest(other.params)} and list(agent.contract.tasks) == [CONTROL.name]


@pytest.mark.parametrize(
    "words, said",
    [
        (
            ["--config.task=dm_control/cartpole/swingap"],
            "unknown task 'dm_control/cartpole/swingap'; nearest: dm_contr",
        ),
        (
            ["--config.task=dm_control/cartpole/balance"],
            f"is of task {TASK}, the config's task is dm_control/cartpole/",
        ),
        (
            ["--from={tmp}"],
            "--from is {tmp}, expected the folder of a run or a .safetensors file of `gato export`. It",
        ),
        (["--from={tmp}/none.safetensors"], "--from is {tmp}/none.safetensors, expected the folder of a run or"),
        (["--from="], "--from is missing"),
        (["--config.episodes=6", "--config.keep_best=6"], "episodes is 6, expected at most 5"),
        (["--config.episodes=5"], "episodes is 5, expected at most keep_best (4)"),
        (["--config.dataset.source=recorded:{tmp}/none"], "{tmp}/none: no dataset"),
        (["--config.dataset.source=tokens:{tmp}"], "tokens:{tmp} can be trained on alone; name the dataset"),
        (["--config.context=5"], "a timestep of 7 tokens exceeds context 5"),
        (["--config.epsiodes=1"], "unknown key 'epsiodes'. Did you mean 'episodes'?"),
        (["--config.steps=5"], "steps is 5, expected a multiple of evaluate_every (2)"),
        (["--config.model.dropout=1.5"], "config.model.dropout is 1.5, expected a number in [0, 1)"),
        (["loose"], "unexpected 'loose'"),
    ],
)
def test_what_cannot_be_is_one_line(words, said, run, tmp_path):
    def fill(word):
        return word.replace("{tmp}", str(tmp_path))

    assert fill(said) in run(tmp_path / "run", *map(fill, words)).complaint()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_task_whose_package_is_missing_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr("gato_jax.environments.suite.Suite.missing", lambda suite: ["dm-control"])
    assert f"{TASK} does not run here: pip install dm-control" in run(tmp_path / "run").complaint()


def test_another_tokenization_is_one_line(run, config, base, tmp_path):
    file = tmp_path / "config.py"
    file.write_text(
        config.read_text().replace("return config", "config.tokenization = {'mu': 50.0}\n    return config")
    )
    said = run(tmp_path / "run", f"--config={file}").complaint()
    assert f"the tokenization of {base} differs: tokenization.mu: 50.0 here, 100.0 in {base}" in said


def test_recordings_that_the_environment_contradicts_are_one_line(run, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "data")
    spec = json.loads((tmp_path / "data" / "task.json").read_text())
    spec["task"]["control_rate_hz"] = 5.0
    (tmp_path / "data" / "task.json").write_text(json.dumps(spec))
    said = run(tmp_path / "run", f"--config.dataset.source=recorded:{tmp_path / 'data'}").complaint()
    assert f"the tokenization of the environment {TASK} differs" in said and "control_rate_hz: 5.0 here, 100.0" in said


@pytest.mark.parametrize(
    "change, said",
    [
        ("episodes=2", "episodes: 2 here, 3 in"),
        ("series=1", "series: 1 here, 0 in"),
        ("rollouts=3", "rollouts: 3 here, 2 in"),
        ("seed=1", "seed: 1 here, 0 in its checkpoint"),
        ("model.dropout=0.2", "dropout: 0.2 here, 0.1 in"),
    ],
)
def test_a_folder_with_another_run_is_left_as_it_is(change, said, run, tuned):
    before = {path: path.read_bytes() for path in tuned[0].glob("*.json*")}
    complaint = run(tuned[0], f"--config.{change}").complaint()
    assert "holds another" in complaint and said in complaint and "name another --workdir" in complaint
    assert {path: path.read_bytes() for path in tuned[0].glob("*.json*")} == before


def test_a_folder_that_began_as_another_agent_is_left_as_it_is(tuned, config):
    words = ["finetune", f"--from={tuned[0]}", f"--config={config}", f"--workdir={tuned[0]}"]
    complaint = gato(*words).complaint()
    assert "holds another run's checkpoint: from.params: '" in complaint and "from.step: " in complaint
