"""Gradients of a step in bfloat16: sums of thousands of terms against float64, and the sums of its programs."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from gato_jax.batching import Batch, Budgets
from gato_jax.batching.batch import HOST_ONLY
from gato_jax.model import ComputeConfig, graphdef, param_path
from gato_jax.planning import parse_topology
from gato_jax.planning.compilation import compile_step
from gato_jax.planning.hlo import parse
from gato_jax.training import MeshConfig
from gato_jax.training.program import make_program
from gato_jax.training.sharding import AXES, make_mesh
from gato_jax.training.step import TrainState, make_train_step
from tests.model import reference
from tests.model.made_model import SMALL_VOCABULARY, TINY, alive, made_batch
from tests.planning import made_plan
from tests.training import float64_step
from tests.training.test_step import KEEP, KEY, RANDOM, WEIGHTS, made_step, state_of

LENGTH = 32
SEPARATOR = 7


def repeating_batch(repeats: int, seed: int = 0) -> Batch:
    """Return rows of two segments, in which a token, a local position and a place of patches repeat `repeats` times."""
    rng = np.random.default_rng(seed)
    rows = -(-repeats * 10 // (8 * LENGTH))  # eight positions of ten hold the separator, one a patch
    shape = (rows, LENGTH)
    kind = rng.permuted(np.tile(np.arange(LENGTH) * 10 // LENGTH, (rows, 1)), axis=1)
    ids = np.where(kind < 8, SEPARATOR, rng.integers(SMALL_VOCABULARY.size, size=shape)).astype(np.int32)
    slots = np.flatnonzero(kind == 8).astype(np.int32)
    low = np.where(rng.random((len(slots), 2)) < 0.9, 5, rng.integers(100, size=(len(slots), 2))).astype(np.int32)
    targets = np.where(rng.random(shape) < 0.5, 3, rng.integers(SMALL_VOCABULARY.size, size=shape)).astype(np.int32)
    return Batch(
        token_ids=ids,
        target_ids=targets,
        loss_mask=rng.random(shape) < 0.5,
        local_position=np.where(kind < 8, 4, rng.integers(24, size=shape)).astype(np.int32),
        segment_ids=np.broadcast_to(1 + (np.arange(LENGTH) >= 12), shape).astype(np.int32),
        patches=rng.integers(256, size=(1, len(slots), 16, 16, 3), dtype=np.uint8),
        patch_slots=slots[None],
        patch_intervals=np.repeat(low, 2, axis=1)[None],  # nothing to draw
        row_ids=np.arange(rows, dtype=np.int32),
        dataset_ids=(np.arange(rows) % 2).astype(np.int32),
        **HOST_ONLY,
    )


def float64_gradients(config, batch: Batch):
    """Return the loss and its gradient, as nested dicts of float64 arrays."""
    pure = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(alive(config)))
    weights = np.array(WEIGHTS)[batch.dataset_ids]
    vocabulary = config.tokenization.vocabulary.size
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        of_params = jax.jit(jax.value_and_grad(float64_step.loss), static_argnums=(2, 3))
        loss, gradients = of_params(pure, batch, config.patch_stride, vocabulary, weights)
        return float(loss), jax.tree.map(np.asarray, gradients)


def errors(config, batch: Batch, **compute) -> dict[str, float]:
    """Return for each param the distance of the step's gradient from that of float64, as a share of its norm."""
    params = alive(config)
    state = TrainState(params, KEEP.init(params), jnp.zeros((), jnp.int32))
    budget = int(batch.loss_mask.sum())
    step = make_train_step(
        graphdef(config), KEEP, compute=ComputeConfig(**compute), target_budget=budget, loss_weights=WEIGHTS
    )
    after, metrics = jax.jit(step)(state, jax.tree.map(jnp.asarray, batch), KEY)
    loss, expected = float64_gradients(config, batch)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=2e-3)
    found = nnx.to_pure_dict(after.optimizer.trace)
    shares = jax.tree.map(lambda one, two: np.linalg.norm(one - two) / np.linalg.norm(two), found, expected)
    return {param_path(path): float(share) for path, share in jax.tree.leaves_with_path(shares)}


@pytest.mark.parametrize("position", ["relative_xl", "rope"])
def test_the_transcription_is_that_of_the_loops(position):
    config = dataclasses.replace(TINY, position=position)
    batch = jax.tree.map(np.asarray, made_batch())
    low = batch.patch_intervals[..., 0::2]
    batch = batch.replace(patch_intervals=np.repeat(low, 2, axis=-1))
    loss, _ = float64_gradients(config, batch)
    pure = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(alive(config)))
    hidden = reference.gato(pure, batch, config.patch_stride)
    weights = np.array(WEIGHTS)[batch.dataset_ids]
    expected = reference.cross_entropy(pure, hidden, batch, config.tokenization.vocabulary.size, weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


@pytest.mark.slow
def test_gradients_in_bfloat16_keep_small_addends_of_thousands():
    config = dataclasses.replace(TINY, layers=1, patch_channels=64, patch_stride=8)
    batch = repeating_batch(10_000)
    found = errors(config, batch, dtype="bfloat16")
    too_far = {path: round(error, 4) for path, error in found.items() if not error < 0.01}
    assert not too_far


def lowered(platform: str, **compute) -> str:
    """Return the StableHLO of a step for one device that need not be here."""
    kind = AbstractDevice(device_kind="any", num_cores=None, platform="gpu" if platform == "cuda" else platform)
    mesh = AbstractMesh((1, 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, abstract_device=kind)
    step = jax.jit(made_step(RANDOM, dtype="bfloat16", attention="blockwise", **compute))
    with use_abstract_mesh(mesh):
        return step.trace(state_of(RANDOM), made_batch(), KEY).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_no_program_adds_up_in_bfloat16(platform):
    """A scatter in bfloat16 is also what GPUs do slowest: they retry each addition until no other one interferes."""
    text = lowered(platform)
    scatters = re.findall(r'"stablehlo\.scatter"\(.*?\n\s*\}\) :([^\n]*)', text, re.DOTALL)
    sums = re.findall(r"stablehlo\.reduce\(.*applies stablehlo\.add.*", text)
    assert re.search(r"dot_general.*bf16", text) and len(scatters) > 4 and len(sums) > 50
    assert not [line for line in (*scatters, *sums) if "bf16" in line]


@pytest.mark.parametrize("remat, kept", [("full", 1), ("attention", 3), ("dots", 9)])
def test_a_scan_copies_no_params_and_keeps_what_remat_says(remat, kept):
    """A block keeps its input; attention's output and normaliser; and the results of its products with params.

    These are queries, keys, values, keys of distances, hidden units and attention's projection. No gradient needs the
    last product, of hidden units.
    """
    step = made_step(RANDOM, dtype="bfloat16", attention="blockwise", scan=True, remat=remat)
    state = state_of(RANDOM, scan=True)
    jaxpr = jax.make_jaxpr(step)(state, made_batch(), KEY).jaxpr
    forward = next(equation for equation in jaxpr.eqns if equation.primitive.name == "scan")
    assert forward.params["length"] == RANDOM.layers
    stacks = [out.aval for out in forward.outvars[forward.params["num_carry"] :]]
    assert len(stacks) == kept
    of_params = {leaf.shape for leaf in jax.tree.leaves(state.params["blocks"])}
    assert not [stack for stack in stacks if stack.shape in of_params]


@pytest.mark.slow
def test_gradients_are_added_up_over_devices_in_float32():
    run = made_plan.config(mesh=MeshConfig(data=2, fsdp=2), compute=ComputeConfig(dtype="bfloat16"))
    mesh = make_mesh(run.mesh, parse_topology("v5e:2x2").mesh_devices())
    program = make_program(run, mesh, Budgets(patches=16, targets=32), [1.0])
    module = parse(compile_step(program, 2**34).executable.as_text())
    added = [
        computation[operand].shape
        for computation in module.computations.values()
        for instruction in computation.matching(re.compile(r" (all-reduce|reduce-scatter)(-start)?\("))
        for operand in instruction.operands
    ]
    assert len(added) > 50 and not [shape for shape in added if "bf16" in shape]
