"""An image tokenizer learns to draw, uses its codes, goes on where it was killed and refuses another run's folder."""

import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.runtime import Interruption
from gato_jax.tokenization.image_tokenizer import ImageTokenizer
from gato_jax.tokenization.vqvae import ImageTokenizerConfig, ImageTokenizerError
from gato_jax.training import NonFiniteLossError
from gato_jax.training.image_tokenizer import (
    REVIVE_AFTER,
    make_initial_state,
    make_optimizer,
    make_train_step,
    move_codes,
    train_image_tokenizer,
)

TINY = ImageTokenizerConfig(side=16, grid=4, codes=64, code_size=8, channels=16, blocks=1)
ARGUMENTS = {"steps": 12, "batch_size": 4, "learning_rate": 1e-3, "seed": 5}


def shapes(count):
    """Discs and boxes of random colours and places on grounds of random colours, 16 by 16."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    images = np.empty((count, 16, 16, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(256, size=3)
        (v, u), size = rng.integers(3, 13, size=2), rng.integers(2, 6)
        inside = np.hypot(y - v, x - u) < size if rng.random() < 0.5 else np.maximum(abs(y - v), abs(x - u)) < size
        image[inside] = rng.integers(256, size=3)
    return images


IMAGES = shapes(512)


class Killed(Exception):
    pass


class DiesAt:
    """The images, of which only so many are read."""

    def __init__(self, reads):
        self.left = reads

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index, /):
        if not self.left:
            raise Killed
        self.left -= 1
        return IMAGES[index]


def weights(folder):
    return jax.tree.leaves(ImageTokenizer.load(folder).params)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, train_image_tokenizer(TINY, IMAGES, folder, **ARGUMENTS)


def test_a_short_run_draws_better_than_the_mean_image(tmp_path):
    run = {"steps": 200, "batch_size": 32, "learning_rate": 3e-3, "seed": 0}
    metrics = train_image_tokenizer(TINY, IMAGES, tmp_path, **run)
    tokenizer = ImageTokenizer.load(tmp_path)
    drawn = tokenizer.decode(tokenizer.encode(IMAGES)).astype(np.float32)
    error = np.mean((drawn - IMAGES) ** 2)
    assert error < 0.25 * np.mean((IMAGES - IMAGES.mean(0)) ** 2)
    assert metrics["l2"] == pytest.approx(error / 127.5**2, rel=0.5)  # what is logged is what is loaded
    assert metrics["codes_used"] > TINY.codes / 2


def test_a_run_that_was_killed_ends_as_one_that_was_not(uninterrupted, tmp_path):
    folder, metrics = uninterrupted
    for steps in (8, 4):  # it dies in step 9, goes on from the checkpoint of 6 and dies in step 11
        images = DiesAt(64 + steps * ARGUMENTS["batch_size"])  # 64 are read for the hash
        with pytest.raises(Killed):
            train_image_tokenizer(TINY, images, tmp_path, **ARGUMENTS, checkpoint_every=3)
    assert train_image_tokenizer(TINY, IMAGES, tmp_path, **ARGUMENTS, checkpoint_every=5) == metrics
    jax.tree.map(np.testing.assert_array_equal, weights(tmp_path), weights(folder))


def test_a_run_that_is_interrupted_keeps_its_last_step(uninterrupted, tmp_path):
    _, metrics = uninterrupted
    interruption = Interruption("")
    interruption.request(signal.SIGTERM)
    assert train_image_tokenizer(TINY, IMAGES, tmp_path, **ARGUMENTS, interruption=interruption) is None
    assert (tmp_path / "training_state.npz").exists() and not (tmp_path / "image_tokenizer.json").exists()
    assert train_image_tokenizer(TINY, IMAGES, tmp_path, **ARGUMENTS) == metrics


def test_a_finished_run_is_not_run_again(uninterrupted):
    folder, metrics = uninterrupted
    only_the_hash = DiesAt(64)
    assert train_image_tokenizer(TINY, only_the_hash, folder, **ARGUMENTS) == metrics


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 0.002}, "learning_rate: 0.002 here, 0.001 in run.json"),
        ({"steps": 13}, "steps: 13 here, 12 in run.json"),
        ({"config": ImageTokenizerConfig(side=16, grid=4, codes=65, channels=16)}, "codes: 65 here, 64 in run.json"),
        ({"images": IMAGES[1:]}, "images: 511 here, 512 in run.json"),
        ({"images": 255 - IMAGES}, "images_hash: .* here, .* in run.json"),
    ],
)
def test_a_folder_of_another_run_is_refused_with_the_difference(uninterrupted, changed, said):
    folder, _ = uninterrupted
    with pytest.raises(ImageTokenizerError, match=said) as raised:
        train_image_tokenizer(**{"config": TINY, "images": IMAGES, "directory": folder, **ARGUMENTS, **changed})
    assert str(folder) in str(raised.value) and "name another folder" in str(raised.value)


def test_a_damaged_state_is_refused_by_name(tmp_path):
    with pytest.raises(Killed):
        train_image_tokenizer(TINY, DiesAt(64 + 3 * 4), tmp_path, **ARGUMENTS, checkpoint_every=2)
    state = tmp_path / "training_state.npz"
    state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(ImageTokenizerError, match=r"training_state.npz is damaged .*; delete .*training_state.npz to"):
        train_image_tokenizer(TINY, IMAGES, tmp_path, **ARGUMENTS)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(NonFiniteLossError, match="at step [2-9].*lower the learning rate"):
        train_image_tokenizer(TINY, IMAGES, tmp_path, **{**ARGUMENTS, "learning_rate": 1e30})
    assert not (tmp_path / "image_tokenizer.json").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 0}, "image_tokenizer.steps is 0, expected a positive whole number"),
        ({"seed": -1, "learning_rate": math.nan}, "has 2 problems:\n  .*learning_rate is nan.*\n  .*seed is -1"),
        ({"images": []}, "no images to train on"),
        ({"images": [np.zeros((16, 16, 3), np.float32)]}, "image 0 must be uint8 .* got float32"),
        ({"images": [np.zeros((16, 16), np.uint8)]}, r"got uint8 of \(16, 16\)"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tmp_path, changed, said):
    with pytest.raises(ImageTokenizerError, match=said):
        train_image_tokenizer(**{"config": TINY, "images": IMAGES, "directory": tmp_path, **ARGUMENTS, **changed})


def test_dead_codes_are_revived():
    key, tx = jax.random.key(0), make_optimizer(ARGUMENTS["learning_rate"], ARGUMENTS["steps"])
    state = jax.jit(make_initial_state(TINY, tx))(key)
    far = jnp.where(jnp.arange(TINY.codes) == 0, 0.0, 1e3)[:, None] + state.sums * 0.01  # all but the first
    state.params["quantizer"]["vectors"][...] = far
    state = state._replace(sums=jnp.copy(far), unused=jnp.full_like(state.unused, REVIVE_AFTER - 6))
    step = jax.jit(make_train_step(TINY, tx), donate_argnums=0)
    used, revived = [], []
    for n in range(10):
        state, metrics = step(state, IMAGES[n * 4 : (n + 1) * 4], key)
        used.append(int(metrics["codes_used"]))
        revived.append(int(metrics["revived"]))
    assert revived[:7] == [0, 0, 0, 0, 0, 0, TINY.codes - 1]
    assert used[:7] == [1] * 7  # so it would stay
    assert min(used[7:]) > TINY.codes / 4


def test_a_code_moves_to_the_mean_of_what_chose_it():
    state = jax.jit(make_initial_state(TINY, make_optimizer(1e-3, 1)))(jax.random.key(0))
    state = state._replace(unused=jnp.zeros_like(state.unused))
    encoded = jax.random.normal(jax.random.key(1), (6, TINY.code_size))
    codes = jnp.array([3, 3, 3, 7, 7, 9], jnp.int32)
    move = jax.jit(move_codes)
    for _ in range(600):
        counts, sums, unused, hits = move(state, encoded, codes, jax.random.key(2))
        state = state._replace(counts=counts, sums=sums)  # of one step as far as disuse goes
    np.testing.assert_array_equal(hits[np.array([2, 3, 7, 9])], [0, 3, 2, 1])
    np.testing.assert_array_equal(unused[np.array([2, 3, 7, 9])], [1, 0, 0, 0])
    np.testing.assert_allclose(sums[3] / counts[3], encoded[:3].mean(0), atol=0.02)
    np.testing.assert_allclose(counts[np.array([3, 7, 9])], [3, 2, 1], atol=0.02)
