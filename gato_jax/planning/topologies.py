"""Accelerators that can be rented, as data, and arrangements of them by their usual names, such as v3:16x16 or h100:8.

For TPUs, libtpu describes devices that are not present and compiles programs for them.
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
GPU_MEMORY_FRACTION = 0.95  # value of XLA_PYTHON_CLIENT_MEM_FRACTION that plans assume; JAX's default is 0.75


class TopologyError(ValueError):
    """A topology that does not exist, or that needs libtpu where it is not installed; the message names a remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Figures of one device as JAX sees it; on a TPU v3, that is half of a chip.

    Attributes:
      kind: `device_kind` in JAX.
      platform: tpu or gpu.
      flops: dense bfloat16 peak, in FLOP/s.
      hbm: memory, in bytes.
      hbm_limit: memory that a program may use, in bytes; the system needs the rest.
      bandwidth: bandwidth of the memory, in bytes/s.
      exponentials: exponentials per second, which limit softmax.
      copy_share: share of `bandwidth` that a plain copy reaches.
      product_share: share of `flops` that a large plain product reaches.
      link: bytes/s that a device can send around a ring of its neighbours: in both directions along one axis of a TPU's
        torus, or over NVLink.
      devices_per_chip: number of devices that JAX shows for a chip.
      devices_per_host: number of devices of the usual machine.
      host_memory: memory of that machine, in bytes; None where it differs between providers.
      largest: number of chips of the largest TPU slice; None for GPUs, whose number is not limited.
      network: bytes/s that a GPU can send to another host; None for TPUs, which send over `link`.
    """

    kind: str
    platform: Literal["tpu", "gpu"]
    flops: float
    hbm: int
    hbm_limit: int
    bandwidth: float
    exponentials: float
    copy_share: float = 0.875
    product_share: float = 0.79
    link: float
    devices_per_chip: int = 1
    devices_per_host: int
    host_memory: int | None = None
    largest: int | None = None
    network: float | None = None

    @property
    def product_flops(self) -> float:
        """FLOP/s of a large plain product."""
        return self.product_share * self.flops

    @property
    def copy_bandwidth(self) -> float:
        """Bytes per second of a plain copy, read and written bytes together."""
        return self.copy_share * self.bandwidth


def _gib(size: float) -> int:
    return round(size * GIB)


def _gpu(
    kind: str, *, mib: int, flops: float, bandwidth: float, exponentials: float, link: float, network: float,
    copy_share: float = 0.875,
) -> Chip:  # fmt: skip
    """Return a GPU in the usual machine of eight, with GPU_MEMORY_FRACTION of its memory as `hbm_limit`.

    `mib` is its memory in MiB; the other numbers are attributes of `Chip`, in their units.
    """
    hbm = mib * 2**20
    return Chip(
        kind=kind, platform="gpu", flops=flops, hbm=hbm, hbm_limit=int(hbm * GPU_MEMORY_FRACTION),
        bandwidth=bandwidth, copy_share=copy_share, exponentials=exponentials, link=link, network=network,
        devices_per_host=8,
    )  # fmt: skip


# Sources for TPUs: peaks, HBM and RAM from cloud.google.com/tpu/docs; links from jax-ml.github.io/scaling-book/tpus,
# for the v3 from "A domain-specific supercomputer for training deep neural networks" (CACM 63(7)), 656 Gbit/s, shared
# by the two devices of a chip; limits from libtpu's messages when memory runs out. Sources for GPUs: NVIDIA's data
# sheets, with HBM as nvidia-smi reports it and one network card for each GPU. Exponentials: 16 of each SM in a cycle on
# GPUs (3.9e12 on an H100, as FlashAttention-3 counts, arXiv 2407.08608), 8 x 128 lanes of each core on TPUs. Shares: an
# 8192^3 product in bfloat16 reached 779 of 989 TFLOP/s on an H200 and a copy 4.2 of 4.8 TB/s, on an H100 3.0 of 3.35;
# for the chips that were not measured the shares are those of the H200.
CHIPS: dict[str, Chip] = {
    "v3": Chip(
        kind="TPU v3", platform="tpu", flops=61.5e12, hbm=16 * GIB, hbm_limit=_gib(15.48), bandwidth=450e9,
        exponentials=0.96e12, link=82e9, devices_per_chip=2, devices_per_host=8, host_memory=340 * GB, largest=1024,
    ),
    "v4": Chip(
        kind="TPU v4", platform="tpu", flops=275e12, hbm=32 * GIB, hbm_limit=_gib(30.75), bandwidth=1200e9,
        exponentials=2.15e12, link=90e9, devices_per_host=4, host_memory=407 * GB, largest=4096,
    ),
    "v5e": Chip(
        kind="TPU v5 lite", platform="tpu", flops=197e12, hbm=16 * GIB, hbm_limit=_gib(15.75), bandwidth=819e9,
        exponentials=1.54e12, link=90e9, devices_per_host=4, host_memory=192 * GB, largest=256,
    ),
    "v5p": Chip(
        kind="TPU v5", platform="tpu", flops=459e12, hbm=96 * GIB, hbm_limit=_gib(95.74), bandwidth=2765e9,
        exponentials=3.58e12, link=180e9, devices_per_host=4, host_memory=448 * GB, largest=8960,
    ),
    "v6e": Chip(
        kind="TPU v6 lite", platform="tpu", flops=918e12, hbm=32 * GIB, hbm_limit=_gib(31.25), bandwidth=1638e9,
        exponentials=1.79e12, link=180e9, devices_per_host=4, host_memory=720 * GB, largest=256,
    ),
    "a100": _gpu(
        "NVIDIA A100-SXM4-80GB", flops=312e12, mib=81_920, bandwidth=2039e9,
        exponentials=2.4e12, link=300e9, network=25e9,
    ),
    "h100": _gpu(
        "NVIDIA H100 80GB HBM3", flops=989e12, mib=81_559, bandwidth=3350e9,
        exponentials=3.9e12, copy_share=0.9, link=450e9, network=50e9,
    ),
    "h200": _gpu(
        "NVIDIA H200", flops=989e12, mib=143_771, bandwidth=4800e9,
        exponentials=3.9e12, link=450e9, network=50e9,
    ),
    "b200": _gpu(
        "NVIDIA B200", flops=2250e12, mib=183_359, bandwidth=7700e9,
        exponentials=4.4e12, link=900e9, network=50e9,
    ),
}  # fmt: skip

_EXAMPLES = {
    "v3": "v3:16x16", "v4": "v4:8x8x4", "v5e": "v5e:16x16", "v5p": "v5p:4x4x4", "v6e": "v6e:8x8",
}  # fmt: skip
# {family: (name in libtpu, chip configuration that shows two cores as one device)}, where these are not the defaults.
_LIBTPU = {"v4": ("v4", "megacore"), "v5p": ("v5", "megacore")}


@dataclasses.dataclass(frozen=True)
class AbsentDevice:
    """Stand-in for a GPU that is not present: it has a place in a mesh, but nothing can be compiled for it."""

    id: int
    process_index: int
    device_kind: str
    platform: str = "gpu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """Arrangement of chips of one kind.

    Attributes:
      name: name of the arrangement, such as v3:16x16.
      chip: figures of one device.
      sides: sides of the slice of a TPU, in chips; the number of GPUs as the only side.
    """

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
        """Return the `devices` devices to make a mesh of.

        TPUs are descriptions by libtpu, for which programs can be compiled. GPUs are those present in this process if
        enough of them are of this kind, and otherwise all are AbsentDevices.

        Raises:
          TopologyError: libtpu has no such arrangement, or is not installed.
        """
        if self.chip.platform == "tpu":
            return self._describe_tpus()
        present = [device for device in jax.devices() if device.device_kind == self.chip.kind]
        per_host = self.chip.devices_per_host
        absent = [AbsentDevice(number, number // per_host, self.chip.kind) for number in range(self.devices)]
        return present[: self.devices] if len(present) >= self.devices else absent

    def _describe_tpus(self) -> list[Any]:
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
            reason = str(error).partition(": ")[2].partition("\n")[0]
            raise TopologyError(f"--topology={self.name}: {reason}; try {_EXAMPLES[family]}") from None
        except RuntimeError as error:  # no libtpu
            raise TopologyError(f"--topology={self.name}: {error}; pip install 'gato_jax[tpu]' brings it") from None
        return list(described.devices)


def parse_topology(name: str) -> Topology:
    """Return the topology of a name: a key of `CHIPS`, a colon, and the sides of a TPU slice or the number of GPUs.

    Names such as v3:16x16, v4:8x8x4 and h100:8 are possible. Whether a TPU slice of these sides exists is checked by
    `Topology.mesh_devices` only.

    Raises:
      TopologyError: the chip is unknown, a TPU does not have its two or three sides or a GPU has more than one number,
        or the chips are more than the largest slice has; the message says what to write.
    """
    family, _, shape = name.partition(":")
    if family not in CHIPS:
        near = difflib.get_close_matches(family, CHIPS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CHIPS)}"
        raise TopologyError(f"--topology={name}: unknown chip {family!r}; {hint} (as in v3:16x16 or h100:8)")
    chip = CHIPS[family]
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
        example = _EXAMPLES.get(family, f"{family}:8")
        raise TopologyError(f"--topology={name}: {shape!r} is not a number of chips; write it as in {example}")
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
