"""Export of an agent to one safetensors file, whose metadata hold what is needed to act with the params.

Metadata, all in JSON except for the last:
    gato_jax   schema of the file, 1
    step       number of training steps
    model      config of the model
    contract   the tokenization and the tasks that the params were trained under
    run        description of the training run; acting needs its `context` and `memory_steps`
    sha256     hash of the other metadata and of the tensors; to be left out after a tensor was changed on purpose

Tensors, float32 or bfloat16, named by their path in the model; i counts blocks from 0:
    embedding.tokens                                             (V, D)        also the output head, transposed
    embedding.local                                              (L, D)
    embedding.row, .column                                       (128, D)
    embedding.patch.stem.kernel                                  (K, K, 3, C)
    embedding.patch.conv_1.kernel                                (3, 3, C, C)
    embedding.patch.conv_2.kernel                                (3, 3, C, C)
    embedding.patch.stem.bias                                    (C)
    embedding.patch.conv_1.bias                                  (C)
    embedding.patch.conv_2.bias                                  (C)
    embedding.patch.norm_1.scale, .bias                          (C)           GroupNorm of 32 groups
    embedding.patch.norm_2.scale, .bias                          (C)
    embedding.patch.out                                          (S, D)        from rows, columns and channels
    embedding.patch.out_bias                                     (D)
    blocks.i.attention_norm.scale, .bias                         (D)
    blocks.i.attention.query, .key, .value, .relative            (D, N, H)
    blocks.i.attention.content_bias, .position_bias              (N, H)
    blocks.i.attention.out                                       (N, H, D)
    blocks.i.attention.out_bias                                  (D)
    blocks.i.feed_forward_norm.scale, .bias                      (D)
    blocks.i.feed_forward.hidden                                 (D, 2, F)     value, then gate
    blocks.i.feed_forward.hidden_bias                            (2, F)
    blocks.i.feed_forward.out                                    (F, D)
    blocks.i.feed_forward.out_bias                               (D)
    norm.scale, .bias                                            (D)

    C patch_channels   D width   F hidden / 2   H head_size   K max(patch_stride, 3)   L local_positions   N heads
    S (patch / patch_stride)^2 C   V vocabulary rounded up to a multiple of 128

With position=rope, `relative`, `content_bias` and `position_bias` are missing. With image_trunk=resnet_50, the names
below embedding.patch are those of gato_jax.model.resnet.

For PyTorch: a matrix maps its first axes to its last, so the weight of a Linear is query.reshape(D, N * H).T and
out.reshape(N * H, D).T; a kernel of a convolution is (height, width, in, out), hence kernel.permute(3, 2, 0, 1) for a
Conv2d. The scale is the weight of a norm, whose eps is 1e-6. GELU is approximated by tanh.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from gato_jax.checkpoints.store import AgentCheckpoint, CheckpointError, model_to_json
from gato_jax.model import cast_params, param_path
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.tokenization import Contract

SUFFIX = ".safetensors"
SCHEMA = 1

DTYPES = {"float32": "F32", "bfloat16": "BF16"}  # {name in gato_jax: name in the format}
ABOUT = {"gato_jax": int, "step": int, "model": dict, "contract": dict, "run": dict}


def export_params(
    checkpoint: AgentCheckpoint, path: pathlib.Path, *, dtype: Literal["float32", "bfloat16"] = "float32"
):
    """Write an agent to a file, which appears whole or not at all and replaces an existing file.

    Args:
      checkpoint: the agent, which must not have an image tokenizer.
      path: the file, with the suffix .safetensors. Missing parent folders are made.
      dtype: dtype of all tensors except those of norms, which stay in float32. A model that computes in bfloat16
        computes the same from a file of either dtype.

    Raises:
      CheckpointError: the agent has an image tokenizer, the suffix or dtype is wrong, or the file cannot be written.
    """
    require_no_image_tokenizer(checkpoint.contract, path)
    if dtype not in DTYPES:
        raise CheckpointError(f"{path}: dtype is {dtype!r}, expected {' or '.join(DTYPES)}")
    if path.suffix != SUFFIX:
        raise CheckpointError(f"{path} has the suffix {path.suffix!r}, expected {SUFFIX}; name another file")
    params = cast_params(checkpoint.params, dtype)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    tensors = {param_path(place): np.asarray(leaf, order="C") for place, leaf in leaves}
    model, contract = model_to_json(checkpoint.model), checkpoint.contract.to_json()
    about = {"gato_jax": SCHEMA, "step": checkpoint.step, "model": model, "contract": contract, "run": checkpoint.run}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    digest = begin_digest(metadata)
    for name in sorted(tensors):
        add_to_digest(digest, name, tensors[name])
    _write_file(path, tensors, {**metadata, "sha256": digest.hexdigest()})


def require_no_image_tokenizer(contract: Contract, path: pathlib.Path):
    """Raise CheckpointError if an agent needs an image tokenizer, which a file of params does not hold.

    Args:
      contract: the contract of the agent.
      path: the file, named in the message.
    """
    if (images := contract.tokenization.image_tokenizer) is not None:
        raise CheckpointError(
            f"{path}: this agent sees images as codes of the image tokenizer {images}, a folder beside its run that a "
            "file of params does not hold; use the run's folder"
        )


def begin_digest(metadata: Mapping[str, str]):
    """Return a SHA-256 object that holds the metadata of gato_jax, without those that other tools may have added.

    Args:
      metadata: {key: JSON text} of the file, with at least the keys of `ABOUT`.
    """
    return hashlib.sha256(json.dumps([[key, metadata[key]] for key in ABOUT]).encode())


def add_to_digest(digest, name: str, tensor: np.ndarray):
    """Add name, dtype, shape and content of a tensor to a SHA-256 object; add tensors in the sorted order of names."""
    digest.update(f"{name} {tensor.dtype.name} {tensor.shape}\n".encode())
    digest.update(tensor.reshape(-1).view(np.uint8))


def _write_file(path: pathlib.Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]):
    try:
        with atomic_file(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode
            save_file(tensors, partial, metadata=metadata)
            partial.chmod(mode)  # the library makes a new file that nobody else may read
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: {reason}; free space or name another file") from None
