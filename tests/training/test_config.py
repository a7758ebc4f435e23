"""From a ConfigDict to the frozen config: what is wrong is named, with the nearest right name."""

import ml_collections
import pytest

from gato_jax.training import ConfigError, OptimizerConfig, TrainConfig


def config(**changes) -> ml_collections.ConfigDict:
    made = ml_collections.ConfigDict(
        {
            "seed": 0, "batch_size": 8, "context": 64, "steps": 100,
            "model": {"layers": 1, "width": 32, "heads": 2, "head_size": 16, "hidden": 32},
            "optimizer": {"warmup_steps": 10},
            "datasets": {"a": {"source": "recorded:a", "weight": 1.0}, "b": {"source": "recorded:b", "weight": 2.0}},
            "tokenization": {"mu": 50.0, "vocabulary": {"bins": 512}},
        }
    )  # fmt: skip
    with made.unlocked():
        made.update(changes)
    return made


def test_every_part_becomes_its_dataclass():
    made = TrainConfig.from_mapping(config())
    assert made.model.tokenization.mu == 50.0 and made.model.tokenization.vocabulary.bins == 512
    assert [dataset.source for dataset in made.datasets.values()] == ["recorded:a", "recorded:b"]
    assert made.optimizer.beta_2 == 0.95 and made.mesh.data == -1


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"contxt": 3}, "config has the unknown key 'contxt'. Did you mean 'context'?"),
        ({"model": {"layer": 1}}, "config.model has the unknown key 'layer'. Did you mean 'layers'?"),
        ({"optimizer": {"beta1": 0.9}}, "config.optimizer has the unknown key 'beta1'. Did you mean 'beta_1'?"),
        ({"mesh": {"xyz": 1}}, "config.mesh has the unknown key 'xyz'. Its keys are data, fsdp, tensor"),
        ({"tokenization": {"patches": 8}}, "config.tokenization has the unknown key 'patches'. Did you mean 'patch'?"),
        (
            {"datasets": {"c": {"source": "c", "wieght": 1.0}}},
            "config.datasets.c has the unknown key 'wieght'. Did you mean",
        ),
        ({"datasets": {"c": {"source": "c"}}}, "config.datasets.c lacks the key 'weight'. Add it."),
        ({"batch_size": 0}, "batch_size is 0, expected a positive whole number"),
        ({"steps": 10}, "optimizer.warmup_steps is 10, expected less than steps .10.. Lower it"),
        (
            {"model": {"hidden": 33}},
            "config.model.hidden is 33, expected a positive multiple of 2. GEGLU",
        ),
        (
            {"datasets": {"c": {"source": "c", "weight": "much"}}},
            "datasets.c.weight is 'much', expected a positive number.",
        ),
        (
            {"optimizer": {"peak_learning_rate": "1e-3"}},
            "config.optimizer.peak_learning_rate is '1e-3', expected a number, 0 or more.",
        ),
        (
            {"optimizer": {"schedule": "cosin"}},
            "config.optimizer.schedule is 'cosin', expected 'cosine' or 'constant'. Did you mean 'cosine'?",
        ),
        ({"model": {"position": "xl"}}, "config.model.position is 'xl', expected 'relative_xl' or 'rope'."),
        ({"weighting": "equal"}, "config.weighting is 'equal', expected 'by_hand' or 'by_size' or 'by_task'."),
        ({"mesh": 3}, "config.mesh is 3, expected an object with the keys data, fsdp, tensor."),
        ({"checkpoints": {"every": 30}}, "checkpoints.every is 30, expected a multiple of log_every .20."),
        (
            {"checkpoints": {"keep": 0}},
            "checkpoints.keep is 0, expected a positive whole number or None. None keeps all",
        ),
        (
            {"checkpoints": {"every": 20, "keep_every": 50}},
            "config.checkpoints: keep_every is 50, expected a multiple of every .20.. Change it, or set None",
        ),
    ],
)
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        TrainConfig.from_mapping(config(**changes))


def test_a_whole_number_serves_as_a_float():
    made = TrainConfig.from_mapping(config(datasets={"a": {"source": "recorded:a", "weight": 2}}))
    assert made.datasets["a"].weight == 2.0 and type(made.datasets["a"].weight) is float


def test_the_defaults_of_the_optimizer_are_the_papers():
    assert OptimizerConfig() == OptimizerConfig(
        peak_learning_rate=1e-4, initial_learning_rate=1e-7, final_fraction=0.1, warmup_steps=15_000,
        beta_1=0.9, beta_2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=None,
    )  # fmt: skip
