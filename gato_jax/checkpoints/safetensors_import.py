"""Import of agents from safetensors files in the layout of safetensors_format, whichever tool wrote them."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from gato_jax.checkpoints.safetensors_format import (
    ABOUT,
    DTYPES,
    SCHEMA,
    SUFFIX,
    add_to_digest,
    begin_digest,
    require_no_image_tokenizer,
)
from gato_jax.checkpoints.store import AgentCheckpoint, CheckpointError, CheckpointStore, model_from_json
from gato_jax.model import ModelConfig, graphdef, param_path, param_shapes
from gato_jax.runtime.paths import local_file
from gato_jax.tokenization import Contract, ContractError

_REMEDY = "export it again with this version of gato_jax, or import it with the version that wrote it"


def restore_agent(path: pathlib.Path) -> AgentCheckpoint:
    """Return the agent of a run's newest checkpoint, or of a safetensors file.

    Args:
      path: folder of the run, or file that `export_params` wrote. A path that does not exist is taken for a file if its
        suffix is .safetensors.

    Raises:
      CheckpointError: there is no agent, or it is damaged.
      ContractError: the contract in the run's checkpoint is of another version.
    """
    if path.is_file() or (path.suffix == SUFFIX and not path.is_dir()):
        return import_params(path)
    with contextlib.closing(CheckpointStore(path, read_only=True)) as store:
        return store.restore_agent()


def import_params(path: pathlib.Path) -> AgentCheckpoint:
    """Read an agent from a safetensors file, with its params in float32.

    Args:
      path: file that `export_params` wrote, or that another tool wrote in the same layout.

    Raises:
      CheckpointError: the file is missing, damaged, or not a safetensors file; its metadata are missing or of another
        version; its hash is wrong; or a tensor is missing, unknown, or has another shape or dtype than in the model.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is no file; gato export --workdir=RUN --format=safetensors writes one")
    try:
        with local_file(path) as local, safe_open(local, framework="np") as file:
            return _read(path, file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file, or one that is cut off or damaged ({error}); export or copy it again"
        ) from None


def _read(path: pathlib.Path, file: safe_open) -> AgentCheckpoint:
    metadata = file.metadata() or {}
    about = _read_about(path, metadata)
    model, shapes = _read_model(path, about["model"])
    contract = _read_contract(path, about)
    if contract.tokenization != model.tokenization:
        raise CheckpointError(f"{path}: its model has another tokenization than its contract; {_REMEDY}")
    require_no_image_tokenizer(contract, path)
    _require_tensors(path, file, shapes)
    digest, arrays = begin_digest(metadata), {}
    for name in sorted(file.keys()):  # one at a time, so that the host does not hold all tensors twice
        tensor = file.get_tensor(name)
        add_to_digest(digest, name, tensor)
        arrays[name] = jnp.asarray(tensor.astype(np.float32, copy=False))
    if metadata.get("sha256", digest.hexdigest()) != digest.hexdigest():
        raise CheckpointError(
            f"{path} is not what was exported: its tensors or metadata have another sha256 than it says; export or "
            "copy it again, or, if it was changed on purpose, leave sha256 out of its metadata"
        )
    params = jax.tree_util.tree_map_with_path(lambda place, _: arrays[param_path(place)], shapes)
    return AgentCheckpoint(about["step"], model, graphdef(model), params, contract, about["run"])


def _read_about(path: pathlib.Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return {key: value} of the keys of `ABOUT`, parsed from {key: JSON text}; other keys are left out.

    Raises:
      CheckpointError: a key is missing, no JSON or of another type, or the schema is another one.
    """
    if "gato_jax" not in metadata:
        raise CheckpointError(
            f"{path} has no metadata of gato_jax, so another tool wrote it; give it the metadata, names and shapes of "
            "gato_jax.checkpoints.safetensors_format"
        )
    if metadata["gato_jax"] != json.dumps(SCHEMA):
        raise CheckpointError(f"{path} is of schema {metadata['gato_jax']}, this version reads {SCHEMA}; {_REMEDY}")
    about = {}
    for key, kind in ABOUT.items():
        try:
            about[key] = json.loads(metadata[key])
        except (KeyError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: {key} of its metadata is missing or no JSON ({error}); {_REMEDY}") from None
        if type(about[key]) is not kind:
            raise CheckpointError(f"{path}: {key} of its metadata is {about[key]!r:.60}, no {kind.__name__}; {_REMEDY}")
    return about


def _read_model(path: pathlib.Path, fields: dict[str, Any]) -> tuple[ModelConfig, nnx.State]:
    """Return the model config that `model_to_json` wrote, and the shapes of its params as ShapeDtypeStructs.

    Raises:
      CheckpointError: this version does not know a key or value of it.
    """
    try:
        model = model_from_json(fields)
        return model, param_shapes(model)
    except (OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: this version does not know its model ({error}); {_REMEDY}") from None


def _read_contract(path: pathlib.Path, about: Mapping[str, Any]) -> Contract:
    """Return the contract, and check that the description of the run covers its tasks.

    Raises:
      CheckpointError: the contract is of another version, `run` lacks `context`, or its `memory_steps` has other tasks
        than the contract.
    """
    try:
        contract = Contract.from_json(about["contract"], str(path))
    except ContractError as error:
        raise CheckpointError(f"{path}: its contract is of another version; {_REMEDY}\n{error}") from None
    context, memory = about["run"].get("context"), about["run"].get("memory_steps")
    if not isinstance(context, int) or not isinstance(memory, dict) or memory.keys() != contract.tasks.keys():
        raise CheckpointError(
            f"{path}: run of its metadata needs context, a number, and memory_steps, with each of the tasks "
            f"{', '.join(contract.tasks)}, to act by; it has {context!r} and {memory!r:.60}"
        )
    return contract


def _require_tensors(path: pathlib.Path, file: safe_open, shapes: nnx.State):
    """Raise CheckpointError unless a file has exactly the tensors of the model, float32 or bfloat16. None is read.

    `shapes` has a ShapeDtypeStruct for each param, whose path is the name of its tensor.
    """
    expected = {param_path(place): leaf.shape for place, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
    found = set(file.keys())
    if missing := sorted(expected.keys() - found):
        raise CheckpointError(
            f"{path} lacks {_describe_names(missing)}, which its model has; export it again, or add them"
        )
    if unknown := sorted(found - expected.keys()):
        raise CheckpointError(f"{path} holds {_describe_names(unknown)}, which its model does not have; leave them out")
    for name, shape in expected.items():
        tensor = file.get_slice(name)
        if (found_shape := tuple(tensor.get_shape())) != shape:
            raise CheckpointError(f"{path}: {name} has the shape {found_shape}, expected {shape}; reshape it")
        if (dtype := tensor.get_dtype()) not in DTYPES.values():
            raise CheckpointError(f"{path}: {name} is {dtype}; convert it to {' or '.join(DTYPES.values())}")


def _describe_names(names: list[str]) -> str:
    """Return one name as it is, and several as in `3 tensors, the first of them norm.bias`."""
    return names[0] if len(names) == 1 else f"{len(names)} tensors, the first of them {names[0]}"
