"""Probabilities and the attention map of a film, against the arrays of its file."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gato_jax.reports import ReportError, write_report
from gato_jax.reports.annotations.drawings import attention_picture, probability_strips
from gato_jax.reports.annotations.records import Annotations
from gato_jax.reports.reading import read_run


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def annotations(cells: int, numbers: int = 1, steps: int = 2, **fields) -> Annotations:
    chances = np.zeros((steps, numbers, 4), np.uint8)
    chances[:, :, :cells] = np.arange(1, cells + 1) * 10
    low, high = np.zeros(numbers), np.full(numbers, cells - 1.0)
    return Annotations(probabilities=chances, cells=np.full(numbers, cells), low=low, high=high, **fields)


def test_a_discrete_action_has_a_lane_for_each_value_with_the_taken_one_marked():
    drawn = probability_strips(annotations(3), np.array([[0], [2]]), ("left", "right", "up"))
    [uri] = re.findall(r'src="([^"]+)"', drawn)
    pixels = pixels_of(uri)
    assert pixels.shape == (3, 2, 4) and "left to up" in drawn and "<path" not in drawn
    assert pixels[:, 0, 3].tolist() == [30, 20, 255] and pixels[:, 1, 3].tolist() == [255, 20, 10]


def test_a_continuous_action_has_shades_below_the_line_of_the_values():
    drawn = probability_strips(annotations(4, 2), np.array([[0.0, 3.0], [1.5, 3.0]], np.float32), ("x", "y"))
    pixels = pixels_of(re.findall(r'src="([^"]+)"', drawn)[0])
    assert pixels[:, 0, 3].tolist() == [int((255 * value) ** 0.5) for value in (40, 30, 20, 10)]
    assert re.findall(r'<path d="([^"]+)"', drawn) == ["M250.0 40.0L750.0 20.0", "M250.0 0.0L750.0 0.0"]


def test_many_numbers_have_the_mean_probability_of_what_was_taken():
    actions = np.zeros((2, 7), np.float32)
    actions[1] = 3.0
    drawn = probability_strips(annotations(4, 7), actions, ())
    assert f"<b>{(10 + 40) / 2 / 255:.0%}</b>" in drawn and drawn.count("strip") == 1


def test_the_attention_map_colours_the_patches_by_their_weight():
    image = np.full((16, 16, 3), 100, np.uint8)
    found = annotations(3, attention=np.array([[0.0, 0.2], [0.0, 0.1]]), attention_image=image, attention_step=7)
    picture = attention_picture(found)
    assert picture is not None and picture[1] == "step 7: 30% of the attention is on this image"
    pixels = pixels_of(picture[0])
    assert pixels.shape == (192, 192, 3) and (pixels[:, :96] == 100).all()
    assert pixels[0, 191, 0] > pixels[191, 191, 0] > 100
    assert attention_picture(annotations(3)) is None


def test_the_page_shows_them_where_the_file_has_them(made_run):
    text = write_report(made_run).read_text()
    assert text.count("probabilities of the actions") == 4 and text.count("<figcaption>") == 1
    assert "step 40: 40% of the attention is on this image" in text and "mean probability of the chosen range" in text


def test_arrays_that_do_not_fit_are_named(own_run):
    path = own_run / "rollouts" / "atari__freeway.npz"
    with np.load(path) as arrays:
        changed: dict[str, Any] = dict(arrays) | {"probabilities": np.zeros((7, 1, 32), np.uint8)}
        np.savez(path, **changed)
    with pytest.raises(ReportError, match="atari__freeway.npz is not a rollout.*probabilities is"):
        read_run(own_run)
