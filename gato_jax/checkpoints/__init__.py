"""What a run leaves on disk, saved and restored. May import model, tokenization."""

from gato_jax.checkpoints.store import CheckpointError, CheckpointStore, model_from_json

__all__ = ["CheckpointError", "CheckpointStore", "model_from_json"]
