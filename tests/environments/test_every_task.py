"""Every task of every suite keeps what tests/environments/conformance.py checks, and its specs are the committed ones.

All tasks, over 100 steps, are tests of `make test-all`; a tenth of them, drawn by the date of the newest commit, over
fewer steps, of `make test`.
"""

import unittest

import dm_env.test_utils
import numpy as np
import pytest
from absl.testing import absltest
from gymnasium.utils.env_checker import check_env

from gato_jax.environments import ActionError, as_gymnasium, load, suites
from gato_jax.environments.spec_table import PATH
from gato_jax.rollouts import random_action
from tests.environments import conformance

FEW_STEPS, STEPS = 6, 100
SUITES = [name for name, suite in suites().items() if suite.tasks and conformance.runnable(name)]
DRAWN = {suite: conformance.drawn(suite, conformance.day()) for suite in SUITES}


# Suites whose resets take up to a second: tests that reset ten times are tests of `make test-all` for them.
HEAVY = ("adroit", "kitchen", "manipulation", "rgb_stacking", "sokoban", "vizdoom")
of_all_but_heavy = pytest.mark.parametrize(
    "environment",
    [pytest.param(suite, marks=[pytest.mark.slow] if suite in HEAVY else []) for suite in SUITES],
    indirect=True,
    scope="module",
)


@pytest.fixture(scope="module")
def of_drawn(request):
    selected = [item for item in request.session.items if "of_drawn" in getattr(item, "fixturenames", ())]
    process = conformance.SecondProcess([item.callspec.params["task"] for item in selected], FEW_STEPS)
    yield process
    process.close()


@pytest.mark.parametrize("task", [task for tasks in DRAWN.values() for task in tasks])
def test_a_tenth_of_the_tasks_conforms(task, of_drawn, capfd):
    conformance.check_task(task, FEW_STEPS, of_drawn.digest(task), fresh=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", SUITES)
def test_every_task_conforms(suite, capfd):
    tasks, failed = conformance.runnable(suite), {}
    process = conformance.SecondProcess(tasks, STEPS)
    for task in tasks:
        try:
            conformance.check_task(task, STEPS, process.digest(task), fresh=True)
            assert capfd.readouterr() == ("", "")
        except Exception as error:  # all tasks that fail are named, not the first alone
            failed[task] = repr(error)
    process.close()
    assert not failed


def test_the_table_of_specs_holds_the_tasks_of_its_suites_alone():
    expected = {f"{name}/{task}" for name, suite in suites().items() if suite.specs_in_table for task in suite.tasks}
    held = ["/".join(line.split('"')[3:8:4]) for line in PATH.read_text().splitlines()]
    assert held == sorted(expected)


@pytest.fixture(scope="module", params=SUITES)
def environment(request):
    """The first drawn task of each suite."""
    environment = load(DRAWN[request.param][0])
    yield environment
    environment.close()


def test_a_reset_without_a_seed_goes_on_with_the_next(environment):
    environment.seed(4)
    environment.reset()
    second = environment.reset()
    assert conformance.digest([second]) == conformance.digest(conformance.play(environment, seed=5, steps=0))


def test_bad_actions_name_what_is_wrong(environment):
    environment.seed(0)
    environment.reset()
    good = random_action(environment.task_spec, np.random.default_rng(0))
    key, value = next(iter(good.items()))
    for bad, message in [
        ({"no_such_key": value}, "keys"),
        (good | {key: np.zeros((3, 3, 3), value.dtype)}, "shape"),
        (good | {key: np.full_like(value, 9999)}, "outside"),
        (good | {key: np.full(value.shape, np.nan)}, "outside|dtype"),
    ]:
        with pytest.raises(ActionError, match=message):
            environment.step(bad)
    assert environment.step(good).mid()


def test_frames_for_people(environment):
    environment.seed(0)
    environment.reset()
    frame = environment.render()
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    assert frame.std() > 5


@of_all_but_heavy
@pytest.mark.filterwarnings("ignore::UserWarning")  # observations without limits, which states have
def test_gymnasiums_own_check_passes(environment):
    check_env(as_gymnasium(environment), skip_render_check=True)


@of_all_but_heavy
def test_dm_envs_own_tests_pass(environment):
    class Case(dm_env.test_utils.EnvironmentTestMixin, absltest.TestCase):
        def make_object_under_test(self):
            environment.reset()
            environment.max_steps = 3  # so that the sequence has an end
            environment._done = True  # as a new one
            return environment

        def make_action_sequence(self):
            generator = np.random.default_rng(0)
            return [random_action(environment.task_spec, generator) for _ in range(5)]

        def tearDown(self):
            environment.max_steps = environment.task_spec.max_steps

    said = unittest.TestResult()
    unittest.TestLoader().loadTestsFromTestCase(Case).run(said)
    assert said.testsRun >= 4 and said.wasSuccessful(), [*said.failures, *said.errors]
