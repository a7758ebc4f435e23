"""Checkpoints of runs, and agents as files for other tools. May import model, tokenization, episodes."""

from gato_jax.checkpoints.safetensors_format import export_params
from gato_jax.checkpoints.safetensors_import import import_params, restore_agent
from gato_jax.checkpoints.store import (
    AgentCheckpoint,
    CheckpointError,
    CheckpointStore,
    DamagedCheckpointError,
    model_from_json,
    model_to_json,
    require_place,
    set_aside_damaged,
)
from gato_jax.checkpoints.torchvision_weights import WeightsError, load_resnet50

__all__ = [
    "AgentCheckpoint",
    "CheckpointError",
    "CheckpointStore",
    "DamagedCheckpointError",
    "WeightsError",
    "export_params",
    "import_params",
    "load_resnet50",
    "model_from_json",
    "model_to_json",
    "require_place",
    "restore_agent",
    "set_aside_damaged",
]
