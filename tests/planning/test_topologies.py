import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gato_jax.planning import CHIPS, TopologyError, parse_topology
from gato_jax.planning.compilation import out_of_memory


@pytest.mark.parametrize(
    "name, devices, hosts",
    [
        ("v3:16x16", 512, 64),
        ("v3:2x2", 8, 1),
        ("v4:8x8x4", 256, 64),
        ("v5e:16x16", 256, 64),
        ("v5e:1x1", 1, 1),
        ("v5p:4x4x4", 64, 16),
        ("v6e:8x8", 64, 16),
    ],
)
def test_tpus_are_as_libtpu_describes_them(name, devices, hosts):
    topology = parse_topology(name)
    described = topology.mesh_devices()
    assert len(described) == topology.devices == devices
    assert len({device.process_index for device in described}) == topology.hosts == hosts
    assert {(device.platform, device.device_kind) for device in described} == {("tpu", topology.chip.kind)}


@pytest.mark.parametrize("name", ["v3:2x2", "v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_limits_are_the_compilers(name):
    """The compiler reports the limit when a program needs more memory than any chip has."""
    topology = parse_topology(name)
    mesh = Mesh(topology.mesh_devices(), "all")
    rows = topology.devices * 120 * 2**10
    large = jax.ShapeDtypeStruct((rows, 2**20), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("all")))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as refused:
        jax.jit(lambda x: jnp.sort(x, axis=1) + x).lower(large).compile()
    said = out_of_memory(str(refused.value))
    assert said is not None
    needed, limit = said
    assert limit == topology.chip.hbm_limit < topology.chip.hbm < needed


def test_gpus_that_are_not_here_have_places_only():
    topology = parse_topology("h100:16")
    assert topology.devices == 16 and topology.hosts == 2
    places = topology.mesh_devices()
    assert [place.process_index for place in places] == [0] * 8 + [1] * 8
    assert {place.device_kind for place in places} == {CHIPS["h100"].kind}


@pytest.mark.parametrize(
    "name, said",
    [
        ("v7:2x2", "unknown chip 'v7'; there are v3, v4, v5e, v5p, v6e, a100, h100, h200, b200"),
        ("h10:8", "unknown chip 'h10'; did you mean 'h100'?"),
        ("v5e", "'' is not a number of chips; write it as in v5e:16x16"),
        ("v5e:0x4", "'0x4' is not a number of chips"),
        ("v4:2x2", "v4 has 3 sides, not 2; write v4:8x8x4"),
        ("h100:2x4", "h100 has 1 sides, not 2; write h100:8"),
        ("v5e:32x32", "1024 chips, a pod of v5e has 256; name a smaller slice"),
        ("v5e:3x3", 'Topology layout "v5e:3x3" is not divisible'),
    ],
)
def test_names_that_are_none_say_what_there_is(name, said):
    with pytest.raises(TopologyError, match="--topology=") as refused:
        parse_topology(name).mesh_devices()
    assert said in str(refused.value)
