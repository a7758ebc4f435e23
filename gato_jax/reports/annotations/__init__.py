"""Views of an agent at the steps of a rollout: probabilities of its actions, and attention to an image."""
