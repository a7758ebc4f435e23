"""The paper's values, the checkpoint's model and tokens; what a config may not say; what makes it another run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from configs import finetune
from gato_jax.checkpoints import AgentCheckpoint, CheckpointError, CheckpointStore
from gato_jax.model import graphdef
from gato_jax.tokenization import Contract, ContractError, Tokenization, Vocabulary
from gato_jax.tokenization.image_tokenizer import ImageTokenizer
from gato_jax.training import (
    ConfigError,
    FinetuneConfig,
    TrainState,
    identity,
    read_finetuning,
    require_same_start,
)
from gato_jax.training.finetuning import digest
from gato_jax.training.optimizer import learning_rate
from tests.model.made_model import alive
from tests.tokenization.made_shades import Shades
from tests.tokenization.made_tasks import CONTROL
from tests.training.made_run import MODEL, TOKENIZATION


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = dataclasses.replace(MODEL, stochastic_depth=0.1)
    return AgentCheckpoint(7, model, graphdef(model), alive(model), Contract.of(TOKENIZATION, [CONTROL]), {})


def config(**changes) -> dict:
    made = {
        "task": CONTROL.name, "seed": 3, "batch_size": 8, "context": 24, "steps": 20, "log_every": 1,
        "evaluate_every": 2, "dataset": {"source": "recorded:somewhere"},
    }  # fmt: skip
    return {**made, **changes}


@pytest.fixture
def read(checkpoint, tmp_path):
    return lambda **changes: read_finetuning(config(**changes), checkpoint, tmp_path)


def test_the_config_file_has_the_papers_values(checkpoint, tmp_path):
    finetuning, training = read_finetuning(finetune.get_config().to_dict(), checkpoint, tmp_path)
    assert finetuning == FinetuneConfig(task="dm_control/cartpole/swingup")
    assert (finetuning.episodes, finetuning.keep_best, finetuning.series) == (1000, 2000, 0)
    assert (finetuning.evaluate_every, finetuning.rollouts, finetuning.smoothing) == (100, 10, 5)
    assert (training.batch_size, training.context, training.steps) == (64, 1024, 10_000)
    assert (training.model.dropout, training.model.stochastic_depth) == (0.1, 0.0)
    adam = training.optimizer
    assert (adam.beta_1, adam.beta_2, adam.epsilon, adam.weight_decay) == (0.9, 0.95, 1e-8, 0.0)
    assert adam.clip_norm is None and training.checkpoints.every == 100
    rates = [float(learning_rate(adam, training.steps)(step)) for step in (0, 1, 9_999)]
    assert rates == pytest.approx([1e-5] * 3, rel=1e-6)


def test_what_a_config_leaves_out_is_the_papers(read, checkpoint, tmp_path):
    of_the_file = read_finetuning(finetune.get_config().to_dict(), checkpoint, tmp_path)[1]
    training = read()[1]
    assert training.optimizer == of_the_file.optimizer and training.model == of_the_file.model


def test_model_and_tokenization_are_the_checkpoints(read, checkpoint):
    training = read(model={"dropout": 0.3})[1]
    assert training.model == dataclasses.replace(checkpoint.model, dropout=0.3, stochastic_depth=0.0)
    assert read(tokenization={"patch": 16, "vocabulary": {"text": 32}})[1].model.tokenization == TOKENIZATION


@pytest.mark.parametrize(
    "stated, said",
    [({"mu": 50.0}, "tokenization.mu: 50.0 here, 100.0 in"), ({"vocabulary": {"bins": 512}}, "bins: 512 here, 1024")],
)
def test_another_tokenization_is_refused(read, tmp_path, stated, said):
    with pytest.raises(ContractError, match=said) as refused:
        read(tokenization=stated)
    assert str(tmp_path) in str(refused.value)


def test_the_image_tokenizer_is_the_one_beside_the_checkpoint(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(ImageTokenizer, "load", {tmp_path / "image_tokenizer": Shades()}.__getitem__)
    vocabulary = Vocabulary(text=32, image_codes=Shades.config.codes)
    tokenization = Tokenization(vocabulary=vocabulary, image_tokenizer=Shades.fingerprint, image_ahead=2)
    seeing = checkpoint._replace(model=dataclasses.replace(checkpoint.model, tokenization=tokenization))
    training = read_finetuning(config(), seeing, tmp_path)[1]
    assert training.image_tokenizer == str(tmp_path / "image_tokenizer")
    assert training.model.tokenization == tokenization


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"epsiodes": 3}, "config has the unknown key 'epsiodes'. Did you mean 'episodes'?"),
        ({"batchsize": 3}, "config has the unknown key 'batchsize'. Did you mean 'batch_size'?"),
        ({"dataset": {"sorce": "a"}}, "config.dataset has the unknown key 'sorce'. Did you mean 'source'?"),
        ({"dataset": {}}, "config.dataset lacks the key 'source'. Add it."),
        ({"dataset": "recorded:a"}, "config.dataset is 'recorded:a', expected an object"),
        ({"datasets": {}}, "config has datasets, which fine-tuning cannot set. It has one dataset"),
        (
            {"checkpoints": {"every": 4}},
            "config has checkpoints.every, which fine-tuning cannot set. .* Set evaluate_every",
        ),
        ({"image_trunk_weights": "a"}, "config has image_trunk_weights, which fine-tuning cannot set"),
        (
            {"model": {"width": 64}},
            "model.width is the checkpoint's, a config sets dropout and stochastic_depth",
        ),
        ({"model": {"dropout": 1.0}}, "config.model.dropout is 1.0, expected a number in .0, 1.."),
        ({"optimizer": {"beta1": 0.9}}, "config.optimizer has the unknown key 'beta1'"),
        ({"episodes": 0}, "config.episodes is 0, expected a positive whole number"),
        ({"episodes": "all"}, "config.episodes is 'all', expected a positive whole number."),
        ({"episodes": 3000}, "episodes is 3000, expected at most keep_best .2000."),
        ({"series": -1}, "series is -1, expected a whole number in .0, 4294967296."),
        ({"temperature": float("nan")}, "temperature is nan, expected a number, 0 or more"),
        ({"steps": 21}, "steps is 21, expected a multiple of evaluate_every .2."),
        (
            {"steps": 8},
            "smoothing is 5, expected at most the number of evaluations, 4 in 8 steps. Lower",
        ),
        ({"log_every": 3}, "evaluate_every is 2, expected a multiple of log_every .3."),
        ({"distributed": True}, "distributed is True, but fine-tuning runs in one process"),
    ],
)
def test_what_is_wrong_is_named(read, changes, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read(**changes)


def test_all_that_is_wrong_is_listed_at_once(read):
    changes = {"steps": 21, "log_every": 3, "evaluate_evry": 2, "rollouts": -1, "datasets": {}, "seed": -1}
    with pytest.raises(ConfigError) as refused:
        read(**changes, model={"width": 64, "dropout": 1.0}, optimizer={"weight_decay": -1})
    first, *problems = str(refused.value).splitlines()
    assert first == "config has 9 problems:"
    named = [
        "datasets, which fine-tuning cannot set", "'evaluate_evry'", "config.model.width", "config.rollouts is -1",
        "config.seed is -1", "config.model.dropout is 1.0", "config.optimizer.weight_decay is -1",
        "config: evaluate_every is 2, expected a multiple of log_every (3)", "config: steps is 21, expected a",
    ]  # fmt: skip
    for words in named:
        assert sum(words in line for line in problems) == 1, (words, problems)


def test_a_config_without_a_dataset_is_refused(checkpoint, tmp_path):
    fields = {key: value for key, value in config().items() if key != "dataset"}
    with pytest.raises(ConfigError, match="config.dataset lacks the key 'source'. Add it"):
        read_finetuning(fields, checkpoint, tmp_path)


def test_other_params_are_another_run(read, checkpoint):
    finetuning = read()[0]
    leaves, structure = jax.tree.flatten(checkpoint.params)
    changed = jax.tree.unflatten(structure, [*leaves[:-1], leaves[-1].at[3].add(jnp.float32(1e-6))])
    assert digest(changed) != digest(checkpoint.params)
    assert identity(finetuning, checkpoint)["from"] == {"step": 7, "params": digest(checkpoint.params)}
    assert identity(finetuning, checkpoint._replace(params=changed)) != identity(finetuning, checkpoint)


def test_until_there_is_a_checkpoint_a_run_may_begin_otherwise(checkpoint, tmp_path):
    file = tmp_path / "start.json"
    for begins_with in ({"task": "a", "episodes": 3}, {"task": "a", "episodes": 5}):
        require_same_start(file, begins_with, tmp_path)
        assert json.loads(file.read_text()) == begins_with
    run = {"optimizer": {"ema_decay": None}}
    store = CheckpointStore(tmp_path)
    state = TrainState(checkpoint.params, jnp.zeros(1), jnp.int32(2))
    store.save(2, state, loader={}, contract=checkpoint.contract, model=checkpoint.model, run=run)
    store.close()
    require_same_start(file, {"task": "a", "episodes": 5}, tmp_path)
    with pytest.raises(
        CheckpointError, match="another run's checkpoint:\n  episodes: 3 here, 5 in start.json\nname another --workdir"
    ):
        require_same_start(file, {"task": "a", "episodes": 3}, tmp_path)
    file.unlink()
    with pytest.raises(
        CheckpointError,
        match="another run's checkpoint:\n  episodes: 5 here, missing in start.json\n  task: 'a' here, missing",
    ):
        require_same_start(file, {"task": "a", "episodes": 5}, tmp_path)
