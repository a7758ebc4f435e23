# shellcheck shell=bash
# Environments for the GPU launchers: the arrays `on_gpu` (one GPU) and `on_several_gpus`.
#
# Environment:
#   XLA_PYTHON_CLIENT_MEM_FRACTION=0.92   share of a GPU's memory for XLA, whose default is 0.75
#   XLA_FLAGS=                            replaces the flags below, which are set for several GPUs only

# JAX_PLATFORMS is `cuda` alone, so that a missing plugin is an error and not a run on the CPU.
on_gpu=(env JAX_PLATFORMS=cuda "XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}")

communication=(
  # Run collectives in parallel with matrix products that do not depend on them.
  --xla_gpu_enable_latency_hiding_scheduler=true
  # Combine collectives into fewer and larger ones. Published recipes for H100s use up to 1 GB, which takes more memory.
  --xla_gpu_all_gather_combine_threshold_bytes=134217728
  --xla_gpu_reduce_scatter_combine_threshold_bytes=134217728
  --xla_gpu_all_reduce_combine_threshold_bytes=134217728
  # With compute.scan: gather a layer's parameters and scatter its gradients while its neighbour computes.
  --xla_gpu_enable_pipelined_all_gather=true
  --xla_gpu_enable_pipelined_reduce_scatter=true
  --xla_gpu_enable_pipelined_all_reduce=true
  --xla_gpu_enable_while_loop_double_buffering=true
  # Turn command buffers off, as published training recipes do; they help decoding rather than training.
  --xla_gpu_enable_command_buffer=
  # Not set: --xla_gpu_enable_triton_gemm=false. Many published recipes have it, JAX's documentation advises against it.
)
# shellcheck disable=SC2034  # used by the scripts that source this file
on_several_gpus=("${on_gpu[@]}" "XLA_FLAGS=${XLA_FLAGS:-${communication[*]}}")
