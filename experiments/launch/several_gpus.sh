#!/usr/bin/env bash
# Trains on all GPUs of this machine, in one process; run again, it goes on. From the repository's root:
#
#   experiments/launch/several_gpus.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# Rows are spread over all GPUs, and each holds all params; to spread these, too: --config.mesh.data=1
# --config.mesh.fsdp=-1. docs/training.md has how to install JAX for GPUs.
#
# Environment:
#   CUDA_VISIBLE_DEVICES   some of them, as 0,1,2,3; all where it is not set
#   and that of start.sh and gpu.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

read_arguments experiments/launch/several_gpus.sh "$@"
require_gato
start "${on_several_gpus[@]}" "${train[@]}"
