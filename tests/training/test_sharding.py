"""Where params and rows lie on a mesh, and which meshes are refused."""

import jax
import numpy as np
import pytest

from gato_jax.model import param_axes, stack_blocks
from gato_jax.training import ConfigError, MeshConfig
from gato_jax.training.sharding import local_pools, make_mesh, param_shardings, place_ahead, place_batch, row_groups
from tests.model.made_model import TINY, alive, made_batch


@pytest.mark.parametrize(
    "name, axes, share",
    [
        ("embedding.tokens", ("tensor", "fsdp"), 4),
        ("blocks.0.attention.query", ("fsdp", "tensor", None), 4),
        ("blocks.1.attention.out", ("tensor", None, "fsdp"), 4),
        ("blocks.0.feed_forward.hidden", ("fsdp", None, "tensor"), 4),
        ("blocks.0.feed_forward.out", ("tensor", "fsdp"), 4),
        ("blocks.0.attention.content_bias", ("tensor", None), 2),
        ("blocks.0.attention_norm.scale", (None,), 1),
    ],
)
def test_params_are_spread_by_the_table(name, axes, share):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    placed = jax.device_put(alive(TINY), param_shardings(mesh, alive(TINY)))
    leaves = {
        ".".join(str(k.key) for k in path if hasattr(k, "key")): x for path, x in jax.tree.leaves_with_path(placed)
    }
    leaf = leaves[name]
    assert tuple(leaf.sharding.spec) == axes
    assert leaf.size == share * leaf.addressable_shards[0].data.size


def test_every_large_param_is_spread():
    mesh = make_mesh(MeshConfig(data=1, fsdp=8))
    for path, placement in jax.tree.leaves_with_path(param_shardings(mesh, alive(TINY))):
        leaf = jax.tree_util.keystr(path)
        small = any(word in leaf for word in ("bias", "norm", "stem", "conv_"))
        assert placement.is_fully_replicated == small, leaf


def test_stacked_params_are_spread_as_those_of_each_block():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    stacked = param_shardings(mesh, stack_blocks(alive(TINY)))
    placement = param_shardings(mesh, alive(TINY))
    for one, two in zip(jax.tree.leaves(stacked["blocks"]), jax.tree.leaves(placement["blocks"][0]), strict=True):
        assert tuple(one.spec) == (None, *two.spec)


def test_moments_lie_with_their_params():
    assert param_axes("0.mu.blocks.3.attention.query", 3) == param_axes("blocks.3.attention.query", 3)


def test_rows_and_pools_are_spread_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    placed = place_batch(mesh, made_batch(rows=8, pools=4))
    assert placed.token_ids.addressable_shards[0].data.shape == (2, 20)
    assert placed.patches.addressable_shards[0].data.shape == (1, 6, 16, 16, 3)
    assert row_groups(mesh) == 4 and local_pools(mesh, 2) == list(range(8))


@pytest.mark.parametrize(
    "mesh, said",
    [
        ({"data": 3}, "expected a product of 8, the devices"),
        ({"fsdp": -1}, "expected at most one -1"),
        ({"data": 0}, "mesh.data is 0, expected -1 or a positive whole number"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(mesh, said):
    with pytest.raises(ConfigError, match=said):
        make_mesh(MeshConfig(**mesh))


def test_a_param_that_does_not_divide_is_named():
    with pytest.raises(ConfigError, match=r"content_bias \(2, 8\) does not divide by mesh.tensor=8; set another"):
        param_shardings(make_mesh(MeshConfig(data=1, tensor=8)), alive(TINY))


def test_batches_are_place_ahead_in_their_order_and_all_of_them():
    mesh, taken = make_mesh(MeshConfig()), []

    def batches():
        for number in range(5):
            taken.append(number)
            yield made_batch(rows=8, pools=row_groups(mesh)).replace(row_ids=np.full(8, number, np.int32))

    placed = place_ahead(mesh, batches())
    assert next(placed).row_ids.tolist() == [0] * 8 and taken == [0, 1, 2]
    assert [int(batch.row_ids[0]) for batch in placed] == [1, 2, 3, 4]
