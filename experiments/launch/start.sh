# shellcheck shell=bash
# Sourced by the launchers beside it: what they are given, and how they start what they were asked for.
#
# Environment:
#   GATO=.venv/bin/gato   the command, as seen from the repository's root
#   DRY_RUN=              1: print what would run instead
GATO="${GATO:-.venv/bin/gato}"
DRY_RUN="${DRY_RUN:-}"

complain() { # what is wrong, and the remedy
  echo "launch: $1" >&2
  exit 2
}

# read_arguments USAGE CONFIG WORKDIR [--FLAG...]: makes them the words of the command, the array `train`.
read_arguments() {
  local usage="$1" config="${2:-}" workdir="${3:-}" flag
  if (($# < 3)); then
    echo "usage: $usage CONFIG WORKDIR [--config.KEY=VALUE...]" >&2
    exit 2
  fi
  shift 3
  [[ -f "${config%%:*}" ]] || complain "no config $config; name a file, as configs/gato_79m.py"
  [[ "$workdir" != *://* ]] || complain "$workdir is no folder; mount the bucket, and name the folder it is mounted at"
  for flag in "$@"; do
    [[ "$flag" == --* ]] || complain "'$flag' is no flag; write it as --config.KEY=VALUE"
  done
  # shellcheck disable=SC2034  # for whoever sources this
  train=("$GATO" train "--config=$config" "--workdir=$workdir" "$@")
}

# start COMMAND...: becomes the command, or prints it so that a shell could read it again.
start() {
  if [[ "$DRY_RUN" == 1 ]]; then
    printf '%q ' "$@"
    echo
    exit 0
  fi
  command -v "$1" >/dev/null || complain "no command $1 on this machine"
  exec "$@"
}

require_gato() { # on this machine, unless nothing is to run
  [[ "$DRY_RUN" == 1 ]] || command -v "$GATO" >/dev/null ||
    complain "no command $GATO; run 'make install' in the repository's root and call the launcher from there, or set GATO"
}
