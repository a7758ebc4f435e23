"""The accelerators that one can rent, as data, and their arrangement by the field's names: `v3:16x16`, `h100:8`.

Of TPUs, JAX gives the devices without one being there, and its compiler their programs.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from typing import Any, Literal

import jax
from jax.experimental import topologies

GIB = 2**30
GB = 10**9
GPU_MEMORY_FRACTION = 0.95  # XLA_PYTHON_CLIENT_MEM_FRACTION; JAX takes 0.75 unless it is told


class TopologyError(ValueError):
    """A topology that does not exist; the message names what does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Figures of one device as JAX sees it, which of a TPU v3 is half a chip.

    Attributes:
      kind: how JAX calls it.
      flops: bfloat16 peak, dense, FLOP/s.
      hbm: bytes.
      hbm_limit: of these what a program may fill: the rest is the system's.
      bandwidth: of its HBM, bytes/s.
      link: bytes/s that it can send round a ring of its neighbours: both ways along one axis of a TPU's torus, NVLink.
      devices_per_chip, devices_per_host: the latter on the usual machine type of a slice.
      host_memory: bytes of RAM of that machine; None where it differs from one provider to the next.
      largest: chips that are wired up to each other at most; None where it is a matter of the network.
      network: bytes/s between hosts, for each device, where that is another wire than `link`.
    """

    kind: str
    platform: Literal["tpu", "gpu"]
    flops: float
    hbm: int
    hbm_limit: int
    bandwidth: float
    link: float
    devices_per_chip: int = 1
    devices_per_host: int
    host_memory: int | None = None
    largest: int | None = None
    network: float | None = None


def _gib(size: float) -> int:
    return round(size * GIB)


def _gpu(kind: str, *, mib: int, flops: float, bandwidth: float, link: float, network: float) -> Chip:
    """In the usual machine of eight; of its memory JAX may be told to take what GPU_MEMORY_FRACTION says."""
    hbm = mib * 2**20
    return Chip(
        kind=kind, platform="gpu", flops=flops, hbm=hbm, hbm_limit=int(hbm * GPU_MEMORY_FRACTION),
        bandwidth=bandwidth, link=link, network=network, devices_per_host=8,
    )  # fmt: skip


# Peaks, HBM and RAM of TPUs: cloud.google.com/tpu/docs. Links: jax-ml.github.io/scaling-book/tpus; of the v3 "A
# domain-specific supercomputer for training deep neural networks" (CACM 63(7)), 656 Gbit/s, shared by a chip's two
# devices. Limits are what libtpu says when it runs out. GPUs: NVIDIA's data sheets, HBM as nvidia-smi counts it, and a
# network card for each.
CHIPS: dict[str, Chip] = {
    "v3": Chip(
        kind="TPU v3", platform="tpu", flops=61.5e12, hbm=16 * GIB, hbm_limit=_gib(15.48), bandwidth=450e9,
        link=82e9, devices_per_chip=2, devices_per_host=8, host_memory=340 * GB, largest=1024,
    ),
    "v4": Chip(
        kind="TPU v4", platform="tpu", flops=275e12, hbm=32 * GIB, hbm_limit=_gib(30.75), bandwidth=1200e9,
        link=90e9, devices_per_host=4, host_memory=407 * GB, largest=4096,
    ),
    "v5e": Chip(
        kind="TPU v5 lite", platform="tpu", flops=197e12, hbm=16 * GIB, hbm_limit=_gib(15.75), bandwidth=819e9,
        link=90e9, devices_per_host=4, host_memory=192 * GB, largest=256,
    ),
    "v5p": Chip(
        kind="TPU v5", platform="tpu", flops=459e12, hbm=96 * GIB, hbm_limit=_gib(95.74), bandwidth=2765e9,
        link=180e9, devices_per_host=4, host_memory=448 * GB, largest=8960,
    ),
    "v6e": Chip(
        kind="TPU v6 lite", platform="tpu", flops=918e12, hbm=32 * GIB, hbm_limit=_gib(31.25), bandwidth=1638e9,
        link=180e9, devices_per_host=4, host_memory=720 * GB, largest=256,
    ),
    "a100": _gpu("NVIDIA A100-SXM4-80GB", flops=312e12, mib=81_920, bandwidth=2039e9, link=300e9, network=25e9),
    "h100": _gpu("NVIDIA H100 80GB HBM3", flops=989e12, mib=81_559, bandwidth=3350e9, link=450e9, network=50e9),
    "h200": _gpu("NVIDIA H200", flops=989e12, mib=143_771, bandwidth=4800e9, link=450e9, network=50e9),
    "b200": _gpu("NVIDIA B200", flops=2250e12, mib=183_359, bandwidth=7700e9, link=900e9, network=50e9),
}  # fmt: skip

_EXAMPLES = {
    "v3": "v3:16x16", "v4": "v4:8x8x4", "v5e": "v5e:16x16", "v5p": "v5p:4x4x4", "v6e": "v6e:8x8",
}  # fmt: skip
# What libtpu calls them, and how it is told to show two cores as one device.
_LIBTPU = {"v4": ("v4", "megacore"), "v5p": ("v5", "megacore")}


@dataclasses.dataclass(frozen=True)
class AbsentDevice:
    """A place in a mesh, for arithmetic: nothing can be compiled for it."""

    id: int
    process_index: int
    device_kind: str
    platform: str = "gpu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """So many chips, wired up as a mesh of `sides`."""

    name: str
    chip: Chip
    sides: tuple[int, ...]

    @property
    def chips(self) -> int:
        return math.prod(self.sides)

    @property
    def devices(self) -> int:
        return self.chips * self.chip.devices_per_chip

    @property
    def hosts(self) -> int:
        return -(-self.devices // self.chip.devices_per_host)

    def mesh_devices(self) -> list[Any]:
        """To make a mesh of: TPUs as libtpu describes them, for which JAX compiles; the GPUs that are here, if they are
        of this kind and enough, else such as only have a place.

        Raises:
          TopologyError: libtpu knows no such arrangement, or is not installed.
        """
        if self.chip.platform == "tpu":
            return self._described()
        here = [device for device in jax.devices() if device.device_kind == self.chip.kind]
        per_host = self.chip.devices_per_host
        absent = [AbsentDevice(number, number // per_host, self.chip.kind) for number in range(self.devices)]
        return here[: self.devices] if len(here) >= self.devices else absent

    def _described(self) -> list[Any]:
        family = self.name.partition(":")[0]
        libtpu_name, chip_config = _LIBTPU.get(family, (family, "default"))
        shape = "x".join(map(str, self.sides))
        hosts_side = [min(side, bound) for side, bound in zip((*self.sides, 1), (2, 2, 1), strict=False)]
        try:
            described = topologies.get_topology_desc(
                platform="tpu",
                topology_name=f"{libtpu_name}:{shape}",
                chip_config_name=chip_config,
                chips_per_host_bounds=tuple(hosts_side),
            )
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).partition(": ")[2].splitlines()[0]
            raise TopologyError(f"--topology={self.name}: {reason}; try {_EXAMPLES[family]}") from None
        except RuntimeError as error:  # no libtpu
            raise TopologyError(f"--topology={self.name}: {error}; pip install 'gato_jax[tpu]' brings it") from None
        return list(described.devices)


def parse_topology(name: str) -> Topology:
    """A chip's name, a colon, and how many: sides of a slice for a TPU, a number for GPUs.

    Raises:
      TopologyError: naming what there is.
    """
    family, _, shape = name.partition(":")
    if family not in CHIPS:
        near = difflib.get_close_matches(family, CHIPS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CHIPS)}"
        raise TopologyError(f"--topology={name}: no chip {family!r}; {hint} (as in v3:16x16 or h100:8)")
    chip = CHIPS[family]
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
        example = _EXAMPLES.get(family, f"{family}:8")
        raise TopologyError(f"--topology={name}: {shape!r} is no number of chips; write it as in {example}")
    sides = tuple(map(int, shape.split("x")))
    wanted = 1 if chip.platform == "gpu" else len(_EXAMPLES[family].partition(":")[2].split("x"))
    if len(sides) != wanted:
        example = _EXAMPLES.get(family, f"{family}:8")
        raise TopologyError(f"--topology={name}: {family} has {wanted} sides, not {len(sides)}; write {example}")
    if chip.largest is not None and math.prod(sides) > chip.largest:
        raise TopologyError(
            f"--topology={name}: {math.prod(sides)} chips, a pod of {family} has {chip.largest}; name a smaller slice"
        )
    return Topology(name=name, chip=chip, sides=sides)
