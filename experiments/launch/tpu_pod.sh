#!/usr/bin/env bash
# Trains on all hosts of a TPU pod slice, from a machine with gcloud; run again, it goes on. From the repository's root:
#
#   TPU_NAME=gato ZONE=us-central2-b experiments/launch/tpu_pod.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# Each host runs the same command, and JAX finds the others by the slice's metadata. CONFIG is a path in the repository,
# here and on the hosts; WORKDIR, and the data, are folders that all hosts see (Filestore, or a bucket mounted by
# gcsfuse). The command ends with this terminal: run it within tmux.
#
# Environment:
#   TPU_NAME, ZONE        the slice, and where it is
#   PROJECT=              of the cloud; gcloud's own where it is not set
#   REPOSITORY=gato_jax   where the repository is on each host, below the home folder
#   and that of start.sh
#
# No XLA flags: libtpu has its own, and its defaults are the start.
#
# How a slice comes and goes. `gato plan --config=CONFIG --topology=v4:2x2x4` says before whether CONFIG fits on it.
#   at once   gcloud compute tpus tpu-vm create "$TPU_NAME" --zone="$ZONE" \
#               --accelerator-type=v4-32 --version=tpu-ubuntu2204-base
#   queued    gcloud compute tpus queued-resources create "$TPU_NAME-request" --node-id="$TPU_NAME" --zone="$ZONE" \
#               --accelerator-type=v4-32 --runtime-version=tpu-ubuntu2204-base      (--spot is cheaper, and can end)
#             gcloud compute tpus queued-resources describe "$TPU_NAME-request" --zone="$ZONE"
#   versions  tpu-ubuntu2204-base up to v4, v2-alpha-tpuv5-lite of v5e, v2-alpha-tpuv5 of v5p, v2-alpha-tpuv6e of v6e
#   install   gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker=all \
#               --command="git clone URL gato_jax && cd gato_jax && make install"
#   delete    gcloud compute tpus tpu-vm delete "$TPU_NAME" --zone="$ZONE"
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/start.sh"

TPU_NAME="${TPU_NAME:-}"
ZONE="${ZONE:-}"
PROJECT="${PROJECT:-}"
REPOSITORY="${REPOSITORY:-gato_jax}"

read_arguments "TPU_NAME=NAME ZONE=ZONE experiments/launch/tpu_pod.sh" "$@"
[[ -n "$TPU_NAME" && -n "$ZONE" ]] || complain "TPU_NAME='$TPU_NAME' ZONE='$ZONE': set both to those of the slice"
on_each_host=(env JAX_PLATFORMS=tpu "${train[@]}" --config.distributed=True)
there="cd $(printf '%q' "$REPOSITORY") && exec$(printf ' %q' "${on_each_host[@]}")"
start gcloud compute tpus tpu-vm ssh "$TPU_NAME" "--zone=$ZONE" ${PROJECT:+"--project=$PROJECT"} \
  --worker=all "--command=$there"
