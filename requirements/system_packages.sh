#!/usr/bin/env bash
# Usage: system_packages.sh PACKAGE...
#
# Installs the named Debian packages that are missing, as root or with a sudo that asks for no password. Where neither is
# possible, it prints the command to run and exits with 0: a missing package must not stop the installation, because a
# test that needs it is skipped with its name, and the quickstart takes its images from npm.
set -euo pipefail

missing=()
for package in "$@"; do
  # Without dpkg (Fedora, macOS) all packages count as missing, and the hint below is printed.
  [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

by_hand() {
  echo "system packages: $1; to have them, run: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 0
}

command -v apt-get >/dev/null || by_hand "no apt-get here (the names below are Debian's)"
if ((EUID == 0)); then
  as_root=()
elif sudo --non-interactive true 2>/dev/null; then
  as_root=(sudo)
else
  by_hand "only root may install them"
fi

echo "Installing system packages: ${missing[*]}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >>"$log" 2>&1
}
apt_get update || true  # without it, the existing package lists may suffice
wanted=("${missing[@]}")
missing=()
for package in "${wanted[@]}"; do  # one by one, so that a name that this release lacks does not stop the others
  apt_get install -y --no-install-recommends "$package" || missing+=("$package")
done
if ((${#missing[@]})); then
  grep '^E:' "$log" >&2 || true
  by_hand "apt-get failed"
fi
