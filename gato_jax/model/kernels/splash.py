"""Pallas's flash attention for TPUs, without scores by distance.

Axes:
    B rows   T positions   N heads   H head size
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gato_jax.model.kernels.operands import BY_ROW_AND_HEAD, SAVED, KernelError, on_each_device


def splash(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """Compute attention block by block; `interpret` runs the kernel on a CPU.

    Raises:
      KernelError: the context is no multiple of 128, or the head size no multiple of 64.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    _, length, _, size = query.shape
    if length % 128 or size % 64:
        raise KernelError(
            f"compute.attention=splash: context is {length} and head_size {size}, expected multiples of 128 and of 64. "
            "Set compute.attention=blockwise."
        )

    def on_one_device(query, keys, values, segment_ids):
        causal = masks.MultiHeadMask([masks.CausalMask((length, length))] * query.shape[2])
        attention = kernel.make_splash_mha(
            causal, head_shards=1, q_seq_shards=1, interpret=interpret, residual_checkpoint_name=SAVED
        )
        # The kernel reads (N, T, H); the compiler lets the projections write that order, so nothing is transposed.
        query, keys, values = (jnp.moveaxis(x, 2, 1) for x in (query * scale, keys, values))
        out = jax.vmap(lambda q, k, v, s: attention(q, k, v, kernel.SegmentIds(s, s)))(query, keys, values, segment_ids)
        return jnp.moveaxis(out, 1, 2)

    scale = jnp.asarray(size**-0.5, query.dtype)
    arrays = (BY_ROW_AND_HEAD,) * 3
    return on_each_device(on_one_device, (*arrays, ("batch", None)), BY_ROW_AND_HEAD)(query, keys, values, segment_ids)
