"""Batched rollouts and expert-normalised scores. May import policy, environments, experts, episodes."""
