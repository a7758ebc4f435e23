"""JAX decides which device a run has; a device that is missing is one line, and no TPU is looked for in vain."""

import pytest

from gato_jax.runtime import devices
from gato_jax.runtime.devices import PLATFORMS, DeviceError, choose_platforms, describe_devices


@pytest.mark.parametrize(
    ("plugins", "tpu", "chosen"),
    [
        ([], False, "cpu"),
        (["xla_cuda12"], False, "cuda,cpu"),
        (["xla_cuda12", "xla_cuda13"], False, "cuda,cpu"),
        (["xla_cuda12"], True, None),
        ([], True, None),
        (["other_plugin"], False, None),
    ],
)
def test_only_what_cannot_be_there_is_left_out(monkeypatch, plugins, tpu, chosen):
    monkeypatch.setattr(devices, "_plugins", lambda: plugins)
    monkeypatch.setattr(devices, "may_have_tpu", lambda: tpu)
    monkeypatch.delenv(PLATFORMS)
    choose_platforms()
    assert devices.os.environ.get(PLATFORMS) == chosen
    monkeypatch.setenv(PLATFORMS, "tpu")
    choose_platforms()
    assert devices.os.environ[PLATFORMS] == "tpu"  # the user's choice stays


@pytest.mark.parametrize(("variable", "found"), [("TPU_NAME", True), ("TPU_NAME_", False)])
def test_a_variable_of_tpu_machines_speaks_for_a_tpu(monkeypatch, variable, found):
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: [])
    for name in devices._TPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "x")
    assert devices.may_have_tpu() == found


def test_the_devices_are_named_in_one_line():
    assert describe_devices() == "devices: 8 x cpu"


def test_a_gpu_plugin_without_a_usable_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "_plugins", lambda: ["xla_cuda12"])
    assert describe_devices() == "devices: 8 x cpu"  # JAX_PLATFORMS=cpu asks for it
    monkeypatch.setenv(PLATFORMS, "cuda,cpu")
    with pytest.raises(DeviceError, match="no usable GPU, but its plugin xla_cuda12 is installed"):
        describe_devices()


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize\nbackend 'cuda'")])
def test_a_platform_that_is_not_there_is_one_line(monkeypatch, error):
    def refuse():
        raise error

    monkeypatch.setattr(devices, "jax", type("Jax", (), {"devices": staticmethod(refuse)}))
    monkeypatch.setenv(PLATFORMS, "cuda")
    with pytest.raises(DeviceError, match=r"JAX_PLATFORMS is cuda \((no such device|Unable to .* 'cuda')\)"):
        describe_devices()
