"""Experts that were trained: small networks that imitate a slower expert, the teacher, in states which they reach.

`policy` plays with the file of a network, in NumPy. `training` makes the file, in JAX: DAgger, which alternates between
episodes that are labelled with the teacher's actions and fits of the network to all labels so far. The files in
`policies/` belong to the tasks whose expert is a network.
"""

from gato_jax.experts.distillation.policy import EXPERTS, DistilledPolicy
from gato_jax.experts.distillation.policy_file import PolicyFile, PolicyFileError

__all__ = ["EXPERTS", "DistilledPolicy", "PolicyFile", "PolicyFileError"]
