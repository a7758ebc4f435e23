"""An open implementation of Gato, "A Generalist Agent" (arXiv 2205.06175), in JAX and Flax.

The packages, in the order in which data flows: episodes, environments, rollouts, experts, sources, tokenization,
batching, model, checkpoints, training, policy, evaluation, reports, planning, verbs. The docstring of each says what it
is for and which of the others it may import.
"""
