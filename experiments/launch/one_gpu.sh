#!/usr/bin/env bash
# Train on one GPU of this machine. Running it again continues the run. Usage, from the repository root:
#
#   experiments/launch/one_gpu.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# The configs configs/*_one_gpu.py are the fastest on one GPU: unrolled layers, no remat, microbatches.
# docs/training.md explains how to install JAX for GPUs. One GPU has nothing to communicate, so no XLA flags are set.
#
# Environment:
#   GPU=0   number of the GPU, as nvidia-smi counts
#   and the variables of start.sh and gpu.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

GPU="${GPU:-0}"

read_arguments experiments/launch/one_gpu.sh "$@"
[[ "$GPU" =~ ^[0-9]+$ ]] || complain "GPU=$GPU is no number; for more than one: experiments/launch/several_gpus.sh"
require_gato
# By default CUDA counts the fastest GPU first; PCI_BUS_ID is the order of nvidia-smi.
start "${on_gpu[@]}" CUDA_DEVICE_ORDER=PCI_BUS_ID "CUDA_VISIBLE_DEVICES=$GPU" "${train[@]}"
