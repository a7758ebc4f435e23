"""The devices of a process: the choice of platforms that JAX looks for, its errors, and a line that names the devices.

JAX decides which devices it uses. Only platforms that cannot be there are left out, because JAX would look for a TPU
wherever libtpu is installed, and libtpu then logs errors.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import pathlib
import pkgutil
from collections import Counter
from typing import Any

from etils import epy

with epy.lazy_imports():
    import jax

PLATFORMS = "JAX_PLATFORMS"

_GOOGLE = "0x1ae0"  # PCI vendor
_TPU_FILES = ("/dev/accel*", "/dev/vfio/[0-9]*")
_TPU_VARIABLES = ("TPU_NAME", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE", "JAX_FORCE_TPU_INIT")
_GPU_PLUGINS = {"xla_cuda": "cuda", "xla_rocm": "rocm"}  # {beginning of a plugin's name: its platform}


class DeviceError(RuntimeError):
    """A device that JAX was asked for, or that a plugin was installed for, and cannot use; the message is one line."""


def choose_platforms():
    """Set JAX_PLATFORMS, unless it is set, to the platforms whose software is installed if there is no sign of a TPU.

    Nothing is set if this machine may have a TPU, or if a plugin of JAX is installed whose platform is not known here.
    Call it before JAX is imported.
    """
    plugins = _plugins()
    known = [_platform(name) for name in plugins]
    if PLATFORMS not in os.environ and not may_have_tpu() and all(known):
        os.environ[PLATFORMS] = ",".join([*dict.fromkeys(filter(None, known)), "cpu"])


def may_have_tpu() -> bool:
    """Return whether anything speaks for a TPU: a chip on the PCI bus, a device file or a variable of TPU machines."""
    if any(name in os.environ for name in _TPU_VARIABLES) or any(map(glob.glob, _TPU_FILES)):
        return True
    vendors = glob.glob("/sys/bus/pci/devices/*/vendor")
    return any(pathlib.Path(vendor).read_text().strip() == _GOOGLE for vendor in vendors)


def open_devices() -> list[Any]:
    """Return all devices of JAX, those of other processes of the run included.

    Raises:
      DeviceError: A platform of JAX_PLATFORMS, or a GPU for which a plugin is installed, is not there or not usable.
    """
    asked = os.environ.get(PLATFORMS, "")
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that one of the platforms was found
        reason = " ".join(str(error).split()) or "no such device"
        raise DeviceError(
            f"JAX finds no usable device: {PLATFORMS} is {asked or 'not set'} ({reason:.300}). Check the driver, for "
            f"example by nvidia-smi, or set {PLATFORMS}=cpu to use the CPU."
        ) from error
    plugins = [name for name in _plugins() if _platform(name)]
    if plugins and asked != "cpu" and devices[0].platform == "cpu":
        raise DeviceError(
            f"JAX finds no usable GPU, but its plugin {', '.join(plugins)} is installed. Check the driver, for example "
            f"by nvidia-smi, or set {PLATFORMS}=cpu to use the CPU."
        )
    return devices


def describe_devices() -> str:
    """Return a line that names all devices, such as `devices: 8 x NVIDIA H100 80GB HBM3 (gpu)`.

    On the CPU it is `devices: 1 x cpu`, and with several processes it ends with their number.

    Raises:
      DeviceError: The devices cannot be used (see `open_devices`).
    """
    kinds = Counter((device.device_kind, device.platform) for device in open_devices())
    named = (
        f"{count} x {kind}" + (f" ({platform})" if platform != kind else "")
        for (kind, platform), count in kinds.items()
    )
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"devices: {', '.join(named)}{processes}"


def print_devices():
    """Print `describe_devices` as a line in the first process of a run, or raise its error in any process."""
    line = describe_devices()
    if not jax.process_index():
        print(line, flush=True)


def _plugins() -> list[str]:
    """Return the names of the plugins of JAX that are installed, such as xla_cuda12."""
    found = importlib.util.find_spec("jax_plugins")
    paths = [] if found is None else found.submodule_search_locations
    return sorted(module.name for module in pkgutil.iter_modules(paths))


def _platform(plugin: str) -> str | None:
    """Return the platform of a GPU plugin, None for any other plugin."""
    return next((platform for start, platform in _GPU_PLUGINS.items() if plugin.startswith(start)), None)
