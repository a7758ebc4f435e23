"""The copy of the config in a run's folder gives the same config again, and what is wrong with it is named."""

import json

import pytest

from configs import gato_79m, quickstart
from gato_jax.training import ConfigError, TrainConfig, read_config, write_config
from tests.training.made_run import made_config


@pytest.mark.parametrize("get_config", [quickstart.get_config, gato_79m.get_config])
def test_the_copy_gives_the_same_config_again(get_config, tmp_path):
    config = TrainConfig.from_mapping(get_config(), tmp_path)
    write_config(config, tmp_path)
    assert read_config(tmp_path) == config
    copy = json.loads((tmp_path / "config.json").read_text())
    assert copy["optimizer"]["beta_2"] == 0.95 and copy["tokenization"]["mu"] == 100


def test_a_run_that_is_moved_finds_what_lies_in_its_folder(tmp_path):
    fields = quickstart.get_config()
    fields.datasets.captions.source = f"recorded:{tmp_path}/runs_of_others/captions"
    run, moved = tmp_path / "runs", tmp_path / "moved"
    run.mkdir()
    write_config(TrainConfig.from_mapping(fields, run), run)
    run.rename(moved)
    assert read_config(moved) == TrainConfig.from_mapping(fields, moved)


def test_a_config_that_was_made_without_a_file_is_copied_too(tmp_path):
    write_config(made_config(), tmp_path)
    write_config(made_config(steps=60), tmp_path)  # a later start
    assert read_config(tmp_path) == made_config(steps=60)


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "config.json cannot be read .No such file or directory.. Train there first"),
        ("{", "config.json is no JSON"),
        ("[]", "config.json is no JSON object. Train there again"),
        ("{}", "config lacks the key"),
    ],
)
def test_a_copy_that_cannot_be_read_is_named(tmp_path, content, said):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_config(tmp_path)
