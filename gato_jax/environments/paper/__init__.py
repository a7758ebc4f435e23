"""The paper's 604 tasks: their lists, the tasks here that are or stand for them, and the account of all of them."""

from gato_jax.environments.paper.tasks import DOMAINS, HELD_OUT, Domain

__all__ = ["DOMAINS", "HELD_OUT", "Domain"]
