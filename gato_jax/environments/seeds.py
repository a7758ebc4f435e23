"""Ranges of seeds for each purpose, disjoint so that no agent is scored on an episode that it was trained on."""

RECORDING_SEEDS = range(0, 1_000_000)
"""Seeds of the episodes that agents are trained on."""
EVALUATION_SEEDS = range(1_000_000, 2_000_000)
"""Seeds of the episodes that agents are scored on."""
REFERENCE_SEEDS = range(2_000_000, 3_000_000)
"""Seeds of the reference scores of random play, constant actions and experts."""
EXPERT_TRAINING_SEEDS = range(3_000_000, 4_000_000)
"""Seeds of the episodes that networks of experts are trained and selected on."""
