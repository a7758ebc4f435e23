import dataclasses

import jax
import jax.numpy as jnp
import pytest

from gato_jax.batching import Budgets
from gato_jax.model import ComputeConfig, count_parameters, initialise, published_config
from gato_jax.planning.flops import flops_per_token, patch_flops, step_flops
from tests.planning.made_plan import MODEL, config


def test_the_convention_is_6n_and_12ldt():
    model = published_config("1.18b")
    parameters = count_parameters(jax.eval_shape(lambda key: initialise(model, key), jax.random.key(0)))
    assert flops_per_token(model, 1024) == 6 * parameters + 12 * 24 * 2048 * 1024
    assert flops_per_token(published_config("1.18b"), 1024) == pytest.approx(7.68e9, rel=1e-3)


def test_a_patch_costs_its_convolutions_and_its_projection():
    """A patch has a 4x4 stem of stride 4 on 3 channels, two 3x3 convolutions of 32 on 4x4 positions, and 512 x 32."""
    assert patch_flops(MODEL) == 2 * (16 * 16 * 3 * 32 + 2 * 16 * 9 * 32 * 32 + 16 * 32 * 32)


def test_a_resnet_is_counted_as_it_is_traced():
    plain, resnet = MODEL, dataclasses.replace(MODEL, image_trunk="resnet_50")
    assert patch_flops(resnet) > 20 * patch_flops(plain)


@pytest.mark.parametrize("remat, again", [("none", 0), ("dots", 0), ("attention", 1), ("full", 2)])
def test_a_step_by_hand(remat, again):
    step = step_flops(config(compute=ComputeConfig(remat=remat)), Budgets(patches=16, targets=32), pools=8)
    tokens, width, heads, hidden, layers, context = 8 * 128, 32, 32, 64, 2, 128
    matrices = 4 * width * heads + width * hidden + hidden // 2 * width  # without that of distances
    assert step.blocks == 6 * tokens * layers * matrices
    # 128 positions are one block: 3 products forward, 6 backward, and 2 that compute the scores again.
    assert step.attention == tokens * layers * (3 + 6 + 2) * 2 * heads * context
    assert step.attention_forward == tokens * layers * 3 * 2 * heads * context
    assert step.patches == 3 * 16 * 8 * patch_flops(MODEL)
    assert step.head == 6 * 32 * 8 * MODEL.tokenization.vocabulary.padded_size * width
    assert step.again == [0, step.blocks // 3, step.blocks // 3 + step.attention_forward][again]
    assert step.total == step.blocks + step.attention + step.patches + step.head + step.again


def test_kernels_skip_blocks_of_later_keys():
    """Of eight blocks of 128 a fused kernel computes 9/16 of the scores; `dense` computes and keeps all of them."""
    rope = dataclasses.replace(MODEL, position="rope")
    budgets = Budgets(patches=16, targets=32)

    def attention(kernel, dtype="bfloat16"):
        run = config(model=rope, context=1024, compute=ComputeConfig(attention=kernel, dtype=dtype))
        return step_flops(run, budgets, 8).attention

    product = 2 * 8 * 1024 * 2 * 32 * 1024  # all scores of two layers
    assert (attention("dense"), attention("cudnn")) == (6 * product, 7 * product * 9 // 16)
    assert attention("blockwise") == 7 * product * 10 // 16


@pytest.mark.parametrize(
    "kernel, position, products, whole",
    [
        ("triton", "rope", 9, 0),
        ("mosaic", "rope", 9, 0),
        ("mosaic", "relative_xl", 15, 0),
        ("triton", "relative_xl", 14, 1),
    ],
)
def test_flash_kernels_compute_scores_in_three_kernels(kernel, position, products, whole):
    """`triton` multiplies the gradients of all scores by distance, `mosaic` those of blocks that it computes."""
    model = dataclasses.replace(MODEL, position=position)
    run = config(model=model, context=1024, compute=ComputeConfig(attention=kernel, dtype="bfloat16"))
    product = 2 * 8 * 1024 * 2 * 32 * 1024
    counted = step_flops(run, Budgets(patches=16, targets=32), 8).attention
    assert counted == pytest.approx(product * (products * 9 / 16 + whole), rel=1e-6)


def test_what_is_counted_is_what_a_compiler_counts():
    """The forward pass of a feed-forward layer costs its two matrices; everything else is far less."""
    rows, width, hidden = 64, 512, 2048
    x, wide, back = (
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows, width), (width, 2 * hidden), (hidden, width))
    )
    lowered = jax.jit(lambda x, w, b: (x @ w)[:, :hidden] @ b).lower(x, wide, back)
    counted = lowered.cost_analysis()["flops"]
    assert counted == pytest.approx(2 * rows * (width * 2 * hidden + hidden * width), rel=0.01)
