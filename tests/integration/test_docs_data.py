"""Tests that run the examples of docs/data.md on recordings written by the formats' own libraries."""

import json
import pathlib
import re

import pytest

from gato_jax.episodes import open_dataset
from gato_jax.sources import Fields
from tests.sources import made_hdf5, made_lerobot, made_mcap

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
EXAMPLES = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


def hdf5(folder):
    (folder / "recordings").mkdir()
    for number in range(3):
        made_hdf5.aloha(folder / "recordings" / f"episode_{number}.hdf5", steps=5 + number)


def lerobot(folder):
    made_lerobot.unpack("v3_0_video", folder).rename(folder / "so100_cups")


def mcap(folder):
    (folder / "bags").mkdir()
    for number in range(2):
        made_mcap.write_mcap(folder / "bags" / f"{number}.mcap", made_mcap.arm_messages(12 + number))


@pytest.mark.parametrize(
    "record, task, images, steps",
    [
        (hdf5, "my_lab/stack_cups", {"high": (64, 64, 3)}, [5, 6, 7]),
        (lerobot, "lerobot/so100_cups", {"images/front": (64, 64, 3), "images/wrist": (64, 64, 3)}, [5, 7, 4]),
        (mcap, "my_lab/stack", {"front": (64, 64, 3)}, None),
    ],
    ids=["hdf5", "lerobot", "mcap"],
)
def test_an_example_of_the_page_is_at_most_twenty_lines_and_makes_a_dataset(
    tmp_path, monkeypatch, capsys, record, task, images, steps
):
    example = EXAMPLES[record.__name__]
    assert len(example.strip().splitlines()) <= 20  # including imports
    record(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(example, {"__name__": "__main__"})
    made = open_dataset(tmp_path / capsys.readouterr().out.splitlines()[-1])
    assert made.spec.name == task and made.spec.control_rate_hz and made.spec.embodiment is not None
    assert {key: m.shape for key, m in made.spec.observation.items() if len(getattr(m, "shape", ())) == 3} == images
    assert steps is None or made.lengths.tolist() == steps
    assert sum(1 for _ in made) == len(made) >= 2


def test_the_page_has_no_other_examples():
    assert set(EXAMPLES) == {"hdf5", "lerobot", "mcap"}


def test_the_fields_in_json_are_those_in_python(tmp_path, monkeypatch):
    (said,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    spec = Fields.from_json(json.loads(said), "docs/data.md").spec
    hdf5(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES["hdf5"].rpartition("print")[0], written := {})
    assert written["fields"].spec == spec
