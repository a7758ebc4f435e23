"""`gato` itself: help, flags, configs, the registry; a wrong word is one line that names the nearest right one."""

import json
import re
import signal
import subprocess
import sys

import pytest

from gato_jax import cli
from gato_jax.environments import suites, task_names
from gato_jax.experts import expert_names
from gato_jax.runtime.atomic_writes import atomic_file
from tests.integration.conftest import CONFIG, ROOT, TASK, finish, gato, start_cold

TINY = f"--config={CONFIG}"
HELP_OF_ALL = """
import contextlib, sys
from gato_jax import cli
for verb in cli.VERBS:
    with contextlib.suppress(SystemExit):
        cli.main(["gato", verb, "--help"])
slow = {"flax", "jax", "matplotlib", "numpy", "optax", "orbax", "tensorflow", "tensorflow_datasets"}
print("imported:", sorted(slow & {*sys.modules}), file=sys.stderr)
"""


def test_help_lists_every_verb():
    for words in ((), ("--help",), ("help",), ("-h",)):
        said = gato(*words)
        assert said.status == 0 and all(
            f"{name} " in said.out and text in said.out for name, (_, text) in cli.VERBS.items()
        )


@pytest.mark.parametrize("verb", cli.VERBS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_every_verb_has_help_with_its_flags(verb, word):
    said = gato(verb, word)
    assert said.status == 0 and not said.err
    assert said.out.startswith(f"gato {verb}: ") and "--json" in said.out or verb in ("play", "report", "serve")
    assert "no run has opened for this number of days" in " ".join(said.out.split()) or verb != "cache"


def test_help_of_all_verbs_imports_no_package_that_is_slow():
    said = finish(start_cold("-c", HELP_OF_ALL))
    assert said.status == 0 and said.err == "imported: []\n"


def test_required_flags_are_marked_and_the_config_says_how_it_is_changed():
    text = " ".join(gato("train", "--help").out.split())
    assert "Folder of the run. Required." in text and "such as --config.steps=500 or" in text
    assert text.count("Required.") == 2 and "--json: File for the last metrics. --" in text


def test_the_version_is_that_of_gato_jax_and_of_jax():
    assert re.fullmatch(r"gato_jax \d+\.\d+\.\d+, jax \d+\.\d+\.\d+\n", gato("--version").out)


def test_debug_shows_the_traceback_of_bad_input_too():
    said = gato("cache", "--prune=x", "--debug")
    assert said.status == 2 and said.err.startswith("Traceback (most recent call last):")
    assert said.err.splitlines()[-1] == "gato cache: flag --prune=x: Non-boolean argument to boolean flag"
    assert gato("cache", "--prune=x").err == said.err.splitlines(keepends=True)[-1]


IMPORTS = """
import sys
from gato_jax import cli
try:
    cli.main()
finally:
    print("imported:", {"jax", "numpy", "flax", "tensorflow"} & set(sys.modules), file=sys.stderr)
"""


def test_all_that_is_wrong_is_listed_before_jax_is_imported(tmp_path):
    words = [
        "--config.stps=3",
        "--config.seed=-1",
        "--config.optimizer.peak_learning_rate=-0.1",
        "--config.mesh.data=0",
    ]
    words += ["--config.datasets.grid.weight=inf", "--config.batch_size=-3"]
    said = finish(start_cold("-c", IMPORTS, "train", TINY, f"--workdir={tmp_path / 'run'}", *words))
    first, *problems, imported = said.err.splitlines()
    assert said.status == 2 and not said.out and first == "gato train: config has 6 problems:"
    for name in ("'stps'", "batch_size", "seed", "weight", "mesh.data", "peak_learning_rate"):
        assert sum(name in line for line in problems) == 1
    assert imported == "imported: {'numpy'}" and not (tmp_path / "run").exists()


def test_the_command_is_a_process_with_the_same_manners():
    said = finish(start_cold("-m", "gato_jax.cli", "evalaute"))
    assert said.complaint() == "gato evalaute: no verb 'evalaute'; did you mean 'evaluate'?"
    assert said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(
    ("interrupt", "status"),
    [
        (lambda: signal.default_int_handler(signal.SIGINT, None), 130),
        (lambda: signal.raise_signal(signal.SIGTERM), 143),
    ],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interruption_is_one_line_and_leaves_no_half_of_a_file(tmp_path, monkeypatch, interrupt, status):
    before = signal.getsignal(signal.SIGTERM)

    def write_half(flag, argv):
        with atomic_file(tmp_path / "page.html") as written:
            written.write_text("half")
            interrupt()

    monkeypatch.setattr("gato_jax.verbs.tasks.tasks", write_half)
    said = gato("tasks")
    assert (said.status, said.err.strip()) == (status, "gato tasks: interrupted") and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


def test_tasks_lists_every_task_of_every_suite(tmp_path):
    said = gato("tasks", f"--json={tmp_path / 'tasks.json'}")
    assert said.status == 0 and not said.err
    rows = json.loads((tmp_path / "tasks.json").read_text())["tasks"]
    heading, *lines = [line.split() for line in said.out.splitlines()]
    assert heading[:6] == ["task", "status", "random", "constant", "expert", "human"]
    assert [row["name"] for row in rows] == task_names() == [line[0] for line in lines if "/" in line[0]]
    assert {row["suite"] for row in rows} == {name for name, suite in suites().items() if suite.tasks}
    fields = [
        "name", "suite", "status", "reason", "expert", "random_score", "constant_score", "constant_action",
        "expert_score", "human_score", "score_source", "installed_version",
    ]  # fmt: skip
    for row in rows:
        assert list(row) == fields and row["status"] in ("runnable", "substitute", "unavailable")
        assert bool(row["reason"]) == (row["status"] == "unavailable")
        assert bool(row["expert"]) == (row["name"] in expert_names())
        assert (row["score_source"] is None) == (row["random_score"] is None) == (row["constant_score"] is None)


def test_tasks_prints_the_reference_scores(tmp_path):
    said = gato("tasks", "--suite=atari_short", f"--json={tmp_path / 'tasks.json'}")
    rows = {row["name"]: row for row in json.loads((tmp_path / "tasks.json").read_text())["tasks"]}
    row = rows["atari_short/gopher"]
    assert row["random_score"] < row["expert_score"] and row["human_score"] is None
    assert "ale-py" in row["score_source"] and "--tasks=atari_short/gopher" in row["score_source"]
    [line] = [line.split() for line in said.out.splitlines() if line.startswith("atari_short/gopher")]
    cells = [f"{row[kind]:.3g}" for kind in ("random_score", "constant_score", "expert_score")]
    assert line[2:6] == [*cells, "-"]


def test_tasks_prints_the_published_scores_of_a_human():
    said = gato("tasks", "--suite=atari")
    [line] = [line.split() for line in said.out.splitlines() if line.startswith("atari/pong")]
    assert line[5] == "14.6" and "human: published scores" in said.out.splitlines()[-1]


def test_tasks_of_one_suite(tmp_path):
    assert all(line.startswith("fetch/") for line in gato("tasks", "--suite=fetch").out.splitlines()[1:])
    said = gato("tasks", "--suite=fecth").complaint()
    assert "--suite: no suite 'fecth', expected one of adroit, atari, " in said


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "gato_jax.cli", "tasks"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    process.stderr.close()


@pytest.mark.parametrize(
    "words, said",
    [
        (["colect"], "no verb 'colect'; did you mean 'collect'?"),
        (["zzz"], f"no verb 'zzz'; {', '.join(cli.VERBS)}"),
        (["collect", "--taks=a"], "Unknown command line flag 'taks'. Did you mean: tasks ?"),
        (["collect", "--output=x"], "--tasks is missing"),
        (["collect", "--tasks=,", "--output={tmp}"], "--tasks holds an empty name, expected names separated by single"),
        (["collect", "--tasks=babyai/GoToRedBal-v0", "--output={tmp}"], "nearest: babyai/GoToRedBall-v0"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--episodes=0"], "--episodes=0: 0 is not a positive integer"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--noise=-1"], "not a non-negative number"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--noise=nan"], "--noise is nan, expected a finite number"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--policy="], "--policy is empty, expected the folder"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--temperature=0"], "expected it only with --policy"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--environments=2"], "expected it only with --policy"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--episodes=1000001"], "expected at most 1000000"),
        (["evaluate", "--workdir={tmp}", "--temperature=nan"], "--temperature is nan, expected a finite number"),
        (["evaluate", "--workdir={tmp}", "--episodes=1000001"], "expected at most 1000000"),
        (["collect", f"--tasks={TASK}", "--output={tmp}", "--json={tmp}"], "a folder, expected a file"),
        (["collect", "--tasks=dm_control/dog/run", "--output={tmp}"], "no expert for 'dm_control/dog/run'"),
        (["train", TINY], "--workdir is missing"),
        (["train", "--workdir={tmp}"], "--config is missing"),
        (["train", "--workdir={tmp}", "--config={tmp}/none.py"], "--config is {tmp}/none.py, expected a Python"),
        (["train", "--workdir={tmp}", "--config={tmp}/no.py", "--config.seed=1"], "no.py, expected a Python file"),
        (["train", "--workdir={tmp}", TINY, "--config.setps=3"], "unknown key 'setps'. Did you mean 'steps'?"),
        (["train", "--workdir={tmp}", TINY, "--config.model.widht=3"], "unknown key 'widht'. Did you mean 'width'?"),
        (["train", "--workdir={tmp}", TINY, "--config.zzz=3"], "config has the unknown key 'zzz'. Its keys are seed, "),
        (["train", "--workdir={tmp}", TINY, "--config.steps=many"], "config.steps is 'many', expected a whole"),
        (["train", "--workdir={tmp}", TINY, "--config.batch_size=0"], "batch_size is 0, expected a positive whole"),
        (["train", "--workdir={tmp}", TINY, "--config.model.hidden=33"], "hidden is 33, expected a positive multiple"),
        (["train", "--workdir={tmp}", TINY, "--stop_after=0"], "--stop_after=0: 0 is not a positive integer"),
        (["train", "--workdir={tmp}", TINY, "loose"], "unexpected 'loose'; everything is a flag, --name=value"),
        (["train", "--workdir={tmp}/new/run", TINY], "no dataset; record one with `gato collect`"),
        (["evaluate", "--workdir={tmp}", "--temperature=-1"], "--temperature=-1: -1.0 is not a non-negative number"),
        (["evaluate", "--workdir={tmp}", "--episodes=0"], "--episodes=0: 0 is not a positive integer"),
        (["evaluate", "--workdir={tmp}/none"], "{tmp}/none, expected the folder of a run. It does not exist"),
        (["report", "--workdir={tmp}/none"], "{tmp}/none, expected the folder of a run. It does not exist"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_one_line(words, said, tmp_path):
    result = gato(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said.replace("{tmp}", str(tmp_path)) in result.complaint()
    assert result.complaint().startswith(f"gato {words[0]}: ") and not list(tmp_path.glob("*"))


@pytest.mark.parametrize(
    "lines, said",
    [
        ("config.setps = 3", "unknown key 'setps'. Did you mean 'steps'?"),
        ("config.model.widht = 3", "unknown key 'widht'. Did you mean 'width'?"),
        (
            "config.datasets.grid.weihgt = 3",
            "config.datasets.grid has the unknown key 'weihgt'. Did you mean 'weight'?",
        ),
        ("del config.seed", "config lacks the key 'seed'. Add it."),
        ("config.steps = 2", "optimizer.warmup_steps is 2, expected less than steps (2)"),
        ("config.steps = int('x')", "invalid literal for int"),
        ("config.steps = undefined", "name 'undefined' is not defined"),
        ("config.steps = (", "was never closed"),
    ],
)
def test_a_wrong_line_in_a_config_file_is_one_line(lines, said, tmp_path):
    file = tmp_path / "config.py"
    file.write_text(CONFIG.read_text().replace("    return config\n", f"    {lines}\n    return config\n"))
    assert said in gato("train", f"--config={file}", f"--workdir={tmp_path / 'run'}").complaint()
    assert not (tmp_path / "run").exists()
