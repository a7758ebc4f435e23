"""Import of the pretrained weights of torchvision's resnet50 from a safetensors file; pickles are refused."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np
import safetensors
from flax import nnx

from gato_jax.model import param_path
from gato_jax.model.resnet import ResNet50

# {name in gato_jax: name in torchvision} of modules, and of their arrays.
_MODULES = {
    "stem": "conv1",
    "stem_norm": "bn1",
    "shortcut": "downsample.0",
    "shortcut_norm": "downsample.1",
    **{f"conv_{number}": f"conv{number}" for number in (1, 2, 3)},
    **{f"norm_{number}": f"bn{number}" for number in (1, 2, 3)},
}
_ARRAYS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
_FLOATS = ("F32", "F16", "BF16")
_PICKLE = (b"PK\x03\x04", b"\x80")  # first bytes of a file of torch.save: a zip file, or a bare pickle in old versions


class WeightsError(ValueError):
    """Weights that cannot be used; the message names the file, the tensor and the remedy."""


def load_resnet50(path: pathlib.Path) -> dict[str, Any]:
    """Read the params of `model.resnet.ResNet50`, in float32.

    Args:
      path: safetensors file with the tensors of `torchvision.models.resnet50().state_dict()`. Those of the classifier,
        `fc`, and the numbers of batches are ignored.

    Returns:
      A pure dict of NumPy arrays for `nnx.replace_by_pure_dict`, kernels in (height, width, in, out).

    Raises:
      WeightsError: the file is missing, of another format or of another network, or holds a number that is not finite.
        For a pickle, the message says how to convert it.
    """
    if not path.is_file():
        raise WeightsError(f"no file {path}; name a safetensors file of torchvision's resnet50")
    params = jax.eval_shape(lambda: nnx.to_pure_dict(nnx.split(ResNet50(nnx.Rngs(0)))[1]))
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    wanted = {torchvision_name(param_path(place)): leaf.shape for place, leaf in leaves}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            _require_names(path, set(file.keys()), wanted)
            arrays = [_read(path, file, name, shape) for name, shape in wanted.items()]
    except safetensors.SafetensorError as error:
        raise WeightsError(_another_format(path, error)) from None
    return jax.tree.unflatten(structure, arrays)


def torchvision_name(path: str) -> str:
    """Return torchvision's name of a param of `ResNet50`: `layer1.1.conv2.weight` for `stages.0.1.conv_2.kernel`."""
    *block, module, array = path.split(".")
    name = f"{_MODULES[module]}.{_ARRAYS[array]}"
    return f"layer{int(block[1]) + 1}.{block[2]}.{name}" if block else name


def _another_format(path: pathlib.Path, error: Exception) -> str:
    with path.open("rb") as file:
        if not file.read(4).startswith(_PICKLE):
            return f"{path} is no whole safetensors file ({error}); copy or convert it again"
    return (
        f"{path} is a pickle, which can run any code when it is read; convert it once, on a machine with torch:\n"
        "import torch, safetensors.torch\n"
        f"safetensors.torch.save_file(torch.load({str(path)!r}, map_location='cpu', weights_only=True), "
        f"{str(path.with_suffix('.safetensors'))!r})"
    )


def _require_names(path: pathlib.Path, found: set[str], wanted: dict[str, Any]):
    """Raise WeightsError unless the names in the file are the keys of `wanted`; a deeper ResNet has these and more.

    Names of the classifier, `fc.*`, and of numbers of batches, `*.num_batches_tracked`, are ignored.
    """
    ignored = {name for name in found if name.startswith("fc.") or name.endswith(".num_batches_tracked")}
    for what, names in (("lacks", wanted.keys() - found), ("also has", found - ignored - wanted.keys())):
        if names:
            raise WeightsError(
                f"{path} {what} tensor {min(names)}, one of {len(names)}, so it is not torchvision's resnet50; save "
                "torchvision.models.resnet50(...).state_dict() under its own names"
            )


def _read(path: pathlib.Path, file, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a tensor in float32, with the axes of a kernel changed from torchvision's OIHW to HWIO.

    Args:
      path: the file, named in messages.
      file: the open file.
      name: torchvision's name of the tensor.
      shape: shape of the result.

    Raises:
      WeightsError: the tensor has another shape, is not of floats, or holds a number that is not finite.
    """
    there = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
    tensor = file.get_slice(name)
    if (found := tuple(tensor.get_shape())) != there:
        raise WeightsError(
            f"{path}: tensor {name} has shape {found}, that of torchvision's resnet50 is {there}; name a file of that"
        )
    if tensor.get_dtype() not in _FLOATS:
        raise WeightsError(f"{path}: tensor {name} is {tensor.get_dtype()}; save it as one of {', '.join(_FLOATS)}")
    array = file.get_tensor(name).astype(np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: tensor {name} holds numbers that are not finite; copy or convert the file again")
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
