import numpy as np
import pytest

from gato_jax.serving import ObservationError, check_observation, neutral_observation
from tests.tokenization.made_tasks import GRID, ROBOT


def test_nested_keys_and_plain_numbers_are_read():
    flat = neutral_observation(ROBOT, "lift")
    cameras = {"wrist": flat["camera/wrist"], "front": flat["camera/front"]}
    nested = {"camera": cameras, "instruction": "lift", "joints": [1, 2, 3]}
    read = check_observation(ROBOT, nested)
    assert list(read) == list(ROBOT.observation) and read["joints"].dtype == np.float64


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("joints", np.zeros(4), r"made/robot: observation 'joints' is an array of shape \(4,\), float64"),
        ("joints", np.array([0, np.nan, 1]), r"'joints' is nan at \[1\], expected finite"),
        ("joints", "abc", "'joints' is the str 'abc', expected finite"),
        ("joints", [1, [2], 3], "expected finite"),
        ("joints", [10**40, 0, 0], "expected finite"),
        ("instruction", 5, "'instruction' is the int 5, expected a text"),
        ("instruction", "x" * 5000, "a text of 5000 characters, expected"),
        ("camera/front", np.zeros((32, 32, 3), np.float32), "float32, expected an image"),
        ("camera/front", np.zeros((16, 32, 3), np.uint8), r"shape \(16, 32, 3\), uint8, expected an image"),
        ("camera/rear", np.zeros(3), "'camera/rear' is unknown, expected the keys instruction, camera/wrist"),
        ("camera/front", None, "'camera/front' is missing, expected an image"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_is_expected(key, value, said):
    observation = neutral_observation(ROBOT) | {key: value}
    if value is None:
        del observation[key]
    with pytest.raises(ObservationError, match=said):
        check_observation(ROBOT, observation)


def test_integers_outside_of_their_range_are_refused():
    with pytest.raises(ObservationError, match=r"'direction' is 4, expected integers in \[0, 4\)"):
        check_observation(GRID, neutral_observation(GRID) | {"direction": 4})


def test_a_deep_map_is_refused():
    deep: dict = {}
    for _ in range(2000):
        deep = {"a": deep}
    with pytest.raises(ObservationError, match="unknown"):
        check_observation(ROBOT, neutral_observation(ROBOT) | deep)
