"""The experiment that tells two tasks apart by the prompt alone."""

import pytest

from experiments.prompting import CASES, run


@pytest.mark.slow
def test_the_prompt_alone_decides_which_of_two_goals_is_reached(tmp_path):
    found = run(tmp_path, steps=600, episodes=20)["mean_return"]
    demonstration, none, other = (found[case] for case in CASES)
    assert demonstration > 0.8 and demonstration >= 2 * none
    assert other < -0.8
