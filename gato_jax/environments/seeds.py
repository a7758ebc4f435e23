"""Which seeds are for what, so that no agent is scored on an episode it was trained on."""

RECORDING_SEEDS = range(0, 1_000_000)
EVALUATION_SEEDS = range(1_000_000, 2_000_000)
REFERENCE_SEEDS = range(2_000_000, 3_000_000)
"""For the scores of random play, of constant actions and of the expert, against which agents are normalised."""
