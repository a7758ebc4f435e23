#!/usr/bin/env bash
# Train on all GPUs of this machine in one process. Running it again continues the run. Usage, from the repository root:
#
#   experiments/launch/several_gpus.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# The rows of a batch are sharded over all GPUs, and each GPU holds all parameters. To shard the parameters too, add
# --config.mesh.data=1 --config.mesh.fsdp=-1. docs/training.md explains how to install JAX for GPUs.
#
# Environment:
#   CUDA_VISIBLE_DEVICES   numbers of the GPUs to use, such as 0,1,2,3. Default: all.
#   and the variables of start.sh and gpu.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

read_arguments experiments/launch/several_gpus.sh "$@"
require_gato
start "${on_several_gpus[@]}" "${train[@]}"
