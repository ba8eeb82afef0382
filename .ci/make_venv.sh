#!/usr/bin/env bash
# Make .venv and install the package into it, editable. A second run with an unchanged pyproject.toml is
# quick, and the stamp tells a clone that was moved.
#
#   .ci/make_venv.sh run    what the exporter needs
#   .ci/make_venv.sh dev    that, and what the tests need
#
# PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail

kind=${1:?run or dev}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

say() { printf 'venv: %s\n' "$*" >&2; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
# Debian splits ensurepip off into python3-venv.
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
  local python good='' seen=''
  for python in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
    if ! new_enough "$python"; then
      seen=${seen:-$("$python" --version 2>/dev/null || true)}
      continue
    fi
    good=$python
    if can_make_venv "$python"; then echo "$python"; return 0; fi
  done
  if [ -n "$good" ]; then
    say "$("$good" --version) is here, but without the module venv."
    say "On Debian and Ubuntu: sudo apt-get install python3-venv ($("$good" -c 'import sys; print("or python%d.%d-venv" % sys.version_info[:2])'))."
  else
    say "Python 3.11 or newer is needed; found: ${seen:-none}."
    say "Install one (on Debian 12: sudo apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.11 …"
  fi
  return 1
}

stamp() { printf '%s %s %s\n' "$1" "$(cksum <pyproject.toml)" "$PWD"; }

fresh() {
  local kind
  for kind in "$@"; do
    if [ "$(cat ".venv/stamp-$kind" 2>/dev/null)" = "$(stamp "$kind")" ]; then return 0; fi
  done
  return 1
}

# What the tests need includes what the exporter needs.
up_to_date() {
  .venv/bin/python -c '' 2>/dev/null || return 1
  case $kind in run) fresh run dev ;; *) fresh dev ;; esac
}

up_to_date && exit 0
mkdir -p .venv
exec 9>.venv/lock
flock 9
up_to_date && exit 0

if ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  python=$(find_python) || exit 1
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
case $kind in run) what=. ;; dev) what=.[dev] ;; *) say "unknown kind $kind"; exit 2 ;; esac
say "installing $what (this happens once)"
.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --editable "$what"
stamp "$kind" >".venv/stamp-$kind"
