"""The file that a report shows an episode from."""

import itertools

import numpy as np
import pytest

from gato_jax.evaluation import save_rollout
from gato_jax.rollouts import RandomActor, play
from gato_jax.runtime.paths import as_path
from tests.rollouts.made_drift import TASK, Drift


def test_an_episode_with_frames_is_saved_for_the_report(tmp_path):
    (episode,) = play(RandomActor, [(TASK, 4)], frames=1, load=Drift)
    save_rollout(episode, Drift().action_names, tmp_path / "rollouts")
    with np.load(tmp_path / "rollouts" / "made__control.npz") as saved:
        assert saved["frames"].shape == (4, 4, 6, 3) and saved["seed"] == 4 and saved["score"] == episode.score
        assert saved["action_names"].tolist() == ["action[0]", "action[1]"]
        assert saved["actions"].dtype == np.float32
        np.testing.assert_array_equal(saved["actions"], episode.action["action"][:4])
        np.testing.assert_array_equal(saved["rewards"], saved["actions"][:, 0])


def test_an_episode_is_saved_in_a_bucket(bucket):
    (episode,) = play(RandomActor, [(TASK, 4)], frames=1, load=Drift)
    save_rollout(episode, Drift().action_names, as_path(f"{bucket}/rollouts"))
    with as_path(f"{bucket}/rollouts/made__control.npz").open("rb") as file, np.load(file) as saved:
        np.testing.assert_array_equal(saved["rewards"], episode.reward[:4])


def test_an_episode_without_frames_is_refused(tmp_path):
    (episode,) = play(RandomActor, itertools.product([TASK], [4]), load=Drift)
    with pytest.raises(ValueError, match="made/control, seed 4: frames is None. Play it with frames=1"):
        save_rollout(episode, (), tmp_path)
