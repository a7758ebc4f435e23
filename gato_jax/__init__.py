"""gato_jax: an open implementation of Gato, "A Generalist Agent" (arXiv 2205.06175), in JAX and Flax.

The folders read in the order in which data flows: episodes, environments, experts, sources, tokenization,
batching, model, checkpoints, training, policy, evaluation, reports, verbs. Each says its job in its own docstring.
"""
