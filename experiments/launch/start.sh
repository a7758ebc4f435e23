# shellcheck shell=bash
# Functions that the launchers share: read the arguments, and start the command or print it.
#
# Environment:
#   GATO=.venv/bin/gato   path of the command, relative to the repository root
#   DRY_RUN=              1 prints the command without running it
GATO="${GATO:-.venv/bin/gato}"
DRY_RUN="${DRY_RUN:-}"

complain() { # MESSAGE: print an error message and exit with status 2
  echo "launch: $1" >&2
  exit 2
}

# read_arguments USAGE CONFIG WORKDIR [--FLAG...]: check the arguments and set the array `train` to the command's words.
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
  # shellcheck disable=SC2034  # used by the scripts that source this file
  train=("$GATO" train "--config=$config" "--workdir=$workdir" "$@")
}

# start COMMAND...: replace this process by the command, or print it, quoted for a shell, in a dry run.
start() {
  if [[ "$DRY_RUN" == 1 ]]; then
    printf '%q ' "$@"
    echo
    exit 0
  fi
  command -v "$1" >/dev/null || complain "no command $1 on this machine"
  exec "$@"
}

require_gato() { # exit with an error if the command does not exist here, except in a dry run
  [[ "$DRY_RUN" == 1 ]] || command -v "$GATO" >/dev/null ||
    complain "no command $GATO; run 'make install' in the repository's root and call the launcher from there, or set GATO"
}
