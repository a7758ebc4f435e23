"""Facts on a run come from whichever of its files states them, also where this version cannot open its checkpoint."""

import json

import numpy as np

from gato_jax.checkpoints import model_to_json
from gato_jax.model import ModelConfig
from gato_jax.reports.making import complete_making
from gato_jax.reports.run import Making, Results, Session, TaskScore

MODEL = ModelConfig(layers=1, width=32, heads=2, head_size=8, hidden=32, patch_channels=32)
RUN = {"seed": 7, "batch_size": 4, "context": 176, "steps": 100}
STEPS = np.arange(10.0, 70.0, 10.0)
METRICS = {"loss": (STEPS, STEPS), "tokens": (STEPS, 704 * STEPS)}


def write_checkpoint(workdir, step, about):
    folder = workdir / "checkpoints" / str(step) / "about"
    folder.mkdir(parents=True)
    (folder / "metadata").write_text(about if isinstance(about, str) else json.dumps(about))


def scores(*, making: Making | None = None, **fields):
    return Results(
        tasks=(TaskScore(task="a/b", episodes=1, metric="return", agent=0.0, **fields),),
        making=making or Making(),
    )  # fmt: skip


def test_a_checkpoint_states_size_seed_and_plan(tmp_path):
    write_checkpoint(tmp_path, 60, {"model": model_to_json(MODEL), "run": RUN})
    write_checkpoint(tmp_path, 70, "damaged")
    made = complete_making(scores(), METRICS, (), tmp_path)
    assert made.parameters is not None and made.parameters > 1_000_000
    assert (made.steps, made.tokens, made.planned_steps) == (60, 42_240, 100)
    assert (made.seed, made.batch_size, made.context) == (7, 4, 176)
    assert made.started is made.commit is None and made.versions == {}


def test_a_model_of_another_version_leaves_its_size_unknown_and_the_rest_known(tmp_path):
    write_checkpoint(tmp_path, 60, {"model": model_to_json(MODEL) | {"wings": 2}, "run": RUN})
    made = complete_making(scores(), METRICS, (), tmp_path)
    assert made.parameters is None and made.seed == 7


def test_steps_and_tokens_are_those_of_the_agent_that_was_scored(tmp_path):
    write_checkpoint(tmp_path, 60, {"model": model_to_json(MODEL), "run": RUN})
    made = complete_making(scores(step=40, making=Making(steps=60, tokens=1)), METRICS, (), tmp_path)
    assert (made.steps, made.tokens) == (40, 28_160)


def test_sessions_give_the_start_and_every_commit_that_took_part(tmp_path):
    sessions = [
        Session(
            started=f"2026-11-2{day}T00:00:00+00:00", command="gato train", commit=commit, versions={"jax": version}
        )
        for day, commit, version in ((7, "a", "1"), (8, "b", "2"), (9, "b", "2"))
    ]
    made = complete_making(scores(making=Making(versions={"mujoco": "3"})), METRICS, sessions, tmp_path)
    assert made.started == "2026-11-27T00:00:00+00:00" and made.commit == "a, b"
    assert made.versions == {"jax": "2", "mujoco": "3"} and made.steps == 60
