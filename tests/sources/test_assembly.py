"""Tests of the assembly of episodes, of image resizing, and of the JSON form of fields."""

import dataclasses
import io
import json

import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Image, Provenance, Text
from gato_jax.sources import SourceError
from gato_jax.sources.assembly import assemble, to_array
from gato_jax.sources.field_paths import parse_path
from gato_jax.sources.fields import Fields
from gato_jax.sources.pixels import fit_image
from gato_jax.sources.reader import EpisodeRejected

FIELDS = Fields(
    suite="lab",
    task="stack",
    observation={
        "camera": ("cameras/front", Image(height=2, width=4, fit="pad")),
        "instruction": ("task", Text()),
        "joints": ("state[0:3]", Continuous(shape=(3,))),
        "open": ("state_of_hand", Discrete(n=2)),
    },
    action={
        "move": ("a[0:3]", Continuous(shape=(3,), low=-1.0, high=(1.0, 2.0, 3.0))),
        "grip": ("a[3:4]", Continuous(shape=(1,), low=0.0, high=1.0)),
    },
    provenance=Provenance(source="a test", licence="MIT", kind="real"),
    control_rate_hz=10.0,
    embodiment=Embodiment(robot="Arm", cameras=(Camera(key="camera", intrinsics=(2.0, 2.0, 2.0, 1.0)),)),
    metric="success",
    instructions=("stack the cubes",),
    reward="r",
    success="done",
    timestamps="t",
    recorded_sizes={"camera": (2, 4)},
)


def columns(**changes):
    steps = 3
    made = {
        "cameras/front": np.arange(steps * 24, dtype=np.uint8).reshape(steps, 2, 4, 3),
        "task": "stack the cubes",
        "state": np.arange(steps * 5.0).reshape(steps, 5),
        "state_of_hand": np.array([0, 1, 1]),
        "a": np.arange(steps * 4, dtype=np.float64).reshape(steps, 4),
        "r": np.array([0, 0, 1]),
        "done": np.array([False, False, True]),
        "t": np.array([10, 11, 13]),
    }
    return made | changes


def assembled(**changes):
    return assemble(FIELDS, columns(**changes).__getitem__, "file 7")


def encoded(image: np.ndarray, kind="PNG") -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, format=kind)
    return file.getvalue()


def test_columns_become_an_episode():
    episode = assembled()
    assert episode.task == "lab/stack" and len(episode) == episode.acting_steps == 3
    np.testing.assert_array_equal(episode.action["move"], [[0, 1, 2], [4, 5, 6], [8, 9, 10]])
    np.testing.assert_array_equal(episode.action["grip"], [[3], [7], [11]])
    np.testing.assert_array_equal(episode.observation["joints"], [[0, 1, 2], [5, 6, 7], [10, 11, 12]])
    assert episode.action["move"].dtype == np.float32 and episode.observation["open"].dtype == np.int64
    assert episode.observation["instruction"].tolist() == ["stack the cubes"] * 3
    assert episode.reward.tolist() == [0.0, 0.0, 1.0] and episode.success is True
    assert episode.is_first.tolist() == [True, False, False]
    assert episode.is_last.tolist() == episode.is_terminal.tolist() == [False, False, True]
    other = Provenance(source="this very one", licence="MIT", kind="real")
    assert assemble(FIELDS, columns().__getitem__, "", provenance=other).provenance == other


def test_encoded_and_generated_images_are_the_same_as_arrays():
    images = columns()["cameras/front"]
    whole = assembled().observation["camera"]
    np.testing.assert_array_equal(whole, images)
    np.testing.assert_array_equal(
        assembled(**{"cameras/front": (encoded(image) for image in images)}).observation["camera"], images
    )
    grey = images[..., 0]
    fitted = to_array([encoded(image) for image in grey], Image(height=2, width=4, channels=1), "", "")
    np.testing.assert_array_equal(fitted, grey[..., None])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": np.full((3, 4), np.nan)}, r"action 'move' \(field 'a\[0:3\]'\) is nan at step 0"),
        ({"a": np.full((3, 4), 1e300)}, "action 'move' .* is inf at step 0"),
        ({"a": np.zeros((3, 3))}, r"field 'a\[3:4\]' is out of range for a column of shape \(3, 3\)"),
        ({"a": np.zeros((2, 4))}, "different lengths: 3 of observation 'camera', .*2 of action 'move'"),
        ({"a": np.full((3, 4), "x")}, "action 'move' .* has type <U1, expected numbers"),
        ({"state_of_hand": np.array([0, 2, 1])}, r"observation 'open' .* is 2 at step 1, expected a value in \[0, 2\)"),
        ({"state_of_hand": np.array([0.0, 1.0, 1.0])}, "has type float64, expected integers"),
        ({"state_of_hand": np.int64(1)}, "observation 'open' .* is the single value .*1.*, expected one for each step"),
        ({"task": 5}, "observation 'instruction' .* is the single value 5, expected one for each step"),
        ({"task": [b"\xff", b"a", b"b"]}, "'instruction' .* at step 0 is not UTF-8"),
        ({"task": ["a", 3, "b"]}, "'instruction' .* at step 1 is 3, expected text"),
        ({"r": np.zeros(2)}, "it has 2 rewards, expected 3"),
        ({"t": np.array([10, 9, 11])}, "time goes from 10 to 9 at step 1"),
        ({"t": np.array([10, 10, 11])}, "time goes from 10 to 10 at step 1"),
        ({"t": np.array([10.0, np.nan, 11.0])}, "time is nan at step 1, expected a finite number"),
        ({"t": np.zeros(2)}, r"its times are float64 of shape \(2,\), expected 3 numbers"),
        ({"done": np.array([np.nan])}, "success .* expected a boolean or a number"),
        ({"done": "yes"}, "success .* is 'yes', expected a boolean or a number"),
        ({"cameras/front": np.zeros((3, 4, 2, 3), np.uint8)}, "at step 0 is 4 high and 2 wide, expected 2 and 4"),
        ({"cameras/front": np.zeros((3, 2, 4, 3), np.float32)}, "at step 0 is float32 of shape"),
        (
            {"cameras/front": np.zeros((3, 2, 4, 4), np.uint8)},
            r"\(2, 4, 4\), expected uint8 of shape \(height, width, 3\)",
        ),
        ({"cameras/front": [b"\xff\xd8\xff", b"", b""]}, "'camera' .* at step 0 cannot be decoded"),
        ({"cameras/front": encoded(np.zeros((2, 4, 3), np.uint8))}, "'camera' .* is the single value"),
    ],
)
def test_what_is_damaged_is_refused(changes, message):
    with pytest.raises(EpisodeRejected, match=f"^file 7: .*{message}"):
        assembled(**changes)


def test_the_last_step_may_hold_an_observation_alone():
    fields = dataclasses.replace(FIELDS, final_observation=True)
    actions = columns()["a"]
    actions[2] = np.nan
    with pytest.raises(EpisodeRejected, match="action 'move' .* is nan at step 2"):
        assemble(FIELDS, columns(a=actions).__getitem__, "file 7")
    episode = assemble(fields, columns(a=actions).__getitem__, "file 7")
    assert episode.final_observation and len(episode) == 3 and episode.acting_steps == 2
    np.testing.assert_array_equal(episode.action["move"], [[0, 1, 2], [4, 5, 6], [0, 0, 0]])
    assert Fields.from_json(fields.to_json(), "here") == fields
    actions[1] = np.nan
    with pytest.raises(EpisodeRejected, match="action 'move' .* is nan at step 1"):
        assemble(fields, columns(a=actions).__getitem__, "file 7")
    assert not assemble(
        dataclasses.replace(FIELDS, final_observation=False), columns().__getitem__, "", final_observation=True
    ).final_observation


def test_a_missing_field_an_empty_episode_and_one_of_text_alone():
    made = columns()
    del made["state"]
    with pytest.raises(EpisodeRejected, match=r"file 7: it has no field 'state' \(state\)"):
        assemble(FIELDS, made.__getitem__, "file 7")
    empty = {name: value if isinstance(value, str) else value[:0] for name, value in columns().items()}
    with pytest.raises(EpisodeRejected, match="file 7: it has no steps"):
        assemble(FIELDS, empty.__getitem__, "file 7")
    text = dataclasses.replace(FIELDS, observation={"task": ("task", Text())}, action={}, embodiment=None)
    with pytest.raises(EpisodeRejected, match="number of steps is unknown"):
        assemble(text, columns().__getitem__, "file 7")


PICTURE = np.array([[0, 40, 80, 120], [20, 60, 100, 140]], np.uint8)[..., None]  # 2 high, 4 wide


@pytest.mark.parametrize(
    ("picture", "modality", "expected"),
    [
        (PICTURE, Image(height=1, width=2, channels=1), [[30, 110]]),  # the mean of two by two
        (PICTURE, Image(height=2, width=2, channels=1), [[20, 100], [40, 120]]),  # squeezed
        (PICTURE, Image(height=4, width=4, channels=1, fit="pad"), [[0] * 4, *PICTURE[..., 0].tolist(), [0] * 4]),
        (PICTURE, Image(height=2, width=2, channels=1, fit="pad"), [[30, 110], [0, 0]]),  # an odd row goes below
        (PICTURE, Image(height=2, width=2, channels=1, fit="crop"), [[40, 80], [60, 100]]),  # the middle
        (PICTURE, Image(height=1, width=1, channels=1, fit="crop"), [[70]]),  # the mean of the middle
        (PICTURE[:, :1], Image(height=2, width=2, channels=1, fit="pad"), [[0, 0], [20, 0]]),
        (PICTURE[:, :2], Image(height=4, width=4, channels=1), np.repeat(np.repeat(PICTURE[:, :2, 0], 2, 0), 2, 1)),
    ],
)
def test_images_are_fitted(picture, modality, expected):
    fitted = fit_image(picture, modality)
    assert fitted.shape == modality.shape and fitted.dtype == np.uint8
    assert fitted[..., 0].tolist() == np.asarray(expected).tolist()
    colours = fit_image(np.repeat(picture, 3, 2), dataclasses.replace(modality, channels=3))
    np.testing.assert_array_equal(colours, np.repeat(fitted, 3, 2))


def test_parts_of_a_field():
    def parts(path):
        return parse_path(path).name, parse_path(path).conversions

    assert parts("a[0:3]") == ("a", (slice(0, 3),)) and parts("a/b[12:40]") == ("a/b", (slice(12, 40),))
    assert parts("a") == ("a", ()) and parts("a[3]") == ("a[3]", ())


def test_fields_survive_json(tmp_path):
    file = tmp_path / "fields.json"
    file.write_text(json.dumps(FIELDS.to_json(), allow_nan=False))
    assert Fields.read(file) == FIELDS and Fields.read(file).spec == FIELDS.spec


def test_fields_as_a_person_writes_them(tmp_path):
    file = tmp_path / "fields.json"
    file.write_text(
        """{"suite": "lab", "task": "stack",
        "observation": {"x": {"field": "state", "kind": "continuous", "shape": [3]}},
        "action": {"move": {"field": "a[0:2]", "kind": "continuous", "shape": [2], "low": -1, "high": [1, 2]}},
        "provenance": {"source": "a test", "licence": "MIT", "kind": "real"}}"""
    )
    fields = Fields.read(file)
    assert fields.spec.action == {"move": Continuous(shape=(2,), low=-1.0, high=(1.0, 2.0))}
    assert fields.recorded_sizes == {} and fields.spec.metric == "return"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": "r"}, "unknown key 'rewards'. Did you mean 'reward'"),
        ({"suite": None, "remove": "suite"}, "lacks the key 'suite'"),
        (
            {"action": {"a": {"field": "a", "kind": "continous"}}},
            "fields.json.action.a.kind is 'continous', expected 'text' or 'image'",
        ),
        (
            {"action": {"a": {"kind": "text"}}},
            'action.a is .*, expected an object with "field", the path in the recording',
        ),
        ({"action": {"a": {"field": "a", "kind": "continuous", "shape": [2], "high": [1]}}}, "high has 1 values"),
        ({"action": ["a"]}, "fields.json.action is .*, expected an object whose values are"),
        ({"provenance": {"source": "x", "licence": "MIT", "kind": "reel"}}, "reel"),
        (
            {"provenance": {"source": "x", "license": "MIT"}},
            "provenance has the unknown key 'license'. Did you mean 'licence'",
        ),
        ({"embodiment": {"robot": "Arm", "cameras": [{"key": "back"}]}}, "'back', but observation 'back' is missing"),
        ({"metric": "wins"}, "wins"),
    ],
)
def test_fields_that_are_wrong_are_named(tmp_path, change, message):
    fields = FIELDS.to_json() | change
    fields.pop(fields.pop("remove", None), None)
    file = tmp_path / "fields.json"
    file.write_text(json.dumps(fields))
    with pytest.raises(SourceError, match=message):
        Fields.read(file)
    file.write_text("{")
    with pytest.raises(SourceError, match="fields.json: cannot be read as fields"):
        Fields.read(file)


def test_resized_fields_lose_the_intrinsics_of_the_old_size():
    resized = FIELDS.with_image_size(8, 16)
    assert resized.spec.observation["camera"] == Image(height=8, width=16, fit="pad")
    assert resized.embodiment.cameras == (Camera(key="camera"),)
