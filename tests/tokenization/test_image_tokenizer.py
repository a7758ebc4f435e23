"""Tests of the image tokenizer: codes do not depend on the batch, and damaged files are refused by name."""

import dataclasses
import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.tokenization.image_tokenizer import ImageTokenizer, resize_to_square
from gato_jax.tokenization.vqvae import (
    VQVAE,
    ImageTokenizerConfig,
    ImageTokenizerError,
    graphdef,
    initialise,
    to_pixels,
)

TINY = ImageTokenizerConfig(side=16, grid=4, codes=32, code_size=8, channels=8, blocks=1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def made(seed):
    return ImageTokenizer(TINY, jax.jit(functools.partial(initialise, TINY))(jax.random.key(seed)))


@pytest.fixture(scope="module")
def tokenizer():
    return made(0)


@pytest.mark.parametrize("size", [(16, 16), (8, 8), (64, 48), (20, 7)])
@pytest.mark.parametrize("lead", [(), (1,), (2, 5), (0,)])
def test_any_image_becomes_a_grid_of_codes_and_an_image_of_the_side(tokenizer, lead, size):
    codes = tokenizer.encode(noise(*lead, *size, 3))
    assert codes.shape == (*lead, 16) and codes.dtype == np.int32
    assert ((codes >= 0) & (codes < TINY.codes)).all()
    images = tokenizer.decode(codes)
    assert images.shape == (*lead, 16, 16, 3) and images.dtype == np.uint8


def test_an_image_has_the_same_codes_whatever_is_encoded_with_it(tokenizer):
    images = noise(19, 16, 16, 3)
    together = tokenizer.encode(images)
    assert len(np.unique(together)) > 4
    np.testing.assert_array_equal(together, np.stack([tokenizer.encode(image) for image in images]))
    np.testing.assert_array_equal(together[::-1], tokenizer.encode(images[::-1]))
    np.testing.assert_array_equal(tokenizer.decode(together)[3], tokenizer.decode(together[3]))


def test_a_code_stands_for_its_place_in_the_image(tokenizer):
    images = noise(2, 16, 16, 3)
    codes = tokenizer.encode(images)
    changed = codes.copy()
    changed[:, 0] = (changed[:, 0] + 1) % TINY.codes  # top left
    differs = (tokenizer.decode(codes) != tokenizer.decode(changed)).any((0, 3))
    rows, columns = np.nonzero(differs)
    assert 0 in rows and 0 in columns


@pytest.mark.parametrize(("side", "grid", "strides"), [(64, 8, [4, 2]), (16, 4, [4]), (8, 4, [2]), (4, 4, [1])])
def test_strides_lead_from_the_side_to_the_grid(side, grid, strides):
    config = dataclasses.replace(TINY, side=side, grid=grid)
    assert config.strides == strides
    pixels = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    found = jax.eval_shape(lambda pixels: VQVAE(config, nnx.Rngs(0))(pixels), pixels)
    assert found.pixels.shape == pixels.shape and found.codes.shape == (2 * grid * grid,)


def test_the_nearest_code_is_chosen_by_l2(tokenizer):
    model = nnx.merge(graphdef(TINY), tokenizer.params)
    encoded = jax.random.normal(jax.random.key(2), (50, TINY.code_size))
    vectors = np.asarray(model.quantizer.vectors[...])
    expected = np.linalg.norm(np.asarray(encoded)[:, None] - vectors[None], axis=-1).argmin(-1)
    np.testing.assert_array_equal(model.quantizer.nearest(encoded), expected)


def test_the_reconstructions_gradient_reaches_the_encoder_and_not_the_code_table(tokenizer):
    graph = graphdef(TINY)
    pixels = to_pixels(jnp.asarray(noise(3, 16, 16, 3)))
    gradient = jax.jit(jax.grad(lambda params: jnp.mean((nnx.merge(graph, params)(pixels).pixels - pixels) ** 2)))
    pure = nnx.to_pure_dict(gradient(tokenizer.params))
    stem = pure["encoder"]["layers"][0]["conv"]["kernel"]
    assert float(jnp.abs(stem).max()) > 1e-6
    assert float(jnp.abs(pure["quantizer"]["vectors"]).max()) == 0


def test_images_shrink_by_the_mean_over_an_area():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, :2, :2] = [[[40, 0, 0], [80, 0, 0]], [[0, 0, 0], [120, 0, 8]]]
    np.testing.assert_array_equal(resize_to_square(image, 2)[0, 0, 0], [60, 0, 2])


def test_what_is_saved_is_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = ImageTokenizer.load(tmp_path / "new" / "folder")
    assert loaded.config == TINY and loaded.fingerprint == tokenizer.fingerprint
    images = noise(3, 16, 16, 3)
    np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "image_tokenizer.json",
        "image_tokenizer.npz",
    ]


def test_the_fingerprint_is_that_of_config_and_weights(tokenizer):
    assert len(tokenizer.fingerprint) == 16 and int(tokenizer.fingerprint, 16)
    assert made(0).fingerprint == tokenizer.fingerprint
    other = dataclasses.replace(TINY, commitment=0.5)
    assert ImageTokenizer(other, tokenizer.params).fingerprint != tokenizer.fingerprint
    leaves, structure = jax.tree.flatten(tokenizer.params)
    for place in (0, len(leaves) - 1):
        changed = [leaf.at[(0,) * leaf.ndim].add(1e-3) if n == place else leaf for n, leaf in enumerate(leaves)]
        assert ImageTokenizer(TINY, jax.tree.unflatten(structure, changed)).fingerprint != tokenizer.fingerprint


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def other_weights(path):
    made(9).save(path.parent / "other")
    (path.parent / "other" / path.name).replace(path)


def other_config(path):
    about = json.loads(path.read_text())
    about["config"]["codes"] = 64
    path.write_text(json.dumps(about))


def unknown_key(path):
    about = json.loads(path.read_text())
    about["config"]["colour"] = 64
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("image_tokenizer.npz", lambda path: path.unlink(), "no image_tokenizer.npz in"),
        ("image_tokenizer.json", lambda path: path.unlink(), "no image_tokenizer.json in"),
        ("image_tokenizer.npz", cut, "damaged"),
        ("image_tokenizer.npz", flip, "damaged"),
        ("image_tokenizer.json", cut, "damaged"),
        ("image_tokenizer.json", unknown_key, "damaged"),
        ("image_tokenizer.npz", other_weights, "has fingerprint"),
        ("image_tokenizer.json", other_config, "other arrays"),
    ],
)
def test_files_that_are_missing_damaged_or_do_not_match_are_refused(tokenizer, tmp_path, name, damage, said):
    tokenizer.save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(ImageTokenizerError, match=said) as raised:
        ImageTokenizer.load(tmp_path)
    assert str(tmp_path) in str(raised.value) and "train an image tokenizer" in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"side": 60}, "side is 60, expected grid .8. times a power of two. Take 32, 64"),
        ({"grid": 9}, "power of two"),
        ({"side": 4}, "power of two"),
        ({"codes": 0}, "codes is 0, expected a positive whole number"),
        ({"channels": 20}, "channels is 20, expected a positive multiple of 8"),
        ({"commitment": -1.0}, "commitment is .*, expected a number, 0 or more"),
        ({"commitment": float("nan")}, "commitment is .*, expected a number, 0 or more"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields, said):
    with pytest.raises(ImageTokenizerError, match=said):
        ImageTokenizerConfig(**fields)


def test_codes_and_images_that_cannot_be_are_refused(tokenizer):
    with pytest.raises(ImageTokenizerError, match=r"image code 32 is outside \[0, 32\)"):
        tokenizer.decode(np.full(16, 32, np.int32))
    with pytest.raises(ImageTokenizerError, match=r"shape \(..., 16\), got int32 of \(15,\)"):
        tokenizer.decode(np.zeros(15, np.int32))
    with pytest.raises(ImageTokenizerError, match="codes must be integers.* got float32"):
        tokenizer.decode(np.zeros(16, np.float32))
    with pytest.raises(ImageTokenizerError, match="must be uint8.* got float32"):
        tokenizer.encode(np.zeros((16, 16, 3), np.float32))
    with pytest.raises(ImageTokenizerError, match=r"got uint8 of \(16, 16, 1\)"):
        tokenizer.encode(np.zeros((16, 16, 1), np.uint8))
    with pytest.raises(ImageTokenizerError, match="0 by 5 pixels is empty"):
        tokenizer.encode(np.zeros((2, 0, 5, 3), np.uint8))


def test_the_package_does_not_import_it():
    code = "import sys, gato_jax.tokenization; assert 'gato_jax.tokenization.image_tokenizer' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
