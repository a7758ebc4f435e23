#!/usr/bin/env bash
# Usage: make_venv.sh PYTHON VENV UV_REQUIREMENT
#
# Makes VENV with that version of uv in it; does nothing if it exists.
set -euo pipefail
python="$1" venv="$2" uv="$3"

[[ "$("$venv/bin/uv" --version 2>/dev/null)" == "uv ${uv#uv==}"* ]] && exit 0

# On Debian, python3 has no ensurepip unless python3-venv is installed. The system's pip can then install into the
# environment.
if "$python" -m ensurepip --version >/dev/null 2>&1; then
  [[ -x "$venv/bin/python" && -x "$venv/bin/pip" ]] || "$python" -m venv "$venv"
  pip=("$venv/bin/python" -m pip)
else
  [[ -x "$venv/bin/python" ]] || "$python" -m venv --without-pip "$venv"
  pip=("$python" -m pip --python "$venv/bin/python")
fi
"${pip[@]}" install --quiet --disable-pip-version-check "$uv"
