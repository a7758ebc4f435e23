#!/usr/bin/env bash
# Trains on one GPU of this machine; run again, it goes on. From the repository's root:
#
#   experiments/launch/one_gpu.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# docs/training.md has how to install JAX for GPUs. No XLA flags: with nothing to communicate the compiler's defaults do.
#
# Environment:
#   GPU=0   which one, as nvidia-smi counts them
#   and that of start.sh and gpu.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

GPU="${GPU:-0}"

read_arguments experiments/launch/one_gpu.sh "$@"
[[ "$GPU" =~ ^[0-9]+$ ]] || complain "GPU=$GPU is no number; for more than one: experiments/launch/several_gpus.sh"
require_gato
# CUDA counts the fastest first, unless told to count as nvidia-smi does.
start "${on_gpu[@]}" CUDA_DEVICE_ORDER=PCI_BUS_ID "CUDA_VISIBLE_DEVICES=$GPU" "${train[@]}"
