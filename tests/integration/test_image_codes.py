"""Images as codes, by the command: a tokenizer is trained on recordings, an agent reads its codes, and acts on them."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image as Pillow

from gato_jax.episodes import write_dataset
from gato_jax.policy import Agent, Policy
from gato_jax.tokenization.image_tokenizer import ImageTokenizer, ImageTokenizerError
from gato_jax.training import ConfigError, TrainConfig, open_image_tokenizer, open_run_mixture
from tests.integration.conftest import gato
from tests.tokenization.made_tasks import GAME, random_episode

pytestmark = pytest.mark.usefixtures("shared_programs")

CODES, AHEAD = 16, 2


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    write_dataset(folder / "data", GAME, {"train": [random_episode(GAME, seed, 6) for seed in range(4)]})
    said = gato(
        "train_image_tokenizer", f"--data={folder}/data/made__game/1.0.0", f"--output={folder}/images", "--steps=2",
        "--batch_size=4", "--side=32", "--grid=4", f"--codes={CODES}", "--channels=8", f"--json={folder}/images.json",
    )  # fmt: skip
    assert said.status == 0, said.err
    return folder


def config(workdir, **changes):
    made = ConfigDict(
        {"seed": 0, "steps": 2, "batch_size": 8, "context": 90, "log_every": 1, "checkpoints": {"every": 2}}
    )
    made.image_tokenizer = "{workdir}/images"
    made.tokenization = ConfigDict({"image_ahead": AHEAD})
    made.model = ConfigDict({"layers": 1, "width": 32, "heads": 2, "head_size": 8, "hidden": 32, "patch_channels": 32})
    made.optimizer = ConfigDict({"warmup_steps": 1})
    made.datasets = ConfigDict({"game": {"source": "recorded:{workdir}/data/made__game/1.0.0", "weight": 1.0}})
    made.update(changes)
    return TrainConfig.from_mapping(made, workdir)


def test_the_command_says_which_tokenizer_it_made(workdir):
    assert (
        json.loads((workdir / "images.json").read_text())["fingerprint"]
        == ImageTokenizer.load(workdir / "images").fingerprint
    )


def test_the_command_draws_what_the_codes_give_back(workdir):
    with Pillow.open(workdir / "images" / "reconstructions.png") as drawn:
        assert drawn.size == (4 * 8 * 32, 4 * 2 * 32)


@pytest.mark.slow
def test_an_agent_trains_on_codes_and_acts_on_them(workdir):
    from gato_jax.training import train

    run = config(workdir)
    vocabulary = run.model.tokenization.vocabulary
    assert vocabulary.image_codes == CODES and vocabulary.size == 33_025 + CODES
    mixture = open_run_mixture(run, workdir)
    assert mixture.budgets().patches == 0
    _, tokens = mixture.build(0)
    codes = tokens.token_ids >= vocabulary.first_image_code
    assert codes.any() and (tokens.loss_mask & codes).any()
    train(run, mixture, workdir)
    agent = Agent.restore(workdir)
    (observation,) = ({key: values[0] for key, values in random_episode(GAME, 9, 1).observation.items()},)
    (action,) = Policy(agent, GAME.name, 1).act([observation])
    assert 0 <= action["action"] < 18


def test_without_its_tokenizer_a_run_is_refused(workdir):
    with pytest.raises(ImageTokenizerError, match="no image_tokenizer.json in .*/elsewhere"):
        config(workdir, image_tokenizer=str(workdir / "elsewhere"))


def test_the_targets_of_codes_are_those_of_later_images(workdir):
    mixture = open_run_mixture(config(workdir), workdir)
    records = mixture.records["game"]
    steps = records.timesteps(0, int(records.index.episode_steps[0]))
    for step, later in zip(steps, steps[AHEAD:], strict=False):
        np.testing.assert_array_equal(step.target_ids[:CODES], later.token_ids[:CODES])  # 4 by 4 codes an image
        assert step.loss_mask[:CODES].all()
    assert not np.concatenate([step.loss_mask[:CODES] for step in steps[-AHEAD:]]).any()


def test_a_runs_copy_of_its_tokenizer_is_never_overwritten(workdir, tmp_path):
    run = config(workdir)
    open_run_mixture(run, workdir)
    kept = ImageTokenizer.load(workdir / "image_tokenizer").fingerprint
    tokenizer = ImageTokenizer.load(workdir / "images")
    ImageTokenizer(tokenizer.config, jax.tree.map(lambda leaf: leaf + 1, tokenizer.params)).save(tmp_path / "other")
    with pytest.raises(ValueError, match=f"image_tokenizer is the image tokenizer {kept}, .*name another --workdir"):
        open_image_tokenizer(config(workdir, image_tokenizer=f"{tmp_path}/other"), workdir)
    assert ImageTokenizer.load(workdir / "image_tokenizer").fingerprint == kept


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"image_tokenizer": 5}, "config.image_tokenizer is 5, expected str or None"),
        ({"image_tokenizer": ["a"]}, r"config.image_tokenizer is \['a'\], expected str or None"),
        ({"tokenization": {"vocabulary": {"image_codes": 9}}}, "image_codes is 9, that of .* is 16; leave it out"),
        ({"tokenization": {"vocabulary": 3}}, "config.tokenization.vocabulary is 3, expected an object"),
    ],
)
def test_settings_that_contradict_the_tokenizer_are_refused(workdir, changes, said):
    fields = {
        "seed": 0, "steps": 30, "batch_size": 2, "context": 9, "optimizer": {"warmup_steps": 1}, "datasets": {},
        "model": {"layers": 1, "width": 32, "heads": 2, "head_size": 8, "hidden": 32},
        "image_tokenizer": str(workdir / "images"),
    }  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        TrainConfig.from_mapping({**fields, **changes})


def test_images_can_be_asked_of_data_that_have_some_only(workdir, tmp_path):
    from tests.tokenization.made_tasks import CONTROL

    folder = write_dataset(tmp_path, CONTROL, {"train": [random_episode(CONTROL, 0, 3)]})
    said = gato("train_image_tokenizer", f"--data={folder}", f"--output={tmp_path}/images")
    assert said.status == 2 and "made/control observes no images" in said.err and len(said.err.splitlines()) == 1


def test_a_config_without_a_tokenizer_has_no_codes():
    assert TrainConfig.from_mapping(
        {
            "seed": 0, "steps": 30, "batch_size": 2, "context": 9, "optimizer": {"warmup_steps": 1}, "datasets": {},
            "model": {"layers": 1, "width": 32, "heads": 2, "head_size": 8, "hidden": 32},
        }
    ).model.tokenization.vocabulary.image_codes == 0  # fmt: skip
