# shellcheck shell=bash
# Sourced by the launchers for GPUs: the environment of a process on one, the array `on_gpu`, and of one among several.
#
# Environment:
#   XLA_PYTHON_CLIENT_MEM_FRACTION=0.92   share of a GPU's memory that is XLA's; its own default leaves a quarter idle
#   XLA_FLAGS=                            instead of the flags below, which are for several GPUs; one has none of them

# `cuda` and nothing else: a missing plugin is an error, never a run on the CPU.
on_gpu=(env JAX_PLATFORMS=cuda "XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}")

communication=(
  # Runs collectives beside the matrix products that do not wait for them.
  --xla_gpu_enable_latency_hiding_scheduler=true
  # Fewer and larger collectives. Published recipes for H100s go up to 1 GB, which holds more gathered params at once.
  --xla_gpu_all_gather_combine_threshold_bytes=134217728
  --xla_gpu_reduce_scatter_combine_threshold_bytes=134217728
  --xla_gpu_all_reduce_combine_threshold_bytes=134217728
  # With compute.scan: a layer's params are gathered, and gradients scattered, while its neighbour computes.
  --xla_gpu_enable_pipelined_all_gather=true
  --xla_gpu_enable_pipelined_reduce_scatter=true
  --xla_gpu_enable_pipelined_all_reduce=true
  --xla_gpu_enable_while_loop_double_buffering=true
  # None: published training recipes turn command buffers off; launching less often is what decoding gains from.
  --xla_gpu_enable_command_buffer=
  # Left out: --xla_gpu_enable_triton_gemm=false, in many published recipes and against JAX's own advice; measure it.
)
# shellcheck disable=SC2034  # for whoever sources this
on_several_gpus=("${on_gpu[@]}" "XLA_FLAGS=${XLA_FLAGS:-${communication[*]}}")
