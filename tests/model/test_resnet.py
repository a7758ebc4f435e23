"""Tests of the ResNet-50 trunk against NumPy float64 with torchvision's names of weights, and of bad files."""

import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save, save_file

from gato_jax.checkpoints.torchvision_weights import WeightsError, load_resnet50, torchvision_name
from gato_jax.model import cast_params, is_frozen, param_path, published_config
from gato_jax.model.resnet import FEATURES, Bottleneck, FrozenBatchNorm, ResNet50Trunk

WIDTH = 24
FROZEN = published_config("79m", width=WIDTH, image_trunk="resnet_50", freeze_image_trunk=True)
TRAINED = published_config("79m", width=WIDTH, image_trunk="resnet_50")
BLOCKS = {
    "layer1": (64, 3),
    "layer2": (128, 4),
    "layer3": (256, 6),
    "layer4": (512, 3),
}  # {stage: (channels, number of blocks)}
STATISTICS = ("mean", "variance")


def norm_shapes(name, channels):
    return {f"{name}.{array}": (channels,) for array in ("weight", "bias", "running_mean", "running_var")}


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    shapes, inputs = {"conv1.weight": (64, 3, 7, 7), **norm_shapes("bn1", 64)}, 64
    for layer, (channels, blocks) in BLOCKS.items():
        for name in (f"{layer}.{number}" for number in range(blocks)):
            convs = [(channels, inputs, 1, 1), (channels, channels, 3, 3), (4 * channels, channels, 1, 1)]
            for number, shape in enumerate(convs, start=1):
                shapes |= {f"{name}.conv{number}.weight": shape, **norm_shapes(f"{name}.bn{number}", shape[0])}
            if inputs != 4 * channels:
                shapes[f"{name}.downsample.0.weight"] = (4 * channels, inputs, 1, 1)
                shapes |= norm_shapes(f"{name}.downsample.1", 4 * channels)
            inputs = 4 * channels
    return shapes


def drawn(rng, name, shape):
    if len(shape) == 4:
        return rng.standard_normal(shape, np.float32) * np.float32(np.prod(shape[1:]) ** -0.5)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 2, shape).astype(np.float32)
    return rng.normal(float(name.endswith("weight")), 0.3, shape).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return {name: drawn(rng, name, shape) for name, shape in torchvision_shapes().items()}


@pytest.fixture(scope="module")
def loaded(weights, tmp_path_factory):
    """Return params read from a file that also has tensors that are not used, as torchvision's has."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    more = {"fc.weight": np.zeros((1000, 2048), np.float16), "bn1.num_batches_tracked": np.array(7)}
    save_file({**weights, **more}, path)
    params = load_resnet50(path)
    path.unlink()
    return params


@pytest.fixture(scope="module")
def shapes():
    return nnx.split(nnx.eval_shape(lambda: ResNet50Trunk(FROZEN, nnx.Rngs(0))))


@pytest.fixture(scope="module")
def params(shapes, loaded):
    rng = np.random.default_rng(1)
    out = rng.standard_normal((FEATURES, WIDTH), np.float32) * np.float32(FEATURES**-0.5)
    state = jax.tree.map(lambda leaf: leaf, shapes[1])
    bias = rng.standard_normal(WIDTH, np.float32)
    nnx.replace_by_pure_dict(state, {"resnet": loaded, "out": out, "out_bias": bias})
    return state


@pytest.fixture(scope="module")
def run(shapes):
    """Return `run(params, patches)`, which computes vectors and the gradients of their sum."""

    def loss(params, patches):
        vectors = nnx.merge(shapes[0], params)(patches)
        return vectors.sum(), vectors

    return jax.jit(jax.grad(loss, has_aux=True))


def conv(weights, name, x, stride=1):
    kernel = weights[f"{name}.weight"].astype(float)
    side = kernel.shape[-1]
    x = np.pad(x, [(0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), (1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, kernel, ((3, 4, 5), (1, 2, 3)))


def norm(weights, name, x):
    scale, bias, mean, variance = (weights[array].astype(float) for array in norm_shapes(name, 0))
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def relu(x):
    return np.maximum(x, 0)


def stem(weights, pixels):
    x = relu(norm(weights, "bn1", conv(weights, "conv1", pixels, 2)))
    x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((-2, -1))


def bottleneck(weights, name, x, stride):
    y = relu(norm(weights, f"{name}.bn1", conv(weights, f"{name}.conv1", x)))
    y = relu(norm(weights, f"{name}.bn2", conv(weights, f"{name}.conv2", y, stride)))
    y = norm(weights, f"{name}.bn3", conv(weights, f"{name}.conv3", y))
    if f"{name}.downsample.0.weight" in weights:
        x = norm(weights, f"{name}.downsample.1", conv(weights, f"{name}.downsample.0", x, stride))
    return relu(x + y)


def features(weights, patches):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return features_of_pixels(weights, (patches / 255 - mean) / std)


def features_of_pixels(weights, pixels):
    x = stem(weights, pixels)
    for layer, (_, blocks) in BLOCKS.items():
        for number in range(blocks):
            x = bottleneck(weights, f"{layer}.{number}", x, 2 if number == 0 and layer != "layer1" else 1)
    return x.mean((1, 2))


def made_patches(side, count=2):
    return np.random.default_rng(side).integers(256, size=(count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def features_of_16(weights):
    """Return the features of 16x16 patches, whose last feature map is a single point."""
    return features(weights, made_patches(16))


def relative_error(found, expected):
    return np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)


def test_the_params_are_those_of_torchvision_without_its_classifier(shapes):
    counts = {"trained": 0, "statistics": 0}
    leaves = jax.tree_util.tree_leaves_with_path(shapes[1]["resnet"])
    for path, leaf in leaves:
        counts["statistics" if param_path(path).endswith(STATISTICS) else "trained"] += leaf.size
    assert counts == {"trained": 25_557_032 - 2_049_000, "statistics": 53_120}
    assert {torchvision_name(param_path(path)) for path, _ in leaves} == torchvision_shapes().keys()


def test_the_stem(shapes, params, weights):
    pixels = np.random.default_rng(2).standard_normal((2, 9, 9, 3), np.float32)
    found = jax.jit(nnx.merge(shapes[0], params).resnet.first_features)(pixels)
    expected = stem(weights, pixels.astype(float))
    assert found.shape == (2, 3, 3, 64)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def small_block():
    """Return a Bottleneck that projects its shortcut, and its weights under torchvision's names."""
    rng = np.random.default_rng(3)
    graph, state = nnx.split(nnx.eval_shape(lambda: Bottleneck(12, 4, 2, nnx.Rngs(0))))
    weights = {}

    def draw(path, leaf):
        name = torchvision_name(f"stages.0.0.{param_path(path)}")
        weights[name] = drawn(rng, name, leaf.shape if leaf.ndim == 1 else tuple(np.array(leaf.shape)[[3, 2, 0, 1]]))
        return jnp.asarray(weights[name] if leaf.ndim == 1 else weights[name].transpose(2, 3, 1, 0))

    return graph, jax.tree_util.tree_map_with_path(draw, state), weights


def test_a_bottleneck(small_block):
    graph, state, weights = small_block
    x = np.random.default_rng(4).standard_normal((2, 5, 5, 12), np.float32)
    found = jax.jit(nnx.merge(graph, state))(x)
    assert found.shape == (2, 3, 3, 16)
    np.testing.assert_allclose(found, bottleneck(weights, "layer1.0", x.astype(float), 2), rtol=1e-4, atol=1e-4)


def test_statistics_get_no_gradient_and_all_else_does(small_block):
    graph, state, _ = small_block
    x = jnp.asarray(np.random.default_rng(4).standard_normal((2, 5, 5, 12), np.float32))
    gradients = jax.jit(jax.grad(lambda state: (nnx.merge(graph, state)(x) ** 2).sum()))(state)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert bool(np.asarray(gradient).any()) != param_path(path).endswith(STATISTICS), param_path(path)


def test_the_whole_trunk_with_weights_from_a_file(run, params, features_of_16):
    _, found = run(params, made_patches(16))
    expected = features_of_16 @ np.asarray(params["out"][...], float)
    assert relative_error(found - params["out_bias"][...][None], expected) < 1e-4


def test_the_features_of_larger_patches(shapes, params, weights):
    pixels = np.random.default_rng(5).standard_normal((1, 38, 38, 3), np.float32)  # maps of odd sides, the last 2x2
    found = jax.jit(nnx.merge(shapes[0], params).resnet)(pixels)
    assert relative_error(found, features_of_pixels(weights, pixels.astype(float))) < 1e-4


def test_a_frozen_trunk_trains_its_projection_alone(run, params, features_of_16):
    gradients, _ = run(params, made_patches(16))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        frozen = is_frozen(f"embedding.patch.{param_path(path)}")
        assert bool(np.asarray(gradient).any()) != frozen, param_path(path)
    np.testing.assert_array_equal(gradients["out_bias"][...], 2)
    np.testing.assert_allclose(gradients["out"][..., 0], features_of_16.sum(0), 1e-3, 1e-3)


def test_a_frozen_trunk_goes_back_through_no_convolution(shapes):
    def convolutions(config):
        def loss(params):
            return nnx.merge(graph, params)(jnp.zeros((1, 16, 16, 3), jnp.uint8)).sum()

        graph = nnx.split(nnx.eval_shape(lambda: ResNet50Trunk(config, nnx.Rngs(0))))[0]
        return str(jax.make_jaxpr(jax.grad(loss))(shapes[1])).count("conv_general_dilated[")

    forward = sum(name.endswith("weight") and len(shape) == 4 for name, shape in torchvision_shapes().items())
    assert convolutions(FROZEN) == forward == 53
    assert convolutions(TRAINED) == 3 * forward  # one for each kernel and each input; compilers drop that of the pixels


def test_in_bfloat16_norms_stay_float32(shapes, params):
    cast = cast_params(params, "bfloat16")
    for path, leaf in jax.tree_util.tree_leaves_with_path(cast):
        assert leaf.dtype == (jnp.float32 if "norm" in param_path(path) else jnp.bfloat16), param_path(path)
    found = jax.eval_shape(lambda params, x: nnx.merge(shapes[0], params)(x), cast, made_patches(16))
    assert (found.shape, found.dtype) == ((2, WIDTH), jnp.bfloat16)


def test_a_norm_computes_in_float32_whatever_flows_through_it():
    norm = FrozenBatchNorm(1)
    norm.mean[...], norm.variance[...] = jnp.float32([100.1]), jnp.float32([1e-4])
    found = norm(jnp.full((1, 1, 1, 1), 100, jnp.bfloat16))  # in bfloat16 the mean, too, would be 100
    assert found.dtype == jnp.bfloat16
    assert float(found[0, 0, 0, 0]) == pytest.approx(-0.1 / np.sqrt(1.1e-4), rel=2**-8)


@pytest.fixture
def refusal(tmp_path):
    """Return `refusal(content)`: the message about a file of those tensors or bytes, without its path."""
    path = tmp_path / "weights.safetensors"

    def refuse(content: dict | bytes) -> str:
        path.write_bytes(save(content) if isinstance(content, dict) else content)
        with pytest.raises(WeightsError) as caught:
            load_resnet50(path)
        path.unlink()
        message = str(caught.value)
        assert message.startswith(str(path))
        return message.removeprefix(str(path))

    return refuse


@pytest.fixture(scope="module")
def zeros():
    return {name: np.zeros(shape, np.float16) for name, shape in torchvision_shapes().items()}


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_weights_in_16_bits_become_float32(tmp_path, zeros, dtype):
    path = tmp_path / "weights.safetensors"
    save_file(
        {**{name: tensor.astype(dtype) for name, tensor in zeros.items()}, "bn1.bias": np.full(64, 0.3, dtype)}, path
    )
    params = load_resnet50(path)
    path.unlink()
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(params["stem_norm"]["bias"], np.float32(dtype(0.3)))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*none.safetensors; name a safetensors file"):
        load_resnet50(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html> not found", save({"a": np.zeros(9)})[:-1]])
def test_a_file_of_another_format_or_broken_off(refusal, content):
    message = refusal(content)
    assert message.startswith(" is no whole safetensors file (") and message.endswith("; copy or convert it again")


class Trap:
    """Object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize("head", [b"", b"PK\x03\x04"])
def test_a_pickle_is_never_loaded_but_refused_with_a_recipe(refusal, tmp_path, head):
    message, *recipe = refusal(head + pickle.dumps(Trap(tmp_path / "sprung"))).splitlines()
    assert message.startswith(" is a pickle") and not (tmp_path / "sprung").exists()
    assert recipe[0] == "import torch, safetensors.torch" and len(recipe) == 2
    assert "torch.load(" in recipe[1] and "weights_only=True" in recipe[1] and "weights.safetensors" in recipe[1]
    compile("\n".join(recipe), "recipe", "exec")


def test_a_missing_tensor(refusal, zeros):
    name = "layer3.5.bn2.running_var"
    message = refusal({other: tensor for other, tensor in zeros.items() if other != name})
    assert message.startswith(f" lacks tensor {name}, one of 1, so it is not torchvision's resnet50; save ")


def test_a_deeper_network(refusal, zeros):
    deeper = {**zeros, "layer3.6.conv1.weight": np.zeros((256, 1024, 1, 1), np.float16)}
    assert refusal(deeper).startswith(" also has tensor layer3.6.conv1.weight, one of 1, so it is not torchvision's")


@pytest.mark.parametrize(
    "name, tensor, said",
    [
        (
            "conv1.weight",
            np.zeros((64, 3, 3, 3)),
            "has shape (64, 3, 3, 3), that of torchvision's resnet50 is (64, 3, 7",
        ),
        ("bn1.bias", np.zeros(64, np.int8), "is I8; save it as one of F32, F16, BF16"),
        ("bn1.bias", np.full(64, np.nan, np.float16), "holds numbers that are not finite"),
    ],
)
def test_a_tensor_that_cannot_be_used(refusal, zeros, name, tensor, said):
    assert refusal({**zeros, name: tensor}).startswith(f": tensor {name} {said}")
