"""An agent in one file that other tools open: its params as safetensors, and in the metadata what acting needs of them.

Metadata, in JSON but for the last:
    gato_jax   schema of the file, 1
    step       of the training run
    model      config of the model
    contract   the tokenization and the tasks that the params were trained under
    run        what the run said of itself; acting needs its `context` and `memory_steps`
    sha256     of all of the above and of the tensors. Whoever changes a tensor on purpose leaves it out.

Tensors, float32 or bfloat16, by their place in the model; i counts blocks from 0:
    embedding.tokens                                             (V, D)        transposed, the output head, too
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

With position=rope there is no `relative`, `content_bias` and `position_bias`; image_trunk=resnet_50 has other names
below embedding.patch, those of gato_jax.model.resnet.

For PyTorch: a matrix maps its first axes to its last, so the weight of a Linear is query.reshape(D, N * H).T and
out.reshape(N * H, D).T; a kernel of a convolution is (height, width, in, out), hence kernel.permute(3, 2, 0, 1) for a
Conv2d; scale is the weight of a norm, whose eps is 1e-6; GELU is the one by tanh.
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
from gato_jax.episodes.atomic_writes import atomic_file
from gato_jax.model import cast_params, param_path
from gato_jax.tokenization import Contract

SUFFIX = ".safetensors"
SCHEMA = 1

DTYPES = {"float32": "F32", "bfloat16": "BF16"}  # ours, and the format's names for them
ABOUT = {"gato_jax": int, "step": int, "model": dict, "contract": dict, "run": dict}


def export_params(
    checkpoint: AgentCheckpoint, path: pathlib.Path, *, dtype: Literal["float32", "bfloat16"] = "float32"
):
    """Writes the agent into `path`, which appears whole or not at all; a file that is there is replaced.

    Args:
      checkpoint: of an agent without an image tokenizer.
      path: ends in .safetensors; folders above it are made.
      dtype: of all tensors but those of norms, which stay float32, as in a model that computes in bfloat16: such a
        model computes the very same from either file.

    Raises:
      CheckpointError: the agent has an image tokenizer, the path or dtype cannot be, or the disk refuses.
    """
    require_no_image_tokenizer(checkpoint.contract, path)
    if dtype not in DTYPES:
        raise CheckpointError(f"{path}: dtype must be {' or '.join(DTYPES)}, got {dtype!r}")
    if path.suffix != SUFFIX:
        raise CheckpointError(f"{path}: such a file is known by its name; end it in {SUFFIX}")
    params = cast_params(checkpoint.params, dtype)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    tensors = {param_path(place): np.asarray(leaf, order="C") for place, leaf in leaves}
    model, contract = model_to_json(checkpoint.model), checkpoint.contract.to_json()
    about = {"gato_jax": SCHEMA, "step": checkpoint.step, "model": model, "contract": contract, "run": checkpoint.run}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    digest = begin_digest(metadata)
    for name in sorted(tensors):
        add_to_digest(digest, name, tensors[name])
    _write_whole(path, tensors, {**metadata, "sha256": digest.hexdigest()})


def require_no_image_tokenizer(contract: Contract, path: pathlib.Path):
    """Refuses an agent that cannot act by its params and contract alone.

    Raises:
      CheckpointError: naming its image tokenizer.
    """
    if (images := contract.tokenization.image_tokenizer) is not None:
        raise CheckpointError(
            f"{path}: this agent sees images as codes of the image tokenizer {images}, a folder beside its run that a "
            "file of params does not hold; use the run's folder"
        )


def begin_digest(metadata: Mapping[str, str]):
    """The digest of our own metadata; other tools may have added theirs."""
    return hashlib.sha256(json.dumps([[key, metadata[key]] for key in ABOUT]).encode())


def add_to_digest(digest, name: str, tensor: np.ndarray):
    """Each tensor once, in the order of their names."""
    digest.update(f"{name} {tensor.dtype.name} {tensor.shape}\n".encode())
    digest.update(tensor.reshape(-1).view(np.uint8))


def _write_whole(path: pathlib.Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]):
    try:
        with atomic_file(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode
            save_file(tensors, partial, metadata=metadata)
            partial.chmod(mode)  # the library makes a new file that nobody else may read
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: {reason}; free space or name another file") from None
