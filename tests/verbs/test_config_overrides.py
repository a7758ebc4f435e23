"""Any key of a config can be set and unset on the command line, in every section, there or not."""

import pytest
from absl import flags
from ml_collections import ConfigDict

from gato_jax.training import TrainConfig
from gato_jax.verbs.config_overrides import Override, apply_overrides, split_overrides
from gato_jax.verbs.flags import define_config, parse_flags
from gato_jax.verbs.usage import UsageError

SECTIONS = {
    "optimizer.clip_norm": 1.0, "optimizer.ema_decay": 0.99, "checkpoints.keep": 3, "checkpoints.keep_every": 1000,
    "admission.synthetic_share_at_most": 0.5, "admission.allowed_licences": ("MIT",), "tokenization.image_ahead": None,
    "datasets.grid.prompt_steps": 2, "datasets.grid.review": "review.json", "patch_budget": 4096, "target_budget": 512,
}  # fmt: skip


def config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 100, "batch_size": 8, "context": 16,
            "model": {"layers": 1, "width": 32, "heads": 2, "head_size": 16, "hidden": 32},
            "optimizer": {"warmup_steps": 10}, "datasets": {"grid": {"source": "recorded:a", "weight": 1.0}},
        }
    )  # fmt: skip


def changed(*words: str) -> ConfigDict:
    made = config()
    apply_overrides(made, split_overrides(["gato train", *words])[1])
    return made


def value(made: TrainConfig, path: str):
    found = made.model if path.startswith("tokenization") else made
    for name in path.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return found


@pytest.mark.parametrize("path", SECTIONS)
def test_a_value_of_none_is_set_and_unset(path):
    unset = changed(f"--config.{path}={SECTIONS[path]!r}", f"--config.{path}=None")
    assert value(TrainConfig.from_mapping(unset), path) is None
    made = changed(f"--config.{path}=None", f"--config.{path}={SECTIONS[path]}")
    assert value(TrainConfig.from_mapping(made), path) == SECTIONS[path]


@pytest.mark.parametrize(
    ("words", "path", "expected"),
    [
        (["--config.mesh.data=2"], "mesh.data", 2),  # no section mesh in the file
        (["--config.steps", "500"], "steps", 500),
        (["--config.distributed"], "distributed", True),
        (["--noconfig.distributed"], "distributed", False),
        (["--config.distributed=true"], "distributed", True),
        (["--config.compute.dtype=bfloat16"], "compute.dtype", "bfloat16"),
        (["--config.optimizer.peak_learning_rate=1e-3"], "optimizer.peak_learning_rate", 1e-3),
        (["--config.datasets.grid.source=recorded:a=b:c"], "datasets.grid.source", "recorded:a=b:c"),
        (["--config.datasets.grid.source=2024"], "datasets.grid.source", "2024"),  # a text stays one
        (["--config.datasets.more={'source': 'recorded:b', 'weight': 2}"], "datasets.more.weight", 2.0),
    ],
)
def test_a_value_is_what_its_text_says(words, path, expected):
    assert value(TrainConfig.from_mapping(changed(*words)), path) == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--config.optimzer.clip_norm=1", "config has no section 'optimzer'. Did you mean 'optimizer'?"),
        ("--config.datasets.gird.weight=1", "config.datasets has no section 'gird'. Did you mean 'grid'?"),
        ("--config.steps.x=1", "--config.steps.x is given, but config.steps is 100, no section. Remove the flag."),
    ],
)
def test_a_path_that_is_not_there_is_refused(word, said):
    with pytest.raises(UsageError) as caught:
        changed(word)
    assert said in str(caught.value)


def test_other_words_are_left_in_their_order():
    words, overrides = split_overrides(["gato", "--config=a.py", "--config.b.c=1", "--workdir=w", "--config.d", "x"])
    assert words == ["gato", "--config=a.py", "--workdir=w"]
    assert overrides == [Override(("b", "c"), "1"), Override(("d",), "x")]


def test_an_override_needs_a_config():
    flag = flags.FlagValues()
    define_config(flag, ["gato"])
    with pytest.raises(UsageError, match="--config.steps is given, but --config is missing"):
        parse_flags(flag, ["gato", "--config.steps=3"])
