"""The 1-nearest-neighbour baseline finds the recorded step that a reader would call the closest."""

import pickle

import numpy as np
import pytest

from gato_jax.environments import is_task, load
from gato_jax.episodes import Discrete, Image, TaskSpec, Text, open_dataset
from gato_jax.experts import ExpertActor
from gato_jax.rollouts import NearestNeighbourActor, NearestNeighbourError, Recording, play, record
from gato_jax.rollouts.nearest_neighbour import Retrieval, downsample
from tests.evaluation.made_environment import register_drift
from tests.rollouts.made_drift import TASK
from tests.tokenization.made_tasks import CONTROL, episode_of

BABYAI = "babyai/GoToRedBallNoDists-v0"


def retrieval(positions, velocities, **fields):
    steps = len(positions)
    observation = {"position": np.array(positions, np.float32), "velocity": np.array(velocities, np.float32)}
    actions = np.arange(2 * steps, dtype=np.float32).reshape(steps, 2)
    return Retrieval(CONTROL, [episode_of(CONTROL, observation, {"action": actions}, **fields)])


def test_the_action_of_the_closest_observation_is_played_in_standard_deviations():
    """The first number varies by thousands, the second by thousandths; both count as much; the third is constant."""
    found = retrieval([[0, 0, 5], [1000, 0, 5], [0, 0.001, 5], [1000, 0.001, 5]], np.zeros((4, 2)))
    seen = {"position": np.array([100, 0.0009, 9], np.float32), "velocity": np.full(2, 3, np.float32)}
    assert found.action(seen)["action"].tolist() == [4.0, 5.0]
    np.testing.assert_allclose(found.distances(seen)[2], (0.2**2 + 0.2**2) / 2, rtol=1e-4)


def test_a_recorded_observation_has_distance_zero_and_ties_go_to_the_first():
    values = np.random.default_rng(0).normal(size=(9, 3))
    values[7] = values[4]
    found = retrieval(values, values[:, :2])
    seen = {"position": values[7].astype(np.float32), "velocity": values[7, :2].astype(np.float32)}
    assert found.distances(seen)[7] == 0 and found.action(seen)["action"].tolist() == [8.0, 9.0]


def test_the_final_observation_is_never_retrieved():
    found = retrieval([[0, 0, 0], [1, 1, 1], [2, 2, 2]], np.zeros((3, 2)), final_observation=True)
    seen = {"position": np.full(3, 2, np.float32), "velocity": np.zeros(2, np.float32)}
    assert found.action(seen)["action"].tolist() == [2.0, 3.0]


def test_symbols_words_and_images_are_compared_too():
    spec = TaskSpec(
        suite="made", task="mixed",
        observation={"grid": Discrete(n=9, shape=(4,)), "image": Image(height=40, width=24), "text": Text()},
        action={"action": Discrete(n=9)}, metric="return", max_steps=10,
    )  # fmt: skip
    images = np.zeros((3, 40, 24, 3), np.uint8)
    images[1, :20], images[2, :, :12] = 200, 200
    grids = np.array([[1, 1, 1, 1], [2, 2, 1, 1], [3, 3, 3, 1]])
    texts = np.array(["go to the red ball", "go to the blue box", "open a door"], object)
    episode = episode_of(
        spec, {"grid": grids, "image": images, "text": texts}, {"action": np.array([5, 6, 7], np.int32)}
    )
    found = Retrieval(spec, [episode])
    noise = np.random.default_rng(0).integers(0, 20, images[1].shape, dtype=np.uint8)
    for step in range(3):
        seen = {"grid": grids[step], "image": images[step] // 2 + noise, "text": texts[step].upper()}
        assert found.action(seen)["action"] == 5 + step
    plain = {"grid": grids[0], "image": images[0], "text": "go to the red ball"}
    distance = found.distances(plain | {"grid": grids[1]}) - found.distances(plain)
    np.testing.assert_allclose(distance[0], 2 / 3, rtol=1e-5)  # the fourth symbol is constant
    distance = found.distances(plain | {"text": "go to the blue ball"}) - found.distances(plain)
    np.testing.assert_allclose(distance[0], 2 / 6, rtol=1e-5)


def test_tiles_are_averaged_for_any_size():
    image = np.arange(5 * 7).reshape(1, 5, 7, 1).astype(np.uint8)
    assert downsample(image, 7).tolist() == image.tolist()
    small = downsample(image, 2)
    assert small[0, 0, 0, 0] == image[0, :2, :3].mean() and small[0, 1, 1, 0] == image[0, 2:, 3:].mean()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    spec = load(BABYAI).task_spec
    recording = Recording(root=tmp_path_factory.mktemp("data"), spec=spec, actor="expert", seeds=range(3))
    return open_dataset(record(recording, ExpertActor))


def test_it_repeats_a_recorded_episode_and_plays_the_same_beside_others(recordings):
    """Also through a pickle, as in a worker process, and whatever is played beside it."""

    def make_actor():
        return pickle.loads(pickle.dumps(NearestNeighbourActor({BABYAI: recordings})))

    [again] = play(make_actor, [(BABYAI, 1)])
    assert again.success and again.acting_steps == recordings[1].acting_steps
    alone = list(play(make_actor, [(BABYAI, 1_000_000), (BABYAI, 1_000_001)]))
    beside = list(play(make_actor, [(BABYAI, 1_000_000), (BABYAI, 1_000_001)], environments=2))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.action["action"], other.action["action"])
    assert alone[0].provenance.agent == f"1-nearest neighbour among recordings {recordings.fingerprint}"


def test_a_task_without_recordings_is_refused(recordings, monkeypatch):
    register_drift(monkeypatch)
    assert is_task(TASK)
    with pytest.raises(NearestNeighbourError, match=f"no recordings of {TASK}, only of {BABYAI}. Record the task"):
        list(play(lambda: NearestNeighbourActor({BABYAI: recordings}), [(TASK, 1)]))
