"""Tests of counts and bytes of collectives that are known by hand, on eight devices."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gato_jax.planning import parse_topology
from gato_jax.planning.collectives import Traffic, collectives
from gato_jax.planning.hlo import HloError, parse

DEVICES = 8
KIB = 2**10


@pytest.fixture(scope="module")
def mesh():
    return Mesh(jax.devices()[:DEVICES], "x", axis_types=(AxisType.Auto,))


def found(mesh, function, *shapes):
    """Return the collectives of a function of arrays that are sharded over their first axis."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, P("x"))) for shape in shapes]
    mapped = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=P("x"), out_specs=P("x"), check_vma=False))
    return collectives(mapped.lower(*arguments).compile().as_text())


HELD = 4 * KIB  # bytes of a device's 8 x 128 float32
SHAPE = (DEVICES * 8, 128)


@pytest.mark.parametrize(
    "kind, function, sent",
    [
        ("all-reduce", lambda x: jax.lax.psum(x, "x"), 2 * HELD * 7 // 8),
        ("all-gather", lambda x: jax.lax.all_gather(x, "x", tiled=True), 7 * HELD),
        ("reduce-scatter", lambda x: jax.lax.psum_scatter(x, "x", tiled=True), HELD * 7 // 8),
        ("all-to-all", lambda x: jax.lax.all_to_all(x, "x", 0, 0, tiled=True), HELD * 7 // 8),
        ("collective-permute", lambda x: jax.lax.ppermute(x, "x", [(i, (i + 1) % 8) for i in range(8)]), HELD),
    ],
)
def test_each_kind(mesh, kind, function, sent):
    assert found(mesh, function, SHAPE).kinds == {kind: Traffic(1, sent)}


def test_nothing_said_is_nothing_found(mesh):
    assert found(mesh, lambda x: jnp.tanh(x) @ x.T, SHAPE).kinds == {}


def test_groups_are_those_that_talk(mesh):
    pairs = [[n, n + 1] for n in range(0, DEVICES, 2)]
    summed = found(mesh, lambda x: jax.lax.psum(x, "x", axis_index_groups=pairs), SHAPE)
    assert summed.kinds == {"all-reduce": Traffic(1, 2 * HELD // 2)}
    alone = found(mesh, lambda x: jax.lax.psum(x, "x", axis_index_groups=[[n] for n in range(DEVICES)]), SHAPE)
    assert alone.kinds == {}


def rounds(length: int, inner):
    def repeated(x):
        return jax.lax.scan(lambda carry, _: (inner(carry), None), x, None, length=length)[0]

    return repeated


def add_up(x):
    return jnp.tanh(jax.lax.psum(x, "x"))


def test_a_loop_counts_as_often_as_it_runs(mesh):
    assert found(mesh, rounds(5, add_up), SHAPE).kinds == {"all-reduce": Traffic(5, 5 * 2 * HELD * 7 // 8)}


def test_loops_in_loops(mesh):
    nested = rounds(3, lambda x: jnp.sin(rounds(5, add_up)(jax.lax.ppermute(x, "x", [(0, 1)]))))
    assert found(mesh, nested, SHAPE).kinds == {
        "all-reduce": Traffic(15, 15 * 2 * HELD * 7 // 8),
        "collective-permute": Traffic(3, 3 * HELD),
    }


def test_of_branches_the_larger_counts(mesh):
    def either(x):
        gathered = lambda x: jax.lax.all_gather(x, "x", tiled=True).sum() + x  # noqa: E731
        return jax.lax.cond(jax.lax.psum(x.sum(), "x") > 0, gathered, add_up, x)

    kinds = found(mesh, either, SHAPE).kinds
    assert kinds["all-gather"] == Traffic(1, 7 * HELD)
    assert kinds["all-reduce"] == Traffic(1, 2 * 4 * 7 // 8)  # that of the condition, one number


def test_a_loop_that_only_running_it_ends_is_said(mesh):
    def until_small(x):
        return jax.lax.while_loop(lambda x: jax.lax.pmax(x.max(), "x") > 1, lambda x: add_up(x) / 16, x)

    traffic = found(mesh, until_small, SHAPE)
    assert traffic.unbounded_loops == 1 and traffic.kinds["all-reduce"].count >= 1


@functools.cache
def tpu_text(topology: str) -> str:
    """Return the program of six layers whose params and gradients are sharded over four devices."""
    devices = parse_topology(topology).mesh_devices()
    mesh = Mesh(devices, "fsdp", axis_types=(AxisType.Auto,))
    pieces = NamedSharding(mesh, P(None, "fsdp"))
    weights = jax.ShapeDtypeStruct((6, 1024, 1024), jnp.bfloat16, sharding=pieces)
    rows = jax.ShapeDtypeStruct((4096, 1024), jnp.bfloat16, sharding=NamedSharding(mesh, P("fsdp")))

    def loss(weights, x):
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)
        return (x.astype(jnp.float32) ** 2).sum()

    return jax.jit(jax.grad(loss), out_shardings=pieces).lower(weights, rows).compile().as_text()


@pytest.mark.parametrize(
    "topology",
    [pytest.param("v4:2x2x1", marks=pytest.mark.slow), "v5e:2x2", pytest.param("v6e:2x2", marks=pytest.mark.slow)],
)
def test_of_a_tpus_program(topology):
    """Each layer's 2 MiB are gathered in both passes, its gradients are reduce-scattered, and no activation is sent."""
    kinds = collectives(tpu_text(topology)).kinds
    piece = 1024 * 1024 * 2 // 4
    assert kinds["all-gather"] == Traffic(12, 12 * 3 * piece)
    assert kinds["reduce-scatter"] == Traffic(6, 6 * 3 * piece)
    assert set(kinds) == {"all-gather", "reduce-scatter"}


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(HloError, match="has no entry computation: HloModule nothing"):
        parse("HloModule nothing\n")
