#!/usr/bin/env bash
# Train on all hosts of a TPU pod slice, started from a machine with gcloud. Running it again continues the run.
# Usage, from the repository root:
#
#   TPU_NAME=gato ZONE=us-central2-b experiments/launch/tpu_pod.sh CONFIG WORKDIR [--config.KEY=VALUE...]
#
# Each host runs the same command, and JAX finds the other hosts by the metadata of the slice. CONFIG is a path in the
# repository, both here and on the hosts. WORKDIR and the data are folders that all hosts share (Filestore, or a bucket
# mounted by gcsfuse). The command stops when this terminal closes, so run it in tmux.
#
# Environment:
#   TPU_NAME, ZONE        name and zone of the slice
#   PROJECT=              project of the cloud. Default: that of gcloud's configuration.
#   REPOSITORY=gato_jax   folder of the repository on each host, relative to the home folder
#   and the variables of start.sh
#
# No XLA flags are set: the defaults of libtpu are a good start.
#
# Commands to create and delete a slice. `gato plan --config=CONFIG --topology=v4:2x2x4` tells in advance whether CONFIG
# fits on it.
#   at once   gcloud compute tpus tpu-vm create "$TPU_NAME" --zone="$ZONE" \
#               --accelerator-type=v4-32 --version=tpu-ubuntu2204-base
#   queued    gcloud compute tpus queued-resources create "$TPU_NAME-request" --node-id="$TPU_NAME" --zone="$ZONE" \
#               --accelerator-type=v4-32 --runtime-version=tpu-ubuntu2204-base      (--spot is cheaper but may be preempted)
#             gcloud compute tpus queued-resources describe "$TPU_NAME-request" --zone="$ZONE"
#   versions  tpu-ubuntu2204-base up to v4, v2-alpha-tpuv5-lite (v5e), v2-alpha-tpuv5 (v5p), v2-alpha-tpuv6e (v6e)
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
remote="cd $(printf '%q' "$REPOSITORY") && exec$(printf ' %q' "${on_each_host[@]}")"
start gcloud compute tpus tpu-vm ssh "$TPU_NAME" "--zone=$ZONE" ${PROJECT:+"--project=$PROJECT"} \
  --worker=all "--command=$remote"
