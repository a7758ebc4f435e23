"""Tests of `gato instructions`: reviews, findings, errors, and the conversion and training that use a review."""

import json

import pytest

from gato_jax.batching import DatasetConfig, open_episodes
from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources.instructions import Review
from tests.integration.conftest import gato
from tests.sources.made_readers import MadeEpisodes
from tests.tokenization.made_tasks import CONTROL, ROBOT


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Dataset without instructions."""
    return write_dataset(tmp_path_factory.mktemp("data"), CONTROL, {"train": MadeEpisodes(spec=CONTROL, count=4)})


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Dataset with instructions of three styles."""
    texts = ("take the cup", "take the bowl", "the robot takes the cup", "Taking it.")
    episodes = MadeEpisodes(spec=ROBOT, count=8, texts=texts)
    return write_dataset(tmp_path_factory.mktemp("data"), ROBOT, {"train": episodes})


def instructions(data, tmp_path, *arguments):
    out = tmp_path / "out.json"
    said = gato("instructions", f"--data={data}", f"--output={tmp_path / 'review.json'}", f"--json={out}", *arguments)
    return said, json.loads(out.read_text()) if out.exists() else {}


def test_of_a_dataset_without_instructions_the_name_is_proposed(dataset, tmp_path):
    said, made = instructions(dataset, tmp_path, "--phrasings=2")
    assert said.status == 0 and made == {
        "task": "made/control", "entries": 1, "unreviewed": 1, "findings": [], "rejected": []
    }  # fmt: skip
    (entry,) = Review.read(tmp_path / "review.json").entries
    assert entry.episodes == "0-3" and len(entry.instructions) == 2
    assert said.out == f"made/control: entries 1, unreviewed 1, findings 0, in {tmp_path / 'review.json'}\n"


def test_metadata_fill_templates_and_edits_outlive_the_next_run(dataset, tmp_path):
    metadata = [{"object": "cup", "colour": colour} for colour in ("red", "red", "blue", "red")]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    words = [f"--metadata={tmp_path / 'metadata.json'}", "--template=take the {object}", "--template=get the {object}"]
    _, made = instructions(dataset, tmp_path, *words)
    assert made["entries"] == 2
    file = tmp_path / "review.json"
    content = json.loads(file.read_text())
    assert content["entries"][0]["instructions"] == ["take the red cup", "get the red cup"]
    content["entries"][0]["instructions"] = ["take the blue cup"]  # contradicts the metadata
    file.write_text(json.dumps(content))
    said, made = instructions(dataset, tmp_path, *words)
    assert made["unreviewed"] == 1 and Review.read(file).entries[0].instructions == ("take the blue cup",)
    assert made["findings"] == [
        {
            "instruction": "take the blue cup",
            "episodes": [0, 1, 3],
            "problem": "contradiction",
            "evidence": "it calls the cup blue, the metadata's colour of the object is red",
        }
    ]
    assert "contradiction: 'take the blue cup' (3 episodes): it calls the cup blue" in said.out


def test_mixed_styles_are_found_and_with_strict_they_are_an_error(told, tmp_path):
    said, made = instructions(told, tmp_path, "--check")
    assert said.status == 0 and not (tmp_path / "review.json").exists() and made["entries"] == 4
    assert [(finding["problem"], finding["episodes"]) for finding in made["findings"]] == [
        ("mixed style", [2, 6]), ("mixed style", [3, 7]), ("mixed case", [3, 7]), ("mixed punctuation", [3, 7])
    ]  # fmt: skip
    strict, made = instructions(told, tmp_path, "--check", "--strict")
    assert (
        "--strict is given and there are 4 findings. Correct the instructions in" in strict.complaint()
        and len(made["findings"]) == 4
    )


def test_a_check_is_of_the_review_that_is_there(told, tmp_path):
    instructions(told, tmp_path)
    file = tmp_path / "review.json"
    content = json.loads(file.read_text())
    content["entries"][2]["instructions"] = ["take that cup"]
    content["entries"][3]["status"] = "reject"
    file.write_text(json.dumps(content))
    said, made = instructions(told, tmp_path, "--check", "--strict")
    assert said.status == 0 and made["findings"] == [] and made["unreviewed"] == 2
    assert json.loads(file.read_text()) == content


@pytest.mark.parametrize(
    "words, metadata, said",
    [
        (["--template=take the {object}"], None, "{object} has no value"),
        (["--template=take the {Object}"], None, "Write a slot as {object}"),
        (["--metadata={tmp}/none.json"], None, "none.json is not JSON"),
        (["--metadata={tmp}/metadata.json"], [{}], "holds 1 objects, expected 4"),
        (["--metadata={tmp}/metadata.json"], {"object": "cup"}, "expected to hold a list of objects"),
        (["--split=test"], None, "no split 'test'"),
        (["--output={tmp}"], None, "a folder, expected a file. Name a file"),
        (["--output="], None, "--output is missing"),
    ],
)
def test_what_cannot_be_is_one_line(words, metadata, said, dataset, tmp_path):
    if metadata is not None:
        (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    result, _ = instructions(dataset, tmp_path, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said in result.complaint() and not (tmp_path / "review.json").exists()


def test_the_next_conversion_obeys_what_a_person_edited(dataset, tmp_path):
    instructions(dataset, tmp_path, "--phrasings=2")
    file = tmp_path / "review.json"
    convert = ["convert", f"--source=recorded:{dataset}", f"--output={tmp_path / 'out'}", f"--review={file}"]
    in_this_process = ["--beam.direct_running_mode=in_memory", "--beam.direct_num_workers=1"]
    assert "entries are unreviewed" in gato(*convert, *in_this_process).complaint()
    content = json.loads(file.read_text())
    content["entries"][0]["instructions"] = ["lift it", "pick it up"]
    file.write_text(json.dumps(content))
    assert gato(*convert, *in_this_process).status == 0
    made = open_dataset(next((tmp_path / "out").glob("*/1.0.0")))
    assert made.spec.instructions == ("lift it", "pick it up")
    assert [set(episode.observation["instruction"]) for episode in made] == [{"lift it"}, {"pick it up"}] * 2
    two = gato(*convert, *in_this_process, "--splits=train,test").complaint()
    assert "no split 'test'" in two or "which is for one split" in two


def test_training_sees_each_episode_in_several_phrasings(dataset, tmp_path):
    instructions(dataset, tmp_path, "--phrasings=3")
    settings = {"source": f"recorded:{dataset}", "weight": 1.0}
    phrased = open_episodes(DatasetConfig(**settings, phrasings=3, review=str(tmp_path / "review.json")))
    assert len(phrased) == 12
    assert all(len({str(phrased[3 * i + j].observation["instruction"][0]) for j in range(3)}) == 3 for i in range(4))
    assert open_episodes(DatasetConfig(**settings)).fingerprint == open_dataset(dataset).fingerprint
