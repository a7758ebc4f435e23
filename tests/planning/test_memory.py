import dataclasses
import math

import jax
import pytest

from gato_jax.batching import Budgets
from gato_jax.model import ComputeConfig, published_config
from gato_jax.planning import parse_topology
from gato_jax.planning.collectives import Traffic
from gato_jax.planning.estimation import estimate_step
from gato_jax.planning.memory import estimate_memory, state_shapes
from gato_jax.training import MeshConfig, OptimizerConfig
from gato_jax.training.sharding import make_mesh, param_shardings
from tests.planning.made_plan import config

GIB = 2**30


def places(devices: int, **mesh):
    return make_mesh(MeshConfig(**mesh), parse_topology(f"h100:{devices}").mesh_devices())


def bytes_of(shapes, placement=None):
    where = jax.tree.leaves(placement) if placement is not None else [None] * len(jax.tree.leaves(shapes))
    sizes = [
        leaf.size if place is None else math.prod(place.shard_shape(leaf.shape))
        for leaf, place in zip(jax.tree.leaves(shapes), where, strict=True)
    ]
    return sum(size * leaf.dtype.itemsize for size, leaf in zip(sizes, jax.tree.leaves(shapes), strict=True))


def test_state_is_exact():
    run, budgets = config(), Budgets(16, 32)
    shapes = state_shapes(run.model, run.optimizer, run.steps)
    params = bytes_of(shapes.params)
    whole = estimate_memory(run, places(8), budgets)
    assert whole.state == bytes_of(shapes) == 3 * params + 3 * 4  # two moments, and three counters of steps
    mesh = places(8, fsdp=8)
    assert (
        estimate_memory(run, mesh, budgets).state == bytes_of(shapes, param_shardings(mesh, shapes)) < whole.state / 4
    )
    average = config(optimizer=OptimizerConfig(warmup_steps=10, ema_decay=0.9))
    assert estimate_memory(average, places(8), budgets).state == whole.state + params


@pytest.mark.parametrize(
    "name, batch, context, devices, fsdp, patches, measured",
    [
        ("79m", 8, 1024, 4, 1, 2048, 1.47),
        ("79m", 2048, 128, 4, 1, 512, 4.15),
        ("79m", 4096, 128, 4, 1, 512, 7.11),
        ("364m", 256, 1024, 4, 1, 65536, 13.99),
        ("1.18b", 512, 1024, 512, 16, 1024, 1.52),
        ("1.18b", 512, 1024, 256, 4, 2048, 5.00),
    ],
)
def test_an_estimate_is_near_what_tpu_compilers_have_made(name, batch, context, devices, fsdp, patches, measured):
    """The measured GiB are of bfloat16, scanned, full remat, by the compilers for v4, v5e, v5e, v5e, v3 and v4."""
    compute = ComputeConfig(dtype="bfloat16", remat="full", scan=True)
    run = config(model=published_config(name), batch_size=batch, context=context, compute=compute)
    budgets = Budgets(patches, batch // devices * context)
    estimated = estimate_memory(run, places(devices, fsdp=fsdp), budgets).total / GIB
    assert estimated == pytest.approx(measured, rel=0.2)


def test_remat_and_microbatches_hold_less():
    def kept(**compute):
        run = config(compute=ComputeConfig(dtype="bfloat16", **compute), batch_size=32)
        return estimate_memory(run, places(8), Budgets(16, 32)).activations

    assert kept(remat="none") > kept(remat="dots") > kept(remat="attention") > kept(remat="full")
    assert kept(remat="full") == 2 * kept(remat="full", accumulate=2)
    assert kept(attention="dense") > kept(attention="blockwise")


def test_traffic_by_hand():
    """Over fsdp, matrices are gathered twice and gradients reduce-scattered; over data, shards are all-reduced."""
    run = config()
    params = state_shapes(run.model, run.optimizer, run.steps).params
    matrices = [leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    held, gradients = 2 * sum(matrices), 4 * sum(matrices)
    kinds = estimate_step(run, places(8, fsdp=4), Budgets(16, 32), GIB).collectives.kinds
    assert kinds == {
        "all-gather": Traffic(2 * len(matrices), 2 * held * 3 // 4),
        "reduce-scatter": Traffic(len(matrices), gradients * 3 // 4),
        "all-reduce": Traffic(len(matrices), 2 * (gradients // 4) // 2),
    }
    run = config(batch_size=16, compute=dataclasses.replace(run.compute, accumulate=2))
    twice = estimate_step(run, places(8), Budgets(16, 32), GIB).collectives.kinds
    assert twice == {"all-reduce": Traffic(2 * len(matrices), 2 * (2 * gradients * 7 // 8))}


def test_over_tensor_what_is_made_is_added_up():
    run = config()
    kinds = estimate_step(run, places(2, tensor=2), Budgets(16, 32), GIB).collectives.kinds
    made = 8 * 128 * 32 * 2  # rows, positions, width, bytes
    assert kinds == {"all-reduce": Traffic(4 * 2, 4 * 2 * 2 * made // 2)}
